#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Four people in a room of the NAT lab (examples/meeting), who come and go as a seed says.

    room.py play --room URI --relay PID --seconds S --seed N --out FILE NAME=HOST=OUTSIDE=TOKEN…
    room.py judge FILE nats | pairs --within MS | stalls --within MS | holds | ends
    room.py tell FILE
"""
import argparse
import json
import os
import random
import signal
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from people import MEDIA, Person, holds  # noqa: E402

# Descriptors, threads and kB that may be more in the end. People have three queues of pictures, 10 MB each, which fill while a machine
# is busy; what leaks there is found by the leak tracer, and by integration/meeting, where somebody lives through thirty rounds.
# Threads that GLib keeps for later come and go; one of each newcomer's would be a dozen.
GROWTH, RELAY_GROWTH = (4, 8, 32768), (4, 1, 2048)
WARM = 3  # times that all were there, until heaps have found their size


# ---- The meeting ------------------------------------------------------------------------------------------------

class Room:
    """Who is there, and who was. The first of all names stays."""

    def __init__(self, options):
        self.options, self.chance = options, random.Random(options.seed)
        self.places = [place.split("=", 3) for place in options.places]
        self.present, self.stays, self.holds = {}, [], []

    def come(self, place):
        name, host, _, token = place
        self.present[name] = Person(name, self.options.room, token, ["ip", "netns", "exec", host])
        self.stays.append(self.present[name])

    def go(self, names):
        """All of them in one moment."""
        people = [self.present.pop(name) for name in names]
        for person in people:
            person.interrupt()
        for person in people:
            person.end()

    def settle(self):
        """Until each has picture and sound of all others that are there, and of nobody else."""
        for person in self.present.values():
            person.wait_flows(set(self.present) - {person.name})
        if len(self.present) == len(self.places):
            self.holds.append(self.held())

    def held(self):
        return dict({name: holds(person.pid) for name, person in self.present.items()}, relay=holds(self.options.relay))

    def rest(self):
        """Threads that somebody needed to come, end in a moment."""
        end = time.monotonic() + 10
        while any(judge_holds({"holds": self.holds}, None)) and time.monotonic() < end:
            time.sleep(0.2)
            self.holds[-1] = self.held()

    def step(self):
        """One or two of those who do not stay come or go. Now and then nobody waits until the others have noticed."""
        movers = self.chance.sample(self.places[1:], self.chance.choice((1, 1, 2)))
        leaving = [place[0] for place in movers if place[0] in self.present]
        for place in movers:
            if place[0] not in leaving:
                self.come(place)
        self.go(leaving)
        if self.chance.random() < 0.3:
            time.sleep(self.chance.uniform(0, 1.5))
        else:
            self.settle()
            time.sleep(self.chance.uniform(0, 1))

    def play(self):
        for place in self.places:
            self.come(place)
        self.settle()
        end = time.monotonic() + self.options.seconds
        while time.monotonic() < end:
            self.step()
        for place in self.places:
            if place[0] not in self.present:
                self.come(place)
        self.settle()
        self.rest()
        self.go(list(self.present))

    def record(self, trouble):
        fields = ("name", "begun", "here", "left", "code", "events", "gone", "mapped", "pid")
        return {"seconds": self.options.seconds, "seed": self.options.seed, "trouble": trouble, "holds": self.holds,
                "outside": {place[0]: place[2] for place in self.places},
                "stays": [dict({f: getattr(p, f) for f in fields}, leaks=p.leaks()) for p in self.stays]}


def play(options):
    room, trouble = Room(options), None
    try:
        room.play()
    except AssertionError as error:
        trouble = str(error)
        print(trouble)
    finally:
        for person in room.present.values():
            person.kill()
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(room.record(trouble), file)
    return [trouble] if trouble else []


# ---- What came of it --------------------------------------------------------------------------------------------

def meetings(record):
    """(viewer, publisher, from, until) of each two stays that were both connected at once."""
    stays = [stay for stay in record["stays"] if stay["here"] is not None]
    for viewer in stays:
        for publisher in stays:
            begin, end = (max(viewer["here"], publisher["here"]), min(viewer["left"], publisher["left"]))
            if viewer["name"] != publisher["name"] and begin < end:
                yield viewer, publisher, begin, end


def first(viewer, publisher, kind, media, since):
    """When viewer said this of that stay of the publisher."""
    times = [t for t, *what in viewer["events"] if what == [kind, publisher["name"], media] and t >= since]
    return min(times, default=None)


def goes_on(viewer, publisher, media, end):
    """The publisher was back before anybody missed him: how long he was away is a gap then, and judged as one."""
    said = [kind for t, kind, *what in viewer["events"] if what == [publisher["name"], media] and t < end]
    return said[-1:] == ["flows"]


def delays(record, media):
    """In ms, from when both are connected; None where it never came: with how long they were there together."""
    for viewer, publisher, begin, end in meetings(record):
        came = first(viewer, publisher, "flows", media, publisher["begun"])
        if (came is None or came >= end) and goes_on(viewer, publisher, media, end):
            came = begin
        if came is not None and came < end:
            yield max(0, came - begin) * 1000, (end - begin) * 1000
        else:
            yield None, (end - begin) * 1000


def judge_pairs(record, options):
    for media in MEDIA:
        for delay, together in delays(record, media):
            if (together if delay is None else delay) > options.within:
                yield "%s %s; they were there together for %d ms" % (
                    media, "never came" if delay is None else "came after %d ms" % delay, together)
    for viewer, publisher, _, end in meetings(record):
        for media in MEDIA:
            came = first(viewer, publisher, "flows", media, publisher["begun"])
            lost = first(viewer, publisher, "gone", media, came) if came is not None else None
            if lost is not None and lost < end:
                yield "%s lost %s of %s, who was there for %.1f s more" % (
                    viewer["name"], media, publisher["name"], end - lost)


def stalls(record):
    return [(gap, stay["name"], name, media) for stay in record["stays"] for name, media, _, gap in stay["gone"]]


def judge_stalls(record, options):
    for gap, viewer, name, media in stalls(record):
        if gap > options.within:
            yield "%s: %s of %s stood still for %d ms" % (viewer, media, name, gap)


def settled(record):
    """What all hold when the heaps have found their size, if they met so often, and at last."""
    return record["holds"][min(WARM - 1, (len(record["holds"]) - 1) // 2)], record["holds"][-1]


def judge_holds(record, _):
    if len(record["holds"]) < 2:
        yield "they were there all together only %d times" % len(record["holds"])
        return
    early, late = settled(record)
    for name in early:
        growth = RELAY_GROWTH if name == "relay" else GROWTH
        if any(now > then + more for now, then, more in zip(late[name], early[name], growth)):
            yield "%s: descriptors, threads, kB were %s, are %s" % (name, early[name], late[name])


def judge_ends(record, _):
    for stay in record["stays"]:
        if stay["code"] not in (0, None if stay["here"] else -signal.SIGINT):  # who went before main() heard of signals
            yield "%s ended with %s" % (stay["name"], stay["code"])
        yield from stay["leaks"]


def judge_nats(record, _):
    for stay in record["stays"]:
        if set(stay["mapped"]) - {record["outside"][stay["name"]]}:
            yield "%s was seen as %s" % (stay["name"], stay["mapped"])


JUDGES = {"nats": judge_nats, "pairs": judge_pairs, "stalls": judge_stalls, "holds": judge_holds, "ends": judge_ends}


def three(values):
    values = sorted(values) or [0]
    return "%d / %d / %d" % (statistics.median_low(values), values[int(0.95 * (len(values) - 1))], values[-1])


def tell(record):
    print("seed %d: %d came, %d times two were there together" % (
        record["seed"], len(record["stays"]), len(list(meetings(record)))))
    for media in MEDIA:
        found = list(delays(record, media))
        print("%s after %s ms (median / 95 %% / worst); %d times they parted first; longest gaps %s ms" % (
            media, three([delay for delay, _ in found if delay is not None]), sum(delay is None for delay, _ in found),
            three([gap for gap, _, _, what in stalls(record) if what == media])))
    for name in record["holds"][-1] if record["holds"] else ():
        print("%s: descriptors, threads, kB: %s" % (name, "; ".join("%d, %d, %d" % tuple(held[name]) for held in settled(record))))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    player = commands.add_parser("play")
    player.add_argument("--room", required=True)
    player.add_argument("--out", required=True)
    for name in ("--relay", "--seconds", "--seed"):
        player.add_argument(name, type=int, required=True)
    player.add_argument("places", nargs="+")
    judge = commands.add_parser("judge")
    judge.add_argument("file")
    judge.add_argument("what", choices=JUDGES)
    judge.add_argument("--within", type=int)
    commands.add_parser("tell").add_argument("file")
    options = parser.parse_args()
    if options.command == "play":
        return bool(play(options))
    with open(options.file, encoding="utf-8") as file:
        record = json.load(file)
    if options.command == "tell":
        return tell(record)
    problems = list(JUDGES[options.what](record, options))
    print("\n".join(problems[:20]))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
