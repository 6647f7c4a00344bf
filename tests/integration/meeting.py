#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Four people meet (examples/meeting), and leave and come again in turn, for NATRELAY_MEETING_SECONDS: everybody gets
picture and sound of everybody else each time, nothing stalls, and whoever stays holds no more in the end than before."""

import os
import re
import signal
import subprocess
import threading
import time

from relay import Relay, run

SECONDS = float(os.environ.get("NATRELAY_MEETING_SECONDS", "12"))
NAMES = ["ann", "bob", "cid", "dot"]
WAIT = 40  # for what comes in a second, on a machine that does other things as well
# Between two buffers of one track: with 200 ms of latency, a tick of 15 pictures a second. A machine that is busy may stall
# for longer: then they meet again.
STALL_MS = 3000
TRIES = 3


class Person:
    def __init__(self, relay, name):
        self.name, self.flows, self.gone, self.lines = name, set(), [], []
        self.changed = threading.Condition()
        room = "natrelay://127.0.0.1:%d/room?tls-fingerprint=%s" % (relay.port, relay.values["tls-fingerprint"])
        token = relay.token(sub=name, publish=["room/" + name], subscribe=["room/*"])
        self.process = subprocess.Popen(
            [os.environ["NATRELAY_MEETING"], "--test", "--room", room, "--name", name, "--publish-token", token,
             "--subscribe-token", token],
            # One arena: what each new thread's would keep for itself looks like a leak.
            env=dict(os.environ, MALLOC_ARENA_MAX="1"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip())
                flows = re.match(r"flows: room/(\w+) (\w+)", line)
                gone = re.match(r"gone: room/(\w+) (\w+) buffers=(\d+) longest-gap-ms=(\d+)", line)
                if flows:
                    self.flows.add(flows.groups())
                if gone:
                    self.flows.discard(gone.groups()[:2])
                    self.gone.append(gone.groups())
                self.changed.notify_all()

    def wait(self, what, condition):
        with self.changed:
            if not self.changed.wait_for(condition, WAIT):
                raise AssertionError("%s: %s; has %s\n%s" % (
                    self.name, what, sorted(self.flows), "\n".join(self.lines[-40:])))

    def wait_flows(self, others):
        wanted = {(name, media) for name in others for media in ("video", "audio")}
        self.wait("waits for all of %s" % sorted(others), lambda: self.flows == wanted)

    def leave(self, stalls):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(WAIT) == 0, "%s ended with an error\n%s" % (self.name, "\n".join(self.lines[-40:]))
        self.reader.join()
        for stream, media, buffers, gap in self.gone:
            if int(gap) >= STALL_MS:
                stalls.append("%s: %s of %s stalled for %s ms" % (self.name, media, stream, gap))
            assert int(buffers) > 0, "%s: no %s of %s" % (self.name, media, stream)

    def holds(self):
        """Descriptors, threads, kB."""
        with open("/proc/%d/status" % self.process.pid) as f:
            status = f.read()
        return (len(os.listdir("/proc/%d/fd" % self.process.pid)),
                int(re.search(r"Threads:\s*(\d+)", status)[1]), int(re.search(r"VmRSS:\s*(\d+)", status)[1]))


def meet(relay):
    """Gives who stalled."""
    people, stalls = {}, []
    try:
        hold_meeting(relay, people, stalls)
    finally:
        for p in people.values():
            p.process.kill()
    return stalls


def hold_meeting(relay, people, stalls):
    for name in NAMES:
        people[name] = Person(relay, name)
    end = time.monotonic() + SECONDS
    everybody = lambda: [p.wait_flows(set(people) - {p.name}) for p in people.values()]
    everybody()
    rounds, first = 0, None
    while time.monotonic() < end or rounds < 4:
        name = NAMES[1 + rounds % 3]  # ann stays
        people[name].leave(stalls)
        del people[name]
        everybody()
        people[name] = Person(relay, name)
        everybody()
        rounds += 1
        if rounds == 3:
            first = people["ann"].holds()
    last = people["ann"].holds()
    print("# %d times somebody left and came; descriptors, threads, kB after three and in the end: %s, %s" % (
        rounds, first, last))
    assert last[0] <= first[0] + 2 and last[1] <= first[1] + 4, "descriptors or threads are left: %s, %s" % (first, last)
    # It takes some rounds until the heap has found its size.
    assert rounds < 20 or last[2] <= first[2] + 16384, "memory grows: %s, %s" % (first, last)
    for p in people.values():
        p.leave(stalls)


def meet_without_stalls(*options):
    for _ in range(TRIES):
        with Relay(*options) as r:
            stalls = meet(r)
        if not stalls:
            return
        print("# " + "; ".join(stalls))
    raise AssertionError("stalls in each of %d meetings, in the last: %s" % (TRIES, "; ".join(stalls)))


def test_meeting():
    meet_without_stalls()


def test_meeting_several_workers():
    meet_without_stalls("--workers", "4")


if __name__ == "__main__":
    run(dict(globals()))
