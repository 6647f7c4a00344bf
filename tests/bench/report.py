# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/bench/results.md and its plots, from the records of a run."""

import dataclasses
import statistics

import plot
from cases import ALL as CASES

NETWORKS = {
    "loopback": "Loopback: delivery to the receivers' sockets, and cutting what was sent as one "
                "message, is charged to the relay.",
    "wire": "Wire: veth between two network namespaces, no segmentation offload, threaded NAPI "
            "with GRO; the relay's receiving kernel thread is charged to it.",
    "offload": "Offload: veth with segmentation offload, receivers with GRO, as between machines "
               "whose network cards do this.",
}
GOAL = 1.2                      # times the best raw loop
QUIET = 0.05                    # share of the relay's core that others may use


@dataclasses.dataclass
class Facts:
    command: str
    machine: list               # (label, text)
    records: list
    micro: dict
    absent: list                # (relay, why)
    versions: list              # (Relay, text)


@dataclasses.dataclass
class Row:
    relay: object
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


def _row(relay, records):
    fixed = [r["result"] for r in records if r["kind"] == "fixed" and "result" in r]
    search = [r["result"] for r in records if r["kind"] == "search" and "result" in r]
    if not fixed:
        return None
    cpu = [r["cpu_us"] for r in fixed]
    limits = sorted(search, key=lambda r: r["rate_out"])
    return Row(relay=relay, cpu_us=statistics.median(cpu), p50_us=_median(fixed, "p50_us"),
               p99_us=_median(fixed, "p99_us"),
               lost=sum(r["lost"] for r in fixed) / max(sum(r["expected"] for r in fixed), 1),
               best_out=_median(search, "rate_out") if search else 0,
               limit=limits[len(limits) // 2]["limit"] if limits else "",
               spread=(max(cpu) - min(cpu)) / (statistics.median(cpu) or 1),
               noisy=any(r["foreign_share"] > QUIET for r in fixed + search),
               failures=sum(r["failures"] for r in records))


def rows_of(facts, network, case):
    rows = []
    for relay, _version in facts.versions:
        own = [r for r in facts.records if (r["network"], r["case"], r["relay"]) ==
               (network, case.name, relay.name)]
        row = _row(relay, own)
        if row:
            rows.append(row)
    return rows


def _find(rows, kind):
    return next((r for r in rows if r.relay.bar == kind), None)


def _ratio(value, ours):
    return f"{value / ours:.2f}" if value and ours else "–"


def _us(value):
    return f"{value / 1000:.2f} ms" if value >= 1000 else f"{value:.0f} µs"


def _table(rows):
    ours = _find(rows, "natrelay")
    searched = any(r.best_out for r in rows)
    head = ["relay", "CPU µs per packet out", "÷ natrelay's"]
    head += ["highest without loss, k/s out", "÷ natrelay's"] if searched else []
    head += ["latency p50", "p99", "lost"]
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for r in rows:
        cells = [r.relay.name + (" †" if r.noisy else ""),
                 f"{r.cpu_us:.2f}" if r.cpu_us else "–",
                 _ratio(r.cpu_us, ours and ours.cpu_us)]
        if searched:
            at_least = {"fits": "≥ ", "generator": "≥ "}.get(r.limit, "")
            cells += [f"{at_least}{r.best_out / 1000:.0f}" if r.best_out else "–",
                      _ratio(r.best_out, ours and ours.best_out)]
        cells += [_us(r.p50_us), _us(r.p99_us), f"{r.lost:.2%}" if r.lost else "0"]
        yield "| " + " | ".join(cells) + " |"


def _verdicts(rows):
    """natrelay in sentences."""
    ours, direct = _find(rows, "natrelay"), _find(rows, "none")
    raw = [r for r in rows if r.relay.bar == "raw" and r.cpu_us]
    if not ours or not ours.cpu_us:
        return
    if raw:
        best = min(raw, key=lambda r: r.cpu_us)
        ratio = ours.cpu_us / best.cpu_us
        yield (f"natrelay costs {ratio:.2f} times the best raw loop ({best.relay.name}); the goal is "
               f"at most {GOAL}: {'reached' if ratio <= GOAL else 'not reached'}.")
    rivals = [r for r in rows if r.relay.bar == "rival" and r.cpu_us]
    if rivals:
        yield ("A packet costs natrelay " + ", ".join(
            f"{ours.cpu_us / r.cpu_us:.2f} of {r.relay.name}" for r in rivals) + ".")
    if direct:
        yield (f"It adds {_us(max(ours.p50_us - direct.p50_us, 0))} (p50) and "
               f"{_us(max(ours.p99_us - direct.p99_us, 0))} (p99) to the way without a relay.")


def _section(facts, network, case):
    rows = rows_of(facts, network, case)
    if not rows:
        return
    yield f"### {case.title}"
    yield ""
    yield from _table(rows)
    yield ""
    for sentence in _verdicts(rows):
        yield sentence
    spread = max(rows, key=lambda r: r.spread)
    yield (f"Largest spread of the CPU figures between rounds: {spread.spread:.0%} "
           f"({spread.relay.name}).")
    for r in rows:
        if r.failures:
            yield f"{r.relay.name} stopped forwarding {r.failures} times and was started again."
    yield ""


def _errors(facts):
    failed = [r for r in facts.records if "error" in r]
    if failed:
        yield "## What failed"
        yield ""
        for r in failed:
            yield f"- {r['network']}, {r['case']}, {r['relay']}, {r['kind']}: {r['error']}"
        yield ""


MICRO = [
    ("table-known", "look-up of a path among 100,000", "ns"),
    ("table-unknown", "the same, of one that is not there", "ns"),
    ("stun-challenge", "STUN request read, challenge written", "ns"),
    ("stun-answer", "STUN request of a known client checked, answer written", "ns"),
    ("stun-answer-newcomer", "the same, ticket opened and key derived first", "ns"),
    ("https-negotiation", "negotiation over HTTPS, TLS handshake included", "us"),
]


def _micro(facts):
    yield "## Small measurements"
    yield ""
    yield "| what | CPU | per second and core |"
    yield "|---|---:|---:|"
    for name, text, unit in MICRO:
        if name in facts.micro:
            ns = facts.micro[name]["ns"]
            cost = f"{ns:.0f} ns" if unit == "ns" else f"{ns / 1000:.0f} µs"
            yield f"| {text} | {cost} | {facts.micro[name]['per_second']:,.0f} |"
    yield ""


def _head(facts):
    yield "# Measurements"
    yield ""
    yield ("Written by `tests/bench/run`; tests/bench/README.md says how it measures. Absolute figures "
           "hold on this machine only; what counts are the ratios within one table.")
    yield ""
    yield f"    {facts.command}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    for label, text in facts.machine:
        yield f"| {label} | {text} |"
    for relay, version in facts.versions:
        yield f"| {relay.name} | {relay.what}{'; ' + version if version else ''} |"
    for name, why in facts.absent:
        yield f"| {name} | left out: {why} |"
    sizes = {r["result"]["receive_buffer"] for r in facts.records if "result" in r}
    own = ", ".join(f"{s >> 10} KiB" for s in sorted(sizes))
    yield f"| buffers of the generator | {own}, as the kernel counts |"
    if any(r["result"]["softirq_apart"] for r in facts.records if "result" in r):
        yield ("| softirq | this kernel does not charge it to processes; that of the relay's core is "
               "added, in 10 ms steps |")
    for note in sorted({n for r in facts.records for n in r["notes"]}):
        yield f"| note | {note} |"
    yield ""
    yield ("CPU is that of the relay's core: its processes and the kernel threads that receive for it, "
           "divided by the packets that arrived. Latency is from just before the generator's system "
           "call to just after the receiver's. † others used more than 5 % of the relay's core in at "
           "least one round. ≥ the generator, not the relay, was the limit.")
    yield ""


def markdown(facts, plots):
    yield from _head(facts)
    for network, text in NETWORKS.items():
        if not any(r["network"] == network for r in facts.records):
            continue
        yield f"## {text.split(':')[0]}"
        yield ""
        yield text
        yield ""
        if network in plots:
            yield f"![CPU per packet out, {network}]({plots[network]})"
            yield ""
        for case in CASES:
            yield from _section(facts, network, case)
    yield from _micro(facts)
    yield from _errors(facts)


def write(directory, facts):
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("cpu-*.svg"):
        old.unlink()
    plots = {}
    for network in NETWORKS:
        panels = []
        for case in CASES:
            rows = [r for r in rows_of(facts, network, case) if r.cpu_us]
            bars = [plot.Bar(r.relay.name, r.cpu_us, r.relay.bar) for r in rows]
            if bars:
                panels.append(plot.Panel(case.title, bars))
        if panels:
            plots[network] = f"cpu-{network}.svg"
            title = f"CPU per packet out, µs ({network})"
            (directory / plots[network]).write_text(plot.svg(title, panels), encoding="utf-8")
    text = "\n".join(markdown(facts, plots)).rstrip() + "\n"
    (directory / "results.md").write_text(text, encoding="utf-8")
