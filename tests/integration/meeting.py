#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Four people meet (examples/meeting), and leave and come again in turn, for NATRELAY_MEETING_SECONDS: everybody gets
picture and sound of everybody else each time, nothing stalls, and whoever stays holds no more in the end than before."""

import os
import time

from people import Person, held_up_ms, holds
from relay import Relay, run

SECONDS = float(os.environ.get("NATRELAY_MEETING_SECONDS", "12"))
NAMES = ["ann", "bob", "cid", "dot"]
# Between two buffers of one track, or the last of them and its end: with 200 ms of latency, a tick of 15 pictures a second. For
# as long as a busy machine has held up one of them, or the relay, it may be longer; beyond that, they meet again. Half of what it
# takes until somebody who vanished is given up is no machine's fault.
STALL_MS = 3000
HELD_UP_MS = 15000
TRIES = 3


def come(relay, name):
    room = "natrelay://127.0.0.1:%d/room?tls-fingerprint=%s" % (relay.port, relay.values["tls-fingerprint"])
    return Person(name, room, relay.token(sub=name, publish=["room/" + name], subscribe=["room/*"]))


class Patience:
    """How long a stall may be: more on a machine that is busy."""

    def __init__(self, relay):
        self.relay, self.worst = relay, 0

    def now_ms(self, people):
        self.worst = max([self.worst, held_up_ms(self.relay.process.pid)] + [held_up_ms(p.pid) for p in people.values()])
        return STALL_MS + min(self.worst, HELD_UP_MS)


def meet(relay):
    """Gives who stalled."""
    people, stalls, patience = {}, [], Patience(relay)
    try:
        hold_meeting(relay, people, stalls, patience)
    finally:
        for p in people.values():
            p.kill()
    return stalls


def hold_meeting(relay, people, stalls, patience):
    for name in NAMES:
        people[name] = come(relay, name)
    end = time.monotonic() + SECONDS
    everybody = lambda: [p.wait_flows(set(people) - {p.name}) for p in people.values()]
    everybody()
    rounds, first = 0, None
    while time.monotonic() < end or rounds < 4:
        name = NAMES[1 + rounds % 3]  # ann stays
        stalls += people[name].leave(patience.now_ms(people))
        del people[name]
        everybody()
        people[name] = come(relay, name)
        everybody()
        rounds += 1
        if rounds == 3:
            first = holds(people["ann"].pid)
    last = holds(people["ann"].pid)
    longest = patience.now_ms(people)
    print("# %d times somebody left and came; descriptors, threads, kB after three and in the end: %s, %s; stalls from %d ms on" % (
        rounds, first, last, longest))
    assert last[0] <= first[0] + 2 and last[1] <= first[1] + 4, "descriptors or threads are left: %s, %s" % (first, last)
    # It takes some rounds until the heap has found its size.
    assert rounds < 20 or last[2] <= first[2] + 16384, "memory grows: %s, %s" % (first, last)
    for p in people.values():
        stalls += p.leave(longest)


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
