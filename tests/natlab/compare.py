#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""compare.py SENT RECEIVED [OPTION…]: what of the access units that aucheck sent has come.

Each must have come whole (same hash), once and in order; what came before the sender began to
count is no matter. Prints a line a track and fails if one has missing or strange units.

  --lost N     up to N units of each track may be missing (an outage), or torn where it began
  --share P    at least P per cent of each track's units must have come
  --tail N     the last N of each track must all have come
  --tracks N   so many tracks there must be (default 2)
"""
import argparse
import sys


def read(path):
    tracks = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            if line.endswith("\n"):
                kind, unit = line.rstrip("\n").split(" ", 1)
                tracks.setdefault(kind, []).append(unit)
    return tracks


def judge(kind, sent, came, lost, tail, share):
    lost = max(lost, int(len(sent) * (100 - share) / 100 + 1e-9))
    place = {unit: index for index, unit in enumerate(sent)}
    known = [place.get(unit) for unit in came]
    while known and known[0] is None:
        known.pop(0)
    # A unit that lost packets has its time, but another hash: it is torn, which is a way of missing.
    times = {unit.split()[0] for unit in sent}
    torn = sum(unit.split()[0] in times for unit in came[len(came) - len(known):]
               if unit not in place)
    strange = known.count(None) - torn
    order = [index for index in known if index is not None]
    disordered = sum(b <= a for a, b in zip(order, order[1:]))
    missing = sorted(set(range(len(sent))) - set(order))
    late = [index for index in missing if index >= len(sent) - tail]
    good = (len(sent) > 0 and not strange and not disordered and len(missing) <= lost and not late)
    print("%s: %d of %d access units (%.2f %%), %d torn, %d strange, %d out of order%s"
          % (kind, len(set(order)), len(sent), 100 * len(set(order)) / max(1, len(sent)), torn, strange, disordered,
             ", missing " + ", ".join(map(str, missing[:20])) if missing else ""))
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sent")
    parser.add_argument("received")
    parser.add_argument("--lost", type=int, default=0)
    parser.add_argument("--share", type=float, default=100)
    parser.add_argument("--tail", type=int, default=0)
    parser.add_argument("--tracks", type=int, default=2)
    options = parser.parse_args()
    sent, received = read(options.sent), read(options.received)
    verdicts = [judge(kind, sent[kind], received.get(kind, []), options.lost, options.tail,
                      options.share)
                for kind in sorted(sent)]
    return 0 if all(verdicts) and len(verdicts) == options.tracks else 1


if __name__ == "__main__":
    sys.exit(main())
