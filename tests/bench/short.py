# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Proves that every part of the bench works: each driver moves packets, each fault is counted,
the search ends, the report says what was measured. No time is judged; it takes under a minute."""

import dataclasses
import json
import math
import pathlib
import tempfile
import traceback
import xml.etree.ElementTree

import lab
import live
import measure
import promises
import relays
import report
from cases import Case

LOAD = ["--rate", "400", "--seconds", "0.3", "--verify"]
SLOW = ["--rate", "20", *LOAD[2:]]
ONE = Case("short-1to1", "one to one", 1, 1, 4, 400, "", ("loopback", "wire"))
MANY = Case("short-2to3", "two to three each", 2, 3, 4, 400, "", ("loopback", "wire"))
FEW = Case("short-1to3", "one to three", 1, 3, 4, 400, "", ("loopback", "wire"))
SMOOTH = Case("short-smooth", "single packets", 1, 1, 1, 400, "", ("loopback",))


SOME_PROMISES = [p for p in promises.PROMISES if p.network == "loopback"
                 and (p.other.startswith("raw") and not p.half_of or p.half_of == "coturn")]


class Failure(Exception):
    pass


def expect(fact, text):
    if not fact:
        raise Failure(text)


def _clean(r):
    """Nothing lost, changed or given to somebody else."""
    expect(r["received"] > 0, "nothing arrived")
    expect(r["received"] == r["expected"] == r["sent"] * r["fan"],
           f"{r['received']} of {r['expected']} packets arrived")
    for what in ("lost", "damaged", "misrouted"):
        expect(r[what] == 0, f"{r[what]} packets {what}")
    expect(r["p50_us"] > 0 and r["p50_us"] <= r["p99_us"], "latency was not measured")


def _driver(bench, net, relay):
    case = next(c for c in (MANY, FEW, ONE, SMOOTH) if relay.measures(c))

    def check():
        r = bench.measure(net, case, relay, *LOAD)
        _clean(r)
        expect(relay.bar == "none" or r["cpu_us"] > 0, "its CPU was not measured")
        return r
    return f"{net.name}: {relay.name} carries packets", check


def _faulty(bench, net, text, fault, judge, load=LOAD):
    relay = relays.Loop(bench.build, "faulty", "")

    def check():
        running = relay.start(net, SMOOTH, bench.directory, fault)
        try:
            judge(bench.generator(net, SMOOTH, running, *load))
        finally:
            relay.stop(running)
    return f"meter: {text}", check


def _tenth(key):
    """The warm-up's packets count in the relay's tenths, so one more or less is right."""
    def judge(r):
        expect(abs(r[key] - r["sent"] / 10) <= 1, f"{r[key]} of {r['sent']} were {key}")
        for other in ("lost", "duplicates", "reordered", "damaged"):
            allowed = {key, "lost"} if key == "damaged" else {key}
            expect(other in allowed or r[other] == 0, f"{r[other]} were {other}")
        if key in ("lost", "damaged"):
            expect(r["received"] == r["expected"] - r["lost"], "loss and arrival do not add up")
            expect(r["limit"] == "loses", "a loss was taken for success")
    return judge


def _late(r):
    expect(r["p50_us"] >= 20000, f"held 20 ms, but p50 is {r['p50_us']} µs")


def _search(bench, net):
    relay = relays.Loop(bench.build, "plain", "")

    def check():
        r = bench.measure(net, ONE, relay, "--search", "200:1600", "--probe-seconds", "0.1",
                          "--warm", "0.1", "--latency-limit-ms", "2000")
        expect(r["kind"] == "search" and r["rate_in"] >= 200 and r["lost"] == 0,
               f"search ended at {r['rate_in']}/s")
    return "search: ends with a rate that loses nothing", check


def _dead(bench, net):
    def check():
        nobody = relays.Running(None, ["--to", f"{net.relay_ip}:{relays.LISTEN_PORT}"])
        try:
            bench.generator(net, ONE, nobody, *LOAD)
        except lab.BenchError as e:
            expect("nothing of" in str(e), f"it said: {e}")
            return
        raise Failure("a relay that is not there was measured")
    return "meter: a dead relay gives no figures", check


class _Nobody(relays.Loop):
    """Its address, and nobody behind it."""

    def start(self, net, case, directory):
        return relays.Running(None, ["--to", f"{net.relay_ip}:{relays.LISTEN_PORT}"])


def _dead_beside(bench, net):
    def check():
        pair = relays.NatrelayServer(bench.build), _Nobody(bench.build, "batch", "")
        ours, theirs = bench.beside(net, ONE, *pair, 1000, 0.3)
        expect("nothing of" in theirs.get("error", "") and theirs["failures"] == measure.TRIES, f"it said: {theirs}")
        expect("result" not in ours and ours["failures"] == 0, f"the other one said: {ours}")
    return "slices: a dead relay gives no figures, and is not the other one's fault", check


def _moment():
    """One slice of six that was bad, by figures that are worked out by hand."""
    def slices(received):
        good = {"expected": 10, "received": received, "lost": 10 - received, "cpu_us": 2.0, "max_us": 5.0, "label": "x"}
        return [good] * 3 + [{**good, "cpu_us": 90.0, "max_us": 900.0}] + [{**good, "cpu_us": 4.0}] * 2

    def check():
        whole = measure.whole(slices(9))["result"]
        expect(whole == {"expected": 60, "received": 54, "lost": 6, "cpu_us": 3.0, "max_us": 900.0, "label": "x"},
               f"the whole is {whole}")
        expect("error" in measure.whole(slices(5)), "half of the packets are enough")
    return "slices: a bad moment does not count", check


def _micro(bench):
    def check():
        found = bench.micro(0.1)
        memory = found.pop("mapping-memory")
        wanted = [name for name, _text, _unit in report.MICRO]
        if relays.NatrelayServer(bench.build).missing():
            wanted.remove("https-negotiation")
        expect(sorted(found) == sorted(wanted), f"measured only {sorted(found)}")
        expect(all(f["ns"] > 0 for f in found.values()), "a cost is zero")
        expect(memory["bytes"] >= 0 and memory["counters_bytes"] > 0, "no memory was measured")
        return {**found, "mapping-memory": memory}
    return "small measurements: all are there", check


def _keepalives(bench):
    def check():
        r = live.keepalives(bench, mappings=200, interval=0.5, cycles=4)
        expect(r["registered"]["registered"] == 200, "not all were registered")
        expect(r["result"]["answered"] > 0, "no keepalive was answered")
        expect(r["streams"]["received"] > 0, "no stream ran beside the keepalives")
        expect(sum(r["alone"].values()) > 0, "they cost nothing")
        return r
    return "keepalives: mappings are registered and kept, streams run beside them", check


def _newcomers(bench):
    def check():
        r = live.newcomers(bench, rate=20, seconds=1)
        for what in ("result", "limit", "again"):
            expect(r[what]["done"] > 0 and not r[what]["failed"], f"{what}: {r[what]}")
        expect(r["limit"]["connections"] == r["limit"]["done"], "connections were not counted")
        expect(r["streams"]["received"] > 0, "no stream ran beside the newcomers")
        return r
    return "newcomers: they negotiate and register, streams run beside them", check


def _pairs(bench):
    """A round of promises with small loads, whose records the report then takes: each measure, against raw
    loops, and at half of a rate that was looked for."""
    def check():
        contenders = [r for r in relays.all_relays(bench.build) if not r.missing()]
        pairs = promises.Pairs(bench, contenders, 0.2, SOME_PROMISES, 0.02, "100:200")
        records = list(pairs.round(0, {"loopback": lab.Loopback}))
        wanted = sum(p.other in pairs.relays for p in SOME_PROMISES)
        expect(len(records) == wanted, "a pair is missing")
        for r in records:
            expect("result" in r["ours"], f"natrelay, {r['measure']}: {r['ours']}")
        return records
    return "promises: every pair is measured", check


def _bounds():
    """A bound that is worked out by hand: ratios 1 and e, n = 2, t = 6.314."""
    def check():
        upper, lower = (promises.bound_of([1, math.e], up) for up in (True, False))
        expect(abs(math.log(upper) - (0.5 + 6.314 / 2)) < 1e-3, f"the upper bound is {upper}")
        expect(abs(math.log(lower) - (0.5 - 6.314 / 2)) < 1e-3, f"the lower bound is {lower}")
        expect(promises.bound_of([2, 2, 2], True) == 2 == promises.bound_of([2, 2, 2], False),
               "equal ratios have a bound elsewhere")
    return "promises: bounds are right", check


def _verdicts():
    """The same good figures again and again, as many times and with what limit as said."""
    promise = next(p for p in promises.PROMISES if p.wants_more())

    def met(pairs, limit="loses"):
        def side(rate, why):
            return {"result": {"rate_out": rate, "limit": why, "foreign_share": 0}, "failures": 1}
        record = {"part": "promises", **dataclasses.asdict(promise),
                  "ours": side(10 * promise.bar, "generator"), "theirs": side(1, limit)}
        verdict, told = promises.judge(promise, [record] * pairs), promises.restarts([record])
        expect(told == {"natrelay": 1, promise.other: 1}, f"restarts: {told}")
        return verdict.met

    def check():
        expect(met(10), "ten good pairs meet nothing")
        expect(not met(9), "nine pairs were enough")
        expect(not met(10, "generator"), "a rate that nobody knows was beaten")
    return "promises: few pairs and unknown rates meet nothing", check


def _report(results, others):
    def check():
        records = [{"part": "facts", "command": "short", "machine": lab.describe_machine(),
                    "absent": [("x", "absent")],
                    "relays": [(relay.name, relay.what, relay.bar) for relay, _r in results]}]
        records += [{"part": "tables", "network": "loopback", "case": report.CASES[0].name,
                     "relay": relay.name, "kind": "fixed", "round": 0, "failures": 0, "notes": [],
                     "result": r} for relay, r in results]
        records += [{"part": "fans", "case": case.name, "relay": relay.name, "result": r}
                    for relay, r in results for case in report.FANS[:1]]
        records += others
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / "records").write_text("".join(json.dumps(r) + "\n" for r in records) + "{")
            report.write(directory, report.read(directory / "records"))
            text = (directory / "results.md").read_text(encoding="utf-8")
            numbers = json.loads((directory / "results.json").read_text(encoding="utf-8"))
            drawn = {t.text for svg in ("cpu-loopback.svg", "promises.svg", "fans.svg")
                     for t in xml.etree.ElementTree.parse(directory / svg).getroot().iter(
                         "{http://www.w3.org/2000/svg}text")}
        for relay, r in results:
            row = f"| {relay.name} | {r['cpu_us']:.2f} |" if r["cpu_us"] else f"| {relay.name} | – |"
            expect(row in text.replace(" †", ""), f"results.md lacks \"{row}\"")
            expect(relay.name in drawn or not r["cpu_us"], f"the plot lacks {relay.name}")
        for heading in ("What natrelay promises", "mappings kept alive", "newcomers a second",
                        "Small measurements", "Many receivers"):
            expect(heading in text, f"results.md lacks \"{heading}\"")
        measured = {(r["case"], r["measure"], r["other"], r["half_of"]) for r in others if r["part"] == "promises"}
        expect(len(numbers["promises"]) == len(measured),
               "results.json lacks promises")
    return "report: results.md, results.json and the plots hold everything", check


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def run(self, name, check):
        try:
            result = check()
        except (Failure, lab.BenchError) as e:
            self.failed += 1
            print(f"FAILED {name}: {e}", flush=True)
            return None
        except Exception:               # a bug of the bench: it is to be seen, the rest goes on
            self.failed += 1
            print(f"FAILED {name}: {traceback.format_exc()}", flush=True)
            return None
        self.passed += 1
        print(f"ok {name}", flush=True)
        return result


def _faults(bench, net):
    for key, option in (("lost", "drop"), ("duplicates", "repeat"), ("reordered", "swap"),
                        ("damaged", "damage")):
        yield _faulty(bench, net, f"counts {key} packets", f"--{option}-every=10", _tenth(key))
    yield _faulty(bench, net, "sees lateness", "--delay-ms=20", _late, SLOW)


def _networks():
    yield lab.Loopback
    if lab.is_private():
        yield lab.Wire


def prove(build, directory):
    bench = measure.Bench(build, directory, ("--warm", "0.1"))
    tally, results = Tally(), []
    for make in _networks():
        net = make()
        try:
            for relay in relays.all_relays(bench.build):
                why = relay.missing()
                if why:
                    print(f"skipped {net.name}: {relay.name}: {why}")
                    continue
                r = tally.run(*_driver(bench, net, relay))
                if r and net.name == "loopback":
                    results.append((relay, r))
            if net.name == "loopback":
                for name, check in [*_faults(bench, net), _search(bench, net), _dead(bench, net),
                                    _dead_beside(bench, net)]:
                    tally.run(name, check)
        finally:
            net.close()
    tally.run(*_bounds())
    tally.run(*_verdicts())
    tally.run(*_moment())
    pairs = tally.run(*_pairs(bench)) or []
    others = pairs + [{**r, "round": 1} for r in pairs]         # a bound wants two
    others.append({"part": "micro", "found": tally.run(*_micro(bench))})
    others += [r for part in (_keepalives, _newcomers) if (r := tally.run(*part(bench)))]
    tally.run(*_report(results, others))
    if not lab.is_private():
        print("skipped wire: this kernel gives us no network namespaces")
    print(f"bench: {tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0
