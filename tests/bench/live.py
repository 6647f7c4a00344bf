# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a relay has to do beside media: 100,000 mappings kept alive, 1,000 newcomers a second; 20 live
streams run beside either, and beside neither for comparison."""

import contextlib
import itertools
import json
import pathlib
import re
import subprocess
import time

import lab
import relays
from cases import LIVE

MAPPINGS, STREAMS, INTERVAL = 100000, 1000, 5
NEWCOMERS = 1000                # a second


class Scene:
    """A relay with 20 live streams whenever they are asked for."""

    def __init__(self, bench):
        self.bench, self.net = bench, lab.Loopback()
        self.names = itertools.count()
        self.server = relays.NatrelayServer(bench.build)
        self.process, self.address = self.server.start_server(self.net, bench.directory,
                                                              unlimited=True)

    def close(self):
        lab.stop(self.process)
        self.net.close()

    def streams(self, seconds):
        running = relays.Running(self.process, ["--to", self.address, "--negotiate"])
        return self.bench.generator(self.net, LIVE, running, "--rate", LIVE.rate, "--seconds",
                                    seconds, "--stream", f"live{next(self.names)}", "--beside")

    def counters(self):
        """The relay's own, and what the sockets of this network had no room for."""
        text = subprocess.run(["curl", "--silent", "--insecure", "--noproxy", "*",
                               f"https://{self.address}/metrics"], stdout=subprocess.PIPE,
                              text=True, check=False).stdout
        found = {}
        for name, value in re.findall(r"^natrelay_(\w+?)(?:_total)?(?:\{[^}]*\})? ([\d.]+)$", text,
                                      re.M):
            found[name] = found.get(name, 0) + float(value)
        rows = [line.split() for line in
                pathlib.Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
        found.update({f"udp_{n}": int(v) for n, v in zip(*rows) if n.endswith("Errors")})
        return found

    def start(self, name, *options):
        return lab.start([self.bench.program(name), "--to", self.address, *options],
                         lab.cores()[0], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def shares(self, action):
        """(what it returns, share of a core that each kind of thread had meanwhile)."""
        before, start = lab.thread_seconds(self.process.pid), time.monotonic()
        returned = action()
        took = time.monotonic() - start
        found = {}
        for thread, seconds in lab.thread_seconds(self.process.pid).items():
            name = thread.rsplit("-", 1)[0]
            found[name] = found.get(name, 0) + (seconds - before.get(thread, 0)) / took
        return returned, found


def _answer(process, what):
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise lab.BenchError(f"{what}: {process.stderr.read().strip() or 'it ended'}")
    return json.loads(line)


def keepalives(bench, mappings=MAPPINGS, interval=INTERVAL, cycles=3):
    """The record of that part. One interval belongs to the keepalives alone, the rest to them and the
    streams."""
    with contextlib.closing(Scene(bench)) as scene:
        quiet = scene.streams(interval)
        empty = lab.resident_bytes(scene.process.pid)
        process = scene.start("natkeepalives", "--secrets", f"{scene.server.state}/secrets",
                              "--mappings", mappings, "--streams", min(mappings, STREAMS),
                              "--interval", interval, "--seconds", cycles * interval)
        try:
            registered = _answer(process, "natkeepalives")
            full = lab.resident_bytes(scene.process.pid)
            _, alone = scene.shares(lambda: time.sleep(0.9 * interval))
            streams, shares = scene.shares(lambda: scene.streams(interval))
            result = _answer(process, "natkeepalives")
            counters = scene.counters()
        finally:
            lab.stop(process)
    return {"part": "keepalives", "mappings": mappings, "interval": interval,
            "registered": registered, "resident_before": empty, "resident_after": full,
            "alone": alone, "with_streams": shares, "quiet": quiet, "streams": streams,
            "result": result, "counters": counters}


def _join(scene, rate, seconds, *options):
    process = scene.start("natnewcomers", "--rate", rate, "--seconds", seconds, *options)
    try:
        result = _answer(process, "natnewcomers")
        said = process.stderr.read().strip()
        return {**result, "said": said} if said else result
    finally:
        lab.stop(process)


def _join_beside_streams(scene, rate, seconds):
    """Streams begin when newcomers come, and end before they do."""
    process = scene.start("natnewcomers", "--rate", rate, "--seconds", seconds)
    try:
        (streams, shares) = scene.shares(lambda: scene.streams(max(seconds - 2, 0.5 * seconds)))
        return streams, shares, _answer(process, "natnewcomers")
    finally:
        lab.stop(process)


def newcomers(bench, rate=NEWCOMERS, seconds=8):
    """The record of that part: at the rate, beside streams; then as fast as one core of clients can, over
    new connections and over what the relay lets them use again."""
    with contextlib.closing(Scene(bench)) as scene:
        quiet = scene.streams(seconds / 2)
        streams, shares, result = _join_beside_streams(scene, rate, seconds)
        limit, limit_shares = scene.shares(lambda: _join(scene, 1e6, seconds / 2))
        again, again_shares = scene.shares(
            lambda: _join(scene, 1e6, seconds / 2, "--keep", "--resume"))
    return {"part": "newcomers", "rate": rate, "quiet": quiet, "streams": streams,
            "shares": shares, "result": result, "limit": limit, "limit_shares": limit_shares,
            "again": again, "again_shares": again_shares}
