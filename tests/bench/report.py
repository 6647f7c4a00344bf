# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/bench/: results.md, results.json and plots, from the records of a run."""

import dataclasses
import json
import math
import statistics

import plot
import promises
from cases import ALL as CASES, FANS, named
from measure import QUIET, SLICES

NETWORKS = {
    "loopback": "Loopback: delivery to the receivers' sockets, and cutting what was sent as one "
                "message, is charged to the relay.",
    "wire": "Wire: veth between two network namespaces, no segmentation offload, threaded NAPI "
            "with GRO; the relay's receiving kernel thread is charged to it.",
    "offload": "Offload: veth with segmentation offload, receivers with GRO, as between machines "
               "whose network cards do this.",
}
MEASURES = {"cpu": "CPU per packet out", "rate": "highest rate without loss",
            "p99": "p99 latency"}
MICRO = [
    ("table-known", "look-up of a path among 100,000", "ns"),
    ("table-unknown", "the same, of one that is not there", "ns"),
    ("stun-challenge", "STUN request read, challenge written", "ns"),
    ("stun-answer", "STUN request of a known client checked, answer written", "ns"),
    ("stun-answer-newcomer", "the same, ticket opened and key derived first", "ns"),
    ("https-negotiation", "negotiation over HTTPS, TLS handshake included", "us"),
]


def read(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.endswith("\n")]


def of_part(records, part):
    return [r for r in records if r["part"] == part]


def _only(records, part):
    found = of_part(records, part)
    return found[-1] if found else None


def failed(records):
    """1 if natrelay failed anywhere."""
    ours = [r["ours"] for r in of_part(records, "promises")]
    ours += [r for part in ("fans", "tables") for r in of_part(records, part)
             if r["relay"] == "natrelay"]
    ours += [r for part in ("keepalives", "newcomers") for r in of_part(records, part)]
    return 1 if any("error" in r for r in ours) else 0


# ---- numbers as text ---------------------------------------------------------------------


def _us(value):
    return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.0f} µs"


def _k(value):
    return f"{value / 1000:,.0f}k/s"


def _figure(measure, value):
    return {"cpu": f"{value:.2f} µs", "rate": _k(value), "p99": _us(value)}[measure]


def _lost(lost, expected):
    return f"{lost / expected:.3%}" if lost else "0"


def _share(shares):
    return ", ".join(f"{name} {share:.1%}" for name, share in
                     sorted(shares.items(), key=lambda s: -s[1]) if share > 0.001)


# ---- the promises ------------------------------------------------------------------------


def _what(promise):
    case, _, load = named(promise.case).title.partition(": ")
    where = {"loopback": "loopback", "wire": "veth"}[promise.network]
    if promise.measure == "rate":
        load = "bursts of 20"
    elif promise.half_of:
        load = f"bursts of 20 at half of {promise.half_of}'s highest rate"
    return f"{where}, {case}, {load}"


def _promise_rows(records):
    yield ("| case | measure | against | natrelay | the other | ratio, median | 95 % bound | bar | |")
    yield "|---|---|---|---:|---:|---:|---:|---:|---|"
    for v in promises.verdicts(records):
        p = v.promise
        ours, theirs = ("≥ " if limited and p.measure == "rate" else ""
                        for limited in (v.limited, v.other_limited))
        yield (f"| {_what(p)} | {MEASURES[p.measure]} | {p.other} | "
               f"{ours}{_figure(p.measure, v.ours)} | {theirs}{_figure(p.measure, v.theirs)} | "
               f"{v.ratio:.2f} | {v.bound:.2f} | {'≥' if p.wants_more() else '≤'} {p.bar:g} | "
               f"{'met' if v.met else '**not met**'} |")
    smooth = promises.smooth_p99(records)
    if smooth:
        yield (f"| {_what(next(p for p in promises.PROMISES if p.case == 'smooth-1to1'))} | p99 latency | | {_us(smooth[0])} | | | "
               f"{_us(smooth[1])} | ≤ {_us(smooth[2])} | {'met' if smooth[3] else '**not met**'} |")


def _promises(records):
    pairs = of_part(records, "promises")
    if not pairs:
        return
    found = promises.verdicts(records)
    counts = sorted({len(v.ratios) for v in found})
    met = sum(v.met for v in found)
    yield "## What natrelay promises"
    yield ""
    yield (f"{met} of {len(found)} ratios are met. Each is natrelay's figure divided by the other's. Both ran, and had the load "
           f"in turns of a fraction of a second, {SLICES} times each; of these the least and the most are left out, and the mean of the "
           f"others is taken (highest rates: one after the other); that {counts[0]}{f' to {counts[-1]}' if len(counts) > 1 else ''} times. The bound is one-sided, at 95 %, of "
           "the mean ratio (Student's t on the logarithms of the paired ratios), and it is what must "
           "stay below the bar, or above it where the bar says ≥. Fewer than "
           f"{promises.PAIRS} pairs meet nothing, nor does a rate beside another's that the generator limited.")
    absent = len(promises.PROMISES) - len(found)
    if absent:
        yield ""
        yield f"{absent} more were not measured, or no pair of them was whole."
    yield ""
    yield "![ratios and bars](promises.svg)"
    yield ""
    yield from _promise_rows(records)
    yield ""
    lost, expected = promises.losses(records)
    yield (f"natrelay lost {lost:,} of {expected:,} packets in these measurements (those that look for "
           "the highest rate left out).")
    again = sum(r["again"] for r in pairs)
    left = sum(v.disturbed for v in found)
    if again:
        yield (f"{again} pairs were taken again because others used more than {QUIET:.0%} of the relay's "
               f"core; {left} that stayed so are counted all the same.")
    for name, n in promises.restarts(records).items():
        yield f"{name} stopped forwarding {n} times and was started again."
    yield ""


# ---- many receivers, many streams --------------------------------------------------------------


@dataclasses.dataclass
class Fan:
    case: object
    relay: str
    cpu_us: float
    p50_us: float
    p99_us: float
    lost: int
    expected: int
    rounds: int


def fans(records):
    found = []
    for case in FANS:
        for relay in ("natrelay", "raw segments"):
            own = [r["result"] for r in of_part(records, "fans") if "result" in r
                   and (r["case"], r["relay"]) == (case.name, relay)]
            if own:
                found.append(Fan(case, relay, *(_median(own, k) for k in
                                                ("cpu_us", "p50_us", "p99_us")),
                                 sum(r["lost"] for r in own), sum(r["expected"] for r in own),
                                 len(own)))
    return found


def _fans(records):
    rows = fans(records)
    if not rows:
        return
    yield "## Many receivers, many streams"
    yield ""
    yield ("On loopback, medians of up to three rounds. The raw loop knows one stream only. The generator's "
           "one thread reads all receivers in turn, which is most of the latency where there are many.")
    yield ""
    yield "![CPU per packet out](fans.svg)"
    yield ""
    yield ("| case | packets/s out | CPU per packet out | raw segments' | ratio | lost | latency p50 | p99 |")
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for f in (f for f in rows if f.relay == "natrelay"):
        raw = next((r for r in rows if r.case is f.case and r.relay != "natrelay"), None)
        yield (f"| {f.case.title} | {f.case.rate * f.case.fan:,} | {f.cpu_us:.2f} µs | "
               + (f"{raw.cpu_us:.2f} µs | {f.cpu_us / raw.cpu_us:.2f}" if raw else "– | –")
               + f" | {_lost(f.lost, f.expected)} | {_us(f.p50_us)} | {_us(f.p99_us)} |")
    yield ""


# ---- beside media ------------------------------------------------------------------------------


def _streams_row(label, r):
    return (f"| {label} | {r['received']:,} | {r['lost']:,} | {_us(r['p50_us'])} | {_us(r['p99_us'])} | "
            f"{_us(r['max_us'])} |")


def _streams_table(quiet, beside, label):
    yield "| the 20 live streams | packets | lost | latency p50 | p99 | longest |"
    yield "|---|---:|---:|---:|---:|---:|"
    yield _streams_row("alone", quiet)
    yield _streams_row(label, beside)
    yield ""


def _keepalives(records):
    r = _only(records, "keepalives")
    if not r or "error" in r:
        return
    done, memory = r["result"], _only(records, "micro")
    each = (r["resident_after"] - r["resident_before"]) / r["mappings"]
    yield f"## {r['mappings']:,} mappings kept alive"
    yield ""
    yield (f"{done['mappings']:,} subscribers of {done['streams']:,} streams, each from an address of its "
           f"own, each with a Binding every {r['interval']:g} s: {done['answered_per_second']:,.0f} "
           f"authenticated answers a second. {done['unanswered']:,} of {done['requests']:,} requests "
           f"stayed without an answer.")
    yield ""
    yield (f"- CPU of the relay: {sum(r['alone'].values()):.1%} of a core ({_share(r['alone'])}).")
    yield (f"- Memory of the process: {each:,.0f} bytes for each mapping (resident, "
           f"{r['resident_before'] / 2**20:.0f} MiB before and {r['resident_after'] / 2**20:.0f} MiB "
           "after), control's share and counters included.")
    if memory and "mapping-memory" in memory["found"]:
        m = memory["found"]["mapping-memory"]
        yield (f"- Memory in the data plane alone: {m['bytes']:.0f} bytes for each mapping, "
               f"allocator included, and {m['counters_bytes']} of counters, which control and observers "
               "share. SRTCP's contexts come with a session's first RTCP.")
    yield (f"- Registering them by their tickets took {r['registered']['seconds']:.1f} s at the pace of the "
           "keepalives.")
    yield ""
    yield from _streams_table(r["quiet"], r["streams"], "beside the keepalives")


def _limit(result, shares):
    text = (f"{result['achieved']:,.0f} sessions/s; {result['connections']:,} TLS handshakes for "
            f"{result['done']:,} sessions, {result['resumed']:,} of them resumed; the clients had "
            f"{result['own_share']:.0%} of their core ({result['own_cpu_us']:,.0f} µs a session); the "
            f"relay's threads: {_share(shares)}")
    busy = sum(shares.values())
    if result["done"]:
        text += f" ({busy * 1e6 * result['seconds'] / result['done']:,.0f} µs a session)"
    return text


def _newcomers(records):
    r = _only(records, "newcomers")
    if not r or "error" in r:
        return
    done = r["result"]
    yield f"## {r['rate']:,} newcomers a second"
    yield ""
    yield (f"Each negotiates over HTTPS and registers from a socket of its own; 16 clients at a time. Asked "
           f"for {done['asked']:,.0f} a second, the relay had {done['achieved']:,.0f} "
           f"({done['failed']:,} failed); a session was there {_us(done['p50_us'])} (p50) and "
           f"{_us(done['p99_us'])} (p99) after it was due.")
    yield ""
    yield f"- Beside streams: relay's threads: {_share(r['shares'])}."
    yield f"- As fast as one core of clients can, new connections: {_limit(r['limit'], r['limit_shares'])}."
    yield (f"- The same, connections kept and TLS sessions resumed where the relay lets them: "
           f"{_limit(r['again'], r['again_shares'])}.")
    yield ""
    yield from _streams_table(r["quiet"], r["streams"], "beside the newcomers")


# ---- every relay -----------------------------------------------------------------------------


@dataclasses.dataclass
class Row:
    relay: str
    bar: str
    cpu_us: float
    p50_us: float
    p99_us: float
    lost: float                 # share
    best_out: float             # packets per second, 0 = not looked for
    limit: str
    spread: float               # largest less smallest CPU, of the median
    noisy: bool
    failures: int               # times that it had to be started again


def _median(results, key):
    return statistics.median(r[key] for r in results)


def _row(relay, bar, records):
    fixed = [r["result"] for r in records if r["kind"] == "fixed" and "result" in r]
    search = [r["result"] for r in records if r["kind"] == "search" and "result" in r]
    if not fixed:
        return None
    cpu = [r["cpu_us"] for r in fixed]
    limits = sorted(search, key=lambda r: r["rate_out"])
    return Row(relay=relay, bar=bar, cpu_us=statistics.median(cpu), p50_us=_median(fixed, "p50_us"),
               p99_us=_median(fixed, "p99_us"),
               lost=sum(r["lost"] for r in fixed) / max(sum(r["expected"] for r in fixed), 1),
               best_out=_median(search, "rate_out") if search else 0,
               limit=limits[len(limits) // 2]["limit"] if limits else "",
               spread=(max(cpu) - min(cpu)) / (statistics.median(cpu) or 1),
               noisy=any(r["foreign_share"] > QUIET for r in fixed + search),
               failures=sum(r["failures"] for r in records))


def rows_of(records, network, case):
    rows = []
    for relay, _what_it_is, bar in _only(records, "facts")["relays"]:
        own = [r for r in of_part(records, "tables")
               if (r["network"], r["case"], r["relay"]) == (network, case.name, relay)]
        row = _row(relay, bar, own)
        if row:
            rows.append(row)
    return rows


def _find(rows, kind):
    return next((r for r in rows if r.bar == kind), None)


def _ratio(value, ours):
    return f"{value / ours:.2f}" if value and ours else "–"


def _table(rows):
    ours = _find(rows, "natrelay")
    searched = any(r.best_out for r in rows)
    head = ["relay", "CPU µs per packet out", "÷ natrelay's"]
    head += ["highest without loss, k/s out", "÷ natrelay's"] if searched else []
    head += ["latency p50", "p99", "lost"]
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for r in rows:
        cells = [r.relay + (" †" if r.noisy else ""), f"{r.cpu_us:.2f}" if r.cpu_us else "–",
                 _ratio(r.cpu_us, ours and ours.cpu_us)]
        if searched:
            at_least = {"fits": "≥ ", "generator": "≥ "}.get(r.limit, "")
            cells += [f"{at_least}{r.best_out / 1000:.0f}" if r.best_out else "–",
                      _ratio(r.best_out, ours and ours.best_out)]
        cells += [_us(r.p50_us), _us(r.p99_us), f"{r.lost:.2%}" if r.lost else "0"]
        yield "| " + " | ".join(cells) + " |"


def _sentences(rows):
    """natrelay in sentences."""
    ours, direct = _find(rows, "natrelay"), _find(rows, "none")
    if ours and direct:
        yield (f"natrelay adds {_us(max(ours.p50_us - direct.p50_us, 0))} (p50) and "
               f"{_us(max(ours.p99_us - direct.p99_us, 0))} (p99) to the way without a relay.")
    spread = max(rows, key=lambda r: r.spread)
    yield (f"Largest spread of the CPU figures between rounds: {spread.spread:.0%} "
           f"({spread.relay}).")
    for r in rows:
        if r.failures:
            yield f"{r.relay} stopped forwarding {r.failures} times and was started again."


def _section(records, network, case):
    rows = rows_of(records, network, case)
    if not rows:
        return
    yield f"### {case.title}"
    yield ""
    yield from _table(rows)
    yield ""
    yield from _sentences(rows)
    yield ""


def _tables(records, plots):
    for network, text in NETWORKS.items():
        if not any(r["network"] == network for r in of_part(records, "tables")):
            continue
        yield f"## Every relay: {text.split(':')[0].lower()}"
        yield ""
        yield text
        yield ""
        if network in plots:
            yield f"![CPU per packet out, {network}]({plots[network]})"
            yield ""
        for case in CASES:
            yield from _section(records, network, case)


# ---- the rest --------------------------------------------------------------------------------


def _errors(records):
    lines = []
    for r in records:
        where = ", ".join(str(r[k]) for k in ("part", "network", "case") if k in r)
        for who, result in (("natrelay", r.get("ours", {})), (r.get("other"), r.get("theirs", {})),
                            (r.get("relay", ""), r)):
            if "error" in result:
                lines.append(f"- {where}, {who}: {result['error']}")
    if lines:
        yield "## What failed"
        yield ""
        yield from lines
        yield ""


def _micro(records):
    record = _only(records, "micro")
    if not record:
        return
    yield "## Small measurements"
    yield ""
    yield "| what | CPU | per second and core |"
    yield "|---|---:|---:|"
    for name, text, unit in MICRO:
        if name in record["found"]:
            found = record["found"][name]
            cost = f"{found['ns']:.0f} ns" if unit == "ns" else f"{found['ns'] / 1000:.0f} µs"
            yield f"| {text} | {cost} | {found['per_second']:,.0f} |"
    yield ""


def _results(records):
    """All results of the generator."""
    for r in records:
        for holder in (r, r.get("ours", {}), r.get("theirs", {})):
            if "receive_buffer" in holder.get("result", {}):
                yield holder["result"]


def _how(records):
    facts = _only(records, "facts")
    minutes = max((r.get("minute", 0) for r in records), default=0)
    yield "## On what, and how"
    yield ""
    yield ("CPU is that of the relay's core: its processes and the kernel threads that receive for it, "
           "divided by the packets that arrived. Latency is from just before the generator's system "
           "call to just after the receiver's; nothing is subtracted. Packets have 1200 bytes. † others "
           f"used more than {QUIET:.0%} of the relay's core in at least one round. ≥ the generator, not the "
           "relay, was the limit.")
    yield ""
    yield f"    {facts['command'].strip()}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for label, text in facts["machine"]:
        yield f"| {label} | {text} |"
    yield f"| took | {minutes:.0f} minutes |"
    for relay, what, _bar in facts["relays"]:
        yield f"| {relay} | {what} |"
    for name, why in facts["absent"]:
        yield f"| {name} | left out: {why} |"
    results = list(_results(records))
    own = ", ".join(f"{s >> 10} KiB" for s in sorted({r["receive_buffer"] for r in results}))
    yield f"| buffers of the generator | {own}, as the kernel counts |"
    if any(r["softirq_apart"] for r in results):
        yield ("| softirq | this kernel does not charge it to processes; that of the relay's core is "
               "added, in 10 ms steps |")
    for note in sorted({n for r in records for n in r.get("notes", ())}):
        yield f"| note | {note} |"
    yield ""


def markdown(records, plots):
    yield "# Measurements"
    yield ""
    yield ("How much one core can relay, and what a packet costs, beside other relays and beside loops that "
           "do nothing but forward. Written by `tests/bench/run`; tests/bench/README.md says how it "
           "measures. Absolute figures hold on this machine only; what counts are ratios of what was "
           "measured next to each other.")
    yield ""
    for part in (_promises, _fans, _keepalives, _newcomers, _micro):
        yield from part(records)
    yield from _tables(records, plots)
    yield from _errors(records)
    yield from _how(records)


# ---- for programs, and plots --------------------------------------------------------------------


def _plain(thing):
    """As JSON has it, which knows no infinity."""
    if dataclasses.is_dataclass(thing):
        return {k: _plain(v) for k, v in vars(thing).items()}
    return None if thing == math.inf else thing


def summary(records):
    """What results.json holds: the same medians as results.md, in SI units but for names that say
    otherwise."""
    rows = [{"network": n, "case": _plain(c), **_plain(row)}
            for n in NETWORKS for c in CASES for row in rows_of(records, n, c)]
    facts = _only(records, "facts")
    return {"command": facts["command"], "machine": dict(facts["machine"]),
            "promises": [_plain(v) for v in promises.verdicts(records)],
            "fans": [_plain(f) for f in fans(records)],
            "keepalives": _only(records, "keepalives"), "newcomers": _only(records, "newcomers"),
            "micro": (_only(records, "micro") or {}).get("found"), "relays": rows}


def _write_plots(directory, records):
    """Names of those of the networks."""
    for old in directory.glob("*.svg"):
        old.unlink()
    marks = [plot.Mark(f"{_short(v.promise)}", v.promise.other,
                       v.promise.bar / v.bound if v.promise.wants_more() else v.bound / v.promise.bar)
             for v in promises.verdicts(records) if len(v.ratios) > 1]
    if marks:
        (directory / "promises.svg").write_text(plot.marks(
            "95 % bound of each ratio, in parts of its bar: left of the line is met", marks),
            encoding="utf-8")
    bars = [plot.Bar(f"{f.case.publishers:,} × 1 to {f.case.fan}" + (", raw" if f.relay != "natrelay" else ""),
                     f.cpu_us, "natrelay" if f.relay == "natrelay" else "raw") for f in fans(records)]
    if bars:
        panel = plot.Panel("streams × receivers of each", bars, in_order=True)
        (directory / "fans.svg").write_text(plot.svg("CPU per packet out, µs (loopback)", [panel]),
                                            encoding="utf-8")
    return {n: name for n in NETWORKS if (name := _write_network(directory, records, n))}


def _short(promise):
    name = {"camera-1to100": "1 to 100", "camera-1to1": "1 to 1", "smooth-1to1": "1 to 1 smooth"}
    what = {"cpu": "CPU", "rate": "rate", "p99": "p99"}[promise.measure]
    where = {"loopback": "", "wire": "veth "}[promise.network]
    at = f" at half of {promise.half_of}'s" if promise.half_of else ""
    return f"{where}{name[promise.case]}, {what}{at}"


def _write_network(directory, records, network):
    panels = []
    for case in CASES:
        rows = [r for r in rows_of(records, network, case) if r.cpu_us]
        if rows:
            panels.append(plot.Panel(case.title, [plot.Bar(r.relay, r.cpu_us, r.bar) for r in rows]))
    if not panels:
        return None
    name = f"cpu-{network}.svg"
    (directory / name).write_text(plot.svg(f"CPU per packet out, µs ({network})", panels),
                                  encoding="utf-8")
    return name


def write(directory, records):
    directory.mkdir(parents=True, exist_ok=True)
    plots = _write_plots(directory, records)
    text = "\n".join(markdown(records, plots)).rstrip() + "\n"
    (directory / "results.md").write_text(text, encoding="utf-8")
    (directory / "results.json").write_text(
        json.dumps(summary(records), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
