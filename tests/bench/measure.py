# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the generator against a relay and reads what it says."""

import contextlib
import json
import pathlib
import signal
import statistics
import subprocess

import lab
import relays

PROBE = 0.6                     # seconds of one probe of a search
QUIET = 0.05                    # share of the relay's core that others may use
WARM = 1                        # second of the load itself before it is measured
SLICES = 6                      # of one relay's time beside another's
TRIES = 3                       # with a relay that stops forwarding
SUMS = ("sent", "expected", "received", "lost", "duplicates", "reordered", "damaged", "misrouted", "other", "stale")
OTHER_PORTS = 2000              # from those of one relay's load to those of the one beside it


class Bench:
    def __init__(self, build, directory, options=()):
        """options: of the generator, in all measurements."""
        self.build, self.directory, self.options = build, directory, options

    def program(self, name):
        return self.build / "tests/bench" / name

    def blast(self, net, case, running, *options, ports=0):
        """The generator's command line. ports: what its own are moved by."""
        generator_cpu, relay_cpu = lab.cores()
        command = [self.program("natblast"), *case.arguments(),
                   "--from", f"{net.our_ip}:{relays.PUBLISHER_PORT + ports}",
                   "--sink", f"{net.our_ip}:{relays.SINK_PORT + ports}",
                   "--cpu", generator_cpu, "--relay-cpu", relay_cpu, *running.arguments,
                   *self.options, *options]
        if running.process:
            kernel = ",".join(map(str, net.kernel_pids()))
            command += ["--pid", running.process.pid, "--kernel-pid", kernel]
        if net.sink_gro:
            command.append("--sink-gro")
        return command

    def generator(self, net, case, running, *options):
        command = self.blast(net, case, running, *options)
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE, timeout=400, check=False,
                              preexec_fn=lab.dies_with_us)
        if done.returncode:
            raise lab.BenchError(done.stderr.strip() or f"natblast: exit {done.returncode}")
        return json.loads(done.stdout.splitlines()[-1])

    def measure(self, net, case, relay, *options):
        running = relay.start(net, case, self.directory)
        try:
            return self.generator(net, case, running, *options)
        finally:
            relay.stop(running)

    def fixed(self, net, case, relay, rate, seconds):
        """{"result", "failures"} or {"error", "failures"}. A relay that stopped forwarding (rtpengine
        does, for good, after its queue ran over five times) is started again, up to twice, and that
        is told."""
        for failures in range(TRIES):
            try:
                result = self.measure(net, case, relay, "--rate", rate, "--seconds", seconds,
                                      "--warm", min(WARM, seconds))
                if 2 * result["received"] > result["expected"]:
                    return {"result": result, "failures": failures}
                error = f"{result['received']} of {result['expected']} packets arrived"
            except lab.BenchError as e:
                error = str(e)
        return {"error": error, "failures": failures + 1}

    def beside(self, net, case, ours, theirs, rate, seconds, theirs_first=False):
        """Both relays run, and have the load in turns, each SLICES times: what fixed() tells, of both. Of each figure it
        is the mean of the slices without the least and the most, so that what befalls the machine for a moment counts for neither. ours sends to
        whatever ports its load has, as natrelay does: the usual ones are the other's."""
        failures = [0, 0]
        for _ in range(TRIES):
            sides = self._beside(net, case, (ours, theirs), rate, seconds / SLICES, theirs_first)
            guilty = [i for i in range(2) if "error" in sides[i]]
            for i in guilty:
                failures[i] += 1
            if not guilty:
                break
        return [{**(side or {"error": "the other failed"}), "failures": n} for side, n in zip(sides, failures)]

    def _beside(self, net, case, pair, rate, seconds, theirs_first):
        """Both sides; an empty one is of a relay that had to end since the other failed."""
        flows, slices, now = [], ([], []), 0
        with contextlib.ExitStack() as stack:
            try:
                for now, relay in enumerate(pair):
                    flows.append(Flow(self, net, case, relay, rate, seconds, 0 if now else OTHER_PORTS))
                    stack.callback(flows[now].close)
                for now in _turns(theirs_first):
                    slices[now].append(flows[now].slice())
            except lab.BenchError as e:
                return [{"error": str(e)} if i == now else {} for i in range(2)]
        return [whole(side) for side in slices]

    def search(self, net, case, relay, near=None):
        """The highest rate without loss, as fixed() tells it. near: a rate that it will not be far from,
        which saves the way there."""
        low, high = map(float, case.search.split(":"))
        if near:
            found = self._search(net, case, relay, max(low, 0.55 * near), high)
            if "result" in found:
                return found
        return self._search(net, case, relay, low, high)

    def _search(self, net, case, relay, low, high):
        if relay.breaks:
            return self._search_afresh(net, case, relay, low, high)
        try:
            r = self.measure(net, case, relay, "--search", f"{low:.0f}:{high:.0f}",
                             "--probe-seconds", PROBE)
        except lab.BenchError as e:
            return {"error": str(e), "failures": 1}
        if r["received"]:
            return {"result": r, "failures": 0}
        return {"error": f"fits nowhere from {low:.0f}/s on", "failures": 0}

    def _probe_afresh(self, net, case, relay, rate):
        for _ in range(3):
            try:
                r = self.measure(net, case, relay, "--rate", rate, "--seconds", PROBE)
            except lab.BenchError as e:
                r = {"limit": "loses", "error": str(e)}
            if r["limit"] == "fits":
                break
        return r

    def _search_afresh(self, net, case, relay, low, high):
        """natblast's own search, but every probe has a relay of its own."""
        best, rate, step = None, low, None
        for _ in range(30):
            r = self._probe_afresh(net, case, relay, rate)
            if r["limit"] == "fits":
                best = r
                if rate >= high:
                    break
            elif best is None:
                return {"error": r.get("error", f"fits nowhere from {low:.0f}/s on"), "failures": 0}
            else:
                step = step or (rate - best["rate_in"])
                best["limit"] = r["limit"]
            if step:
                step /= 2
                if step < best["rate_in"] / 30:
                    break
                rate = best["rate_in"] + step
            else:
                rate = min(rate * 2, high)
        return {"result": {**best, "kind": "search"}, "failures": 0}

    def micro(self, seconds):
        """The small measurements, as {name: numbers}."""
        found = {}
        for program in ("table-micro", "stun-micro", "memory-micro"):
            self._take(found, [str(self.program(program)), str(seconds)])
        server = relays.NatrelayServer(self.build)
        if not server.missing():
            process, address = server.start_server(lab.Loopback(), self.directory, unlimited=True)
            try:
                self._take(found, [str(self.program("https-micro")), address, str(process.pid),
                                   str(seconds)])
            finally:
                lab.stop(process)
        return found

    @staticmethod
    def _take(found, command):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False,
                              stderr=subprocess.PIPE)
        if done.returncode:
            raise lab.BenchError(f"{pathlib.Path(command[0]).name}: {done.stderr.strip()}")
        for line in done.stdout.splitlines():
            numbers = json.loads(line)
            found[numbers.pop("name")] = numbers


class Flow:
    """A relay, and a load through it that flows for a slice at a time. In between both stand still."""

    def __init__(self, bench, net, case, relay, rate, seconds, ports):
        self.relay = relay
        self.running = relay.start(net, case, bench.directory)
        self.generator = None
        try:
            command = bench.blast(net, case, self.running, "--slices", "--rate", rate, "--seconds", seconds, "--warm",
                                  min(WARM, SLICES * seconds), ports=ports)
            self.generator = lab.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if self._line() != "ready\n":       # what it says of a relay that lets nothing through
                self._fail()
            self._signal(signal.SIGSTOP)
        except BaseException:
            self.close()
            raise

    def _line(self):
        """Of the generator, which ends by itself in the end, whatever happens."""
        return self.generator.stdout.readline() or self._fail()

    def _fail(self):
        said = self.generator.stderr.read().strip()
        raise lab.BenchError(f"{self.relay.name}: {said or 'natblast ended'}")

    def _signal(self, number):
        if self.running.process:
            self.running.process.send_signal(number)

    def slice(self):
        self._signal(signal.SIGCONT)
        try:
            self.generator.stdin.write("\n")
            self.generator.stdin.flush()
            return json.loads(self._line())
        except BrokenPipeError:
            return self._fail()
        finally:
            self._signal(signal.SIGSTOP)

    def close(self):
        if self.generator:
            with contextlib.suppress(BrokenPipeError):
                self.generator.stdin.close()
            lab.stop(self.generator)
        self._signal(signal.SIGCONT)
        self.relay.stop(self.running)


def _turns(theirs_first):
    """A B, B A, A B and so on: 0 is ours."""
    for i in range(SLICES):
        first = (i + theirs_first) % 2
        yield from (first, 1 - first)


def middle(values):
    """The mean of all but the least and the most: what comes once a second counts, what befalls one slice does not."""
    return statistics.fmean(sorted(values)[1:-1])


def whole(slices):
    """{"result"} or {"error"} of one relay's."""
    found = dict(slices[0])
    for key, value in slices[0].items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        values = [s[key] for s in slices]
        found[key] = max(values) if key == "max_us" else sum(values) if key in SUMS else middle(values)
    if 2 * found["received"] <= found["expected"]:
        return {"error": f"{found['received']} of {found['expected']} packets arrived"}
    return {"result": found}


def disturbed(result):
    return result["foreign_share"] > QUIET
