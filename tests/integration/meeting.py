#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Four people meet (examples/meeting), and leave and come again in turn, for NATRELAY_MEETING_SECONDS: everybody gets
picture and sound of everybody else each time, nothing stalls, and whoever stays holds no more in the end than before."""

import os
import time

from people import Person, holds
from relay import Relay, run

SECONDS = float(os.environ.get("NATRELAY_MEETING_SECONDS", "12"))
NAMES = ["ann", "bob", "cid", "dot"]
# Between two buffers of one track, or the last of them and its end: with 200 ms of latency, a tick of 15 pictures a second. A
# machine that is busy may stall for longer: then they meet again.
STALL_MS = 3000
TRIES = 3


def come(relay, name):
    room = "natrelay://127.0.0.1:%d/room?tls-fingerprint=%s" % (relay.port, relay.values["tls-fingerprint"])
    return Person(name, room, relay.token(sub=name, publish=["room/" + name], subscribe=["room/*"]))


def meet(relay):
    """Gives who stalled."""
    people, stalls = {}, []
    try:
        hold_meeting(relay, people, stalls)
    finally:
        for p in people.values():
            p.kill()
    return stalls


def hold_meeting(relay, people, stalls):
    for name in NAMES:
        people[name] = come(relay, name)
    end = time.monotonic() + SECONDS
    everybody = lambda: [p.wait_flows(set(people) - {p.name}) for p in people.values()]
    everybody()
    rounds, first = 0, None
    while time.monotonic() < end or rounds < 4:
        name = NAMES[1 + rounds % 3]  # ann stays
        stalls += people[name].leave(STALL_MS)
        del people[name]
        everybody()
        people[name] = come(relay, name)
        everybody()
        rounds += 1
        if rounds == 3:
            first = holds(people["ann"].pid)
    last = holds(people["ann"].pid)
    print("# %d times somebody left and came; descriptors, threads, kB after three and in the end: %s, %s" % (
        rounds, first, last))
    assert last[0] <= first[0] + 2 and last[1] <= first[1] + 4, "descriptors or threads are left: %s, %s" % (first, last)
    # It takes some rounds until the heap has found its size.
    assert rounds < 20 or last[2] <= first[2] + 16384, "memory grows: %s, %s" % (first, last)
    for p in people.values():
        stalls += p.leave(STALL_MS)


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
