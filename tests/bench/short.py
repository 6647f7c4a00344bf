# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Proves that every part of the bench works: each driver moves packets, each fault is counted,
the search ends, the report says what was measured. No time is judged; it takes under a minute."""

import pathlib
import tempfile
import traceback
import xml.etree.ElementTree

import lab
import relays
import report
from cases import Case

LOAD = ["--rate", "400", "--seconds", "0.3", "--warm", "0.1", "--verify"]
SLOW = ["--rate", "20", *LOAD[2:]]
ONE = Case("short-1to1", "one to one", 1, 1, 4, 400, "", ("loopback", "wire"))
MANY = Case("short-2to3", "two to three each", 2, 3, 4, 400, "", ("loopback", "wire"))
FEW = Case("short-1to3", "one to three", 1, 3, 4, 400, "", ("loopback", "wire"))
SMOOTH = Case("short-smooth", "single packets", 1, 1, 1, 400, "", ("loopback",))


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


def _micro(bench):
    def check():
        found = bench.micro(0.1)
        wanted = [name for name, _text, _unit in report.MICRO]
        if relays.NatrelayServer(bench.build).missing():
            wanted.remove("https-negotiation")
        expect(sorted(found) == sorted(wanted), f"measured only {sorted(found)}")
        expect(all(f["ns"] > 0 for f in found.values()), "a cost is zero")
    return "small measurements: all are there", check


def _report(bench, results):
    def check():
        versions = [(relay, "1") for relay, _r in results]
        records = [{"network": "loopback", "case": report.CASES[0].name, "relay": relay.name,
                    "kind": "fixed", "round": 0, "failures": 0, "notes": [], "result": r} for relay, r in results]
        facts = report.Facts("short", lab.describe_machine(), records, {}, [("x", "absent")], versions)
        with tempfile.TemporaryDirectory() as directory:
            report.write(pathlib.Path(directory), facts)
            text = (pathlib.Path(directory) / "results.md").read_text(encoding="utf-8")
            svg = pathlib.Path(directory) / "cpu-loopback.svg"
            root = xml.etree.ElementTree.parse(svg).getroot()
            drawn = {t.text for t in root.iter("{http://www.w3.org/2000/svg}text")}
        for relay, r in results:
            row = f"| {relay.name} | {r['cpu_us']:.2f} |" if r["cpu_us"] else f"| {relay.name} | – |"
            expect(row in text.replace(" †", ""), f"results.md lacks \"{row}\"")
            expect(relay.name in drawn or not r["cpu_us"], f"the plot lacks {relay.name}")
    return "report: results.md and the plot hold every relay", check


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


def prove(bench, _options):
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
                for name, check in [*_faults(bench, net), _search(bench, net), _dead(bench, net)]:
                    tally.run(name, check)
        finally:
            net.close()
    tally.run(*_micro(bench))
    tally.run(*_report(bench, results))
    if not lab.is_private():
        print("skipped wire: this kernel gives us no network namespaces")
    print(f"bench: {tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0
