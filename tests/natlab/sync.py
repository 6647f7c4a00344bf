#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""sync.py lips FILE        how far sound and picture are apart, in what avsync received
sync.py same FILE FILE   how far apart two receivers show the same frame
sync.py ears FILE        how long sound takes from mouth to ear, in what labloudspeaker said

  --from N      only flashes from frame N on
  --settled N   the first N frames of each receiver (of those) are told of and not judged: it has
                no sender report yet, and its sinks may have no latency
  --within MS   so much is allowed (40); of ears, for the median
  --least N     so many there must be (3)

The first two look at when things are due; how much later than that a busy machine's sinks let them go is
told beside it, and not judged.
"""
import argparse
import statistics
import sys


def read(path):
    """Of each kind of line: (number or None, due, shown), times in milliseconds."""
    found = {"frame": [], "flash": [], "beep": []}
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            words = line.split()
            if line.endswith("\n") and words and words[0] in found:
                number = int(words[1]) if len(words) == 4 else None
                found[words[0]].append((number, int(words[-2]) / 1e6, int(words[-1]) / 1e6))
    return found


def tell(what, due, shown):
    print("%s: %d times, by their times %.1f to %.1f ms, median %.1f; as shown %.1f to %.1f ms, median %.1f"
          % (what, len(due), min(due), max(due), statistics.median(due),
             min(shown), max(shown), statistics.median(shown)))


def lips(path, begin, settled):
    found = read(path)
    flashes = [f for f in found["flash"] if f[0] >= begin]
    frames = [f for f in found["frame"] if f[0] >= begin]
    if not flashes or len(frames) <= settled:
        return []
    due, shown = [], []
    for _, when, seen in found["beep"]:
        nearest = min(flashes, key=lambda f: abs(f[1] - when))
        # Beeps before the first flash and after the last have none of their own.
        if abs(nearest[1] - when) >= 500:
            continue
        if nearest[2] < frames[settled][2]:
            print("at first: beep after flash by their times %.1f, as shown %.1f ms"
                  % (when - nearest[1], seen - nearest[2]))
        else:
            due.append(when - nearest[1])
            shown.append(seen - nearest[2])
    if due:
        tell("beep after flash", due, shown)
    flashes = [f for f in flashes if f[2] >= frames[settled][2]]
    print("%d flashes with %d beeps" % (len(flashes), len(due)))
    # Each flash has its beep: what is 500 ms away would not show above. At the end one may be cut off.
    return due if len(due) >= len(flashes) - 1 else []


def same(one, other, settled):
    first = {number: (due, shown) for number, due, shown in read(one)["frame"][settled:]}
    pairs = [(due - first[number][0], shown - first[number][1])
             for number, due, shown in read(other)["frame"][settled:] if number in first]
    if pairs:
        tell("frames at the second receiver after the first", *zip(*pairs))
    return [pair[0] for pair in pairs]


def ears(path, settled):
    with open(path, encoding="ascii", errors="replace") as file:
        heard = [int(line.split()[1]) / 1e3 for line in file if line.startswith("heard ")][settled:]
    if not heard:
        return []
    ordered = sorted(heard)
    print("%d beeps, from mouth to ear %.1f to %.1f ms, median %.1f, 95th percentile %.1f"
          % (len(heard), ordered[0], ordered[-1], statistics.median(heard),
             ordered[(len(heard) * 95 + 99) // 100 - 1]))
    # One beep that a lost packet swallowed in part says nothing of the way.
    return [statistics.median(heard)] * len(heard)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["lips", "same", "ears"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--from", dest="begin", type=int, default=0)
    parser.add_argument("--settled", type=int, default=0)
    parser.add_argument("--within", type=float, default=40)
    parser.add_argument("--least", type=int, default=3)
    options = parser.parse_args()
    if options.what == "lips":
        found = lips(options.files[0], options.begin, options.settled)
    elif options.what == "ears":
        found = ears(options.files[0], options.settled)
    else:
        found = same(*options.files, options.settled)
    return 0 if len(found) >= options.least and max(map(abs, found)) <= options.within else 1


if __name__ == "__main__":
    sys.exit(main())
