#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""race.py SENT RECEIVED: what of the film that `rival` sent has come, as JSON on one line.

A unit has come if the receiver has one with the same bytes within three seconds. A picture is right if it and all before
it, back to the last that stands alone, have come; frozen seconds are those of the others.
"""
import json
import statistics
import sys

FRAMES_A_SECOND = 30
AFTER = 3000  # ms: two units of a film may be alike, but not so close to each other


def read(path):
    tracks = {"video": [], "audio": []}
    with open(path, encoding="ascii") as file:
        for line in file:
            words = line.split()
            if line.endswith("\n") and len(words) == 4:
                tracks[words[0]].append((words[1], words[2] == "1", int(words[3]) / 1e6))
    return tracks


def judge(sent, came):
    times = {}
    for unit, _, when in came:
        times.setdefault(unit, []).append(when)
    arrived, delays = [], []
    for unit, _, when in sent:
        there = [t for t in times.get(unit, []) if when <= t <= when + AFTER]
        arrived.append(bool(there))
        if there:
            times[unit].remove(there[0])
            delays.append(there[0] - when)
    return arrived, delays


def right_pictures(sent, arrived):
    right, good = 0, None
    for (_, key, _), there in zip(sent, arrived):
        if key:
            good = there
        elif good is not None:
            good = good and there
        right += good is not False and there
    return right


def main():
    sent, came = read(sys.argv[1]), read(sys.argv[2])
    result = {}
    for kind in ("video", "audio"):
        arrived, delays = judge(sent[kind], came[kind])
        result[kind] = {
            "sent": len(sent[kind]), "came": sum(arrived), "all": len(came[kind]),
            "alike": len(sent[kind]) - len({unit for unit, _, _ in sent[kind]}),
            "share": round(100 * sum(arrived) / max(1, len(arrived)), 3),
            "delay": round(statistics.median(delays)) if delays else None,
            "slowest": round(max(delays)) if delays else None}
        if kind == "video":
            right = right_pictures(sent[kind], arrived)
            result[kind]["frozen"] = round((len(arrived) - right) / FRAMES_A_SECOND, 2)
            result[kind]["right"] = round(100 * right / max(1, len(arrived)), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
