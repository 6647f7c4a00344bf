#!/usr/bin/python3 -B
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What 100,000 hostile datagrams a second of each kind do to a relay, and to 20 live streams beside them.

hostile.py BUILD [--rate N] [--seconds S] [--rounds N] [--report FILE] [--works]

One relay bears all kinds, one after another, so that what any of them leaves behind is seen. Each kind also floods a socket that is read
as plainly as can be, by a loop that passes the streams' packets on and looks at nothing else: what the streams lose there, the
machine's cores lose. Of several rounds that one counts in which the streams lost least, of the control's as of the relay's: others on the
machine only ever add to it. --works proves that all of it works, and judges nothing.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import lab  # noqa: E402
import live  # noqa: E402
import measure  # noqa: E402
import relays  # noqa: E402
from cases import LIVE  # noqa: E402

KINDS = {
    "rubbish": "random bytes, 1 to 300",
    "bindings": "first Bindings, 200 bytes, each from another address",
    "integrity": "Bindings with a good user name and a bad integrity",
    "rtp": "RTP of the live streams' SSRCs from elsewhere",
    "rtcp": "RTCP and SRTCP that is none, of these SSRCs",
    "nack": "genuine NACKs of a registered subscriber, 17 packets each",
    "tls": "TLS connections with half a ClientHello, 512 open at a time",
}
MEMORY = 8 << 20    # bytes that the relay may have more after a flood than before the first: 64 handshakes under way are half of it
SESSIONS = 1 << 19  # and for each turn's 40 sessions, which are left behind until they are forgotten
LOSS = 0.0005       # share of the streams' packets that may be missing beyond what the control lost: a hiccup of the machine


class Field(live.Scene):
    """The relay, and who attacks it."""

    def __init__(self, bench, seconds):
        super().__init__(bench)
        self.seconds, self.turn = seconds, 0

    def hostile(self, *options, cpu=0, **more):
        return lab.start([self.bench.program("nathostile"), *options], lab.cores()[cpu], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, **more)

    def reader(self):
        """(process, address) of the control, on the core that the relay has."""
        process = self.hostile("--reader", "--sink", f"{self.net.our_ip}:{relays.SINK_PORT}", cpu=1)
        return process, relays._lines_until_ready(process, "nathostile")["listening"]

    def blast(self, running):
        self.turn += 1
        command = self.bench.blast(self.net, LIVE, running, "--rate", LIVE.rate, "--seconds", self.seconds, "--stream",
                                   f"hostile{self.turn}", "--beside", "--warm", "0.2")
        return lab.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def result(self, process, what):
        out, said = process.communicate(timeout=300)
        if process.returncode:
            raise lab.BenchError(f"{what}: {said.strip() or process.returncode}")
        return json.loads(out.splitlines()[-1])

    def flood(self, kind, rate, blast, target=None):
        options = ["--kind", kind, "--to", self.address, "--rate", rate, "--seconds", 120, "--ssrc", (blast.pid & 0xFFFF) << 16,
                   "--streams", LIVE.publishers, "--secrets", f"{self.server.state}/secrets", "--stream", f"hostile{self.turn}/0"]
        return self.hostile(*options, *(["--send-to", target] if target else []))

    def are_live(self):
        """All streams of this turn have their receivers."""
        found = self.counters()
        return found.get("sessions", 0) >= 2 * LIVE.publishers and found.get("stun_success", 0) >= self.bound + 2 * LIVE.publishers

    def streams_under(self, kind, rate):
        """A turn: (streams, flood or None, counters that changed)."""
        before = self.counters()
        self.bound = before.get("stun_success", 0)
        blast = self.blast(relays.Running(self.process, ["--to", self.address, "--negotiate"]))
        flood = None
        try:
            lab.wait_for(lambda: self.are_live() or blast.poll() is not None, "the streams are live", 60)
            if kind:
                flood = self.flood(kind, rate, blast)
            began = time.monotonic()
            streams, shares = self.shares(lambda: self.result(blast, "natblast"))
            took = time.monotonic() - began
        finally:
            lab.stop(blast)
            told = self._end(flood)
        after = self.counters()
        changed = {n: after[n] - before.get(n, 0) for n in after if after[n] != before.get(n, 0)}
        return {"streams": streams, "flood": told, "shares": shares, "changed": changed, "cpu": took * shares.get("nat-data", 0),
                "load": os.getloadavg()[0],
                "resident": lab.resident_bytes(self.process.pid), "turn": self.turn}

    def streams_through_reader(self, kind, rate):
        """The same flood at the plain reader, or, of TLS, at the relay beside it."""
        process, address = self.reader()
        blast = flood = None
        try:
            blast = self.blast(relays.Running(process, ["--to", address]))
            flood = self.flood(kind, rate, blast, None if kind == "tls" else address)
            streams = self.result(blast, "natblast")
        finally:
            lab.stop(blast)
            told = self._end(flood)
            lab.stop(process)
        return {"streams": streams, "flood": told}

    def _end(self, flood):
        if flood is None:
            return None
        if flood.poll() is None:
            flood.send_signal(signal.SIGTERM)
        return self.result(flood, "nathostile")


def least(parts):
    """That one in which least was lost, with what memory came to in the last."""
    best = min(parts, key=lambda part: part["streams"]["lost"] / max(part["streams"]["expected"], 1))
    return dict(best, resident=parts[-1]["resident"], turn=parts[-1]["turn"]) if "resident" in best else best


def patiently(action):
    """A machine that gives the generator no time at all for a moment is asked again."""
    for _ in range(3):
        try:
            return action()
        except lab.BenchError as e:
            failed = e
            print("# once more: %s" % e, flush=True)
    raise failed


def measured(bench, rate, seconds, rounds):
    with contextlib.closing(Field(bench, seconds)) as field:
        yield "calm", patiently(lambda: field.streams_under(None, 0))
        # The second fills what memory the first did not: what streams take that come and go is not what floods do.
        yield "calm", patiently(lambda: field.streams_under(None, 0))
        for kind in KINDS:
            # In turns, so that a machine that grows busier does so for both.
            turns = [(patiently(lambda: field.streams_under(kind, rate)), patiently(lambda: field.streams_through_reader(kind, rate)))
                     for _ in range(rounds)]
            yield kind, dict(least([a for a, _ in turns]), control=least([b for _, b in turns]))


def lost(part):
    s = part["streams"]
    return "%d of %d" % (s["lost"], s["expected"])


def judged(found):
    """What is wrong, in words."""
    base = max(r["resident"] for name, r in found if name == "calm")
    for name, r in found:
        if name == "calm":
            continue
        s, c = r["streams"], r["control"]["streams"]
        if r["resident"] > base + MEMORY + r["turn"] * SESSIONS:
            yield "%s: the relay has %.1f MiB more than before" % (name, (r["resident"] - base) / (1 << 20))
        if s["lost"] > s["expected"] * (c["lost"] / max(c["expected"], 1) + LOSS):
            yield "%s: the streams lost %s, with the plain reader %s" % (name, lost(r), lost(r["control"]))


def cost(r, calm):
    """µs of the worker's processor time for each hostile datagram that it read: what a busy machine changes least."""
    live = sum(c["cpu"] for c in calm) / sum(c["streams"]["received"] for c in calm)
    read = r["changed"].get("datagrams_received", 0) - r["streams"]["sent"]
    return (r["cpu"] - live * r["streams"]["received"]) / read * 1e6 if read > 0 else 0


def report(found, options):
    base = max(r["resident"] for name, r in found if name == "calm")
    yield "# Hostile floods"
    yield ""
    yield "Made by `tests/bench/hostile.py`: each kind of hostile traffic at %s a second for %g s, beside 20 live streams of 500 packets/s" % (
        "{:,}".format(int(options.rate)), options.seconds)
    best = "; of %d rounds that in which least was lost" % options.rounds if options.rounds > 1 else ""
    yield "and 1200 bytes each%s. One relay with default settings bears all of it. The control is the same flood at a" % best
    yield "socket that a loop reads with `recvmmsg`, passing on the streams' packets: what is lost there, the machine loses. TLS has no"
    yield "such control; there the flood goes to the relay, and the streams through the loop on the same core."
    yield ""
    for label, text in lab.describe_machine():
        yield "- %s: %s" % (label, text)
    loads = [r["load"] for _, r in found]
    yield "- load: %.0f to %.0f programs wanted a core, these here among them" % (min(loads), max(loads))
    if min(loads) > 2 + (os.cpu_count() or 1):
        yield ""
        yield "**The machine was busy with other things.** What was lost, of the relay's as of the control's, came while others had the core and a full"
        yield "socket buffer dropped it (`receive_overflow`); and the floods were as fast as they got to be. So this run says nothing of losses. Processor"
        yield "time for each datagram, which others only make larger, and memory are the relay's own."
    yield ""
    yield "| hostile | a second | streams lost | control lost | worker, µs for each | is of a core | relay's memory, MiB |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    calm = [r for name, r in found if name == "calm"]
    for name, r in found:
        cells = ["none", "0", lost(r), "", "", ""]
        if name != "calm":
            each = cost(r, calm)
            cells = [KINDS[name], "{:,.0f}".format(r["flood"]["rate"]), lost(r), lost(r["control"]),
                     *(["%.1f" % each, "%.0f %%" % (each * options.rate / 1e4)] if name != "tls" else ["", ""])]
        memory = "%.1f" % (r["resident"] / (1 << 20)) + ("" if name == "calm" else " (%+.1f)" % ((r["resident"] - base) / (1 << 20)))
        yield "| %s | %s |" % (" | ".join(cells), memory)
    yield ""
    yield "\"Is of a core\": what that comes to at the whole rate. In brackets: more than the most that the relay had before the first flood; each row"
    yield "leaves 40 sessions behind, which alone were %.1f MiB from the first to the second. TLS is not the worker's, but of another thread. What the" % (
        (calm[1]["resident"] - calm[0]["resident"]) / (1 << 20))
    yield "relay counted:"
    yield ""
    for name, r in found:
        if name == "calm":
            continue
        c = r["changed"]
        told = ["%s %d" % (n, c[n]) for n in sorted(c) if n.startswith(("drop_", "stun_", "receive_overflow", "https_refused",
                                                                        "https_timeouts", "rtp_refused", "rtcp_refused", "repair"))]
        yield "- %s: %s" % (name, ", ".join(told) or "nothing")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rate", type=float, default=100000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--works", action="store_true", help="judge nothing")
    options = parser.parse_args()
    lab.enter([str(pathlib.Path(__file__).resolve()), *sys.argv[1:]], relays.SOCKET_BUFFER if not options.works else None)
    found = []
    with tempfile.TemporaryDirectory(prefix="natrelay-hostile-") as directory:
        bench = measure.Bench(options.build.resolve(), directory)
        for name, r in measured(bench, options.rate, options.seconds, options.rounds):
            found.append((name, r))
            print("# %s: lost %s%s, %.1f MiB" % (
                name, lost(r), ", control %s, %.0f/s" % (lost(r["control"]), r["flood"]["rate"]) if name != "calm" else "",
                r["resident"] / (1 << 20)), flush=True)
    text = "\n".join(report(found, options))
    if options.report:
        options.report.write_text(text + "\n", encoding="utf-8")
    wrong = list(judged(found))
    for line in wrong:
        print("# " + line)
    if not options.works and wrong:
        sys.exit(1)
    if any(r["streams"]["received"] == 0 or (name != "calm" and r["flood"]["sent"] == 0) for name, r in found):
        sys.exit("something did not run")


if __name__ == "__main__":
    main()
