#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""chaos.py LOG: what `chaos` said, as the page docs/bench/chaos.md."""
import re
import statistics
import sys

PAGE = """# Half an hour of everything

    tests/natlab/chaos --minutes %(minutes)d --seed %(seed)s --write docs/bench/chaos.md

One live film (640x360, 30 pictures a second, H.264 and Opus), a camera and a viewer behind symmetric NATs, 20 ms each way on each leg, and for %(minutes)d minutes one thing after another
happens to either of them or to the relay, in an order and for times that the seed decides. %(events)d times something did, %(never)s. Times are
from when all is as it should be again (the link back, the relay's `ready`; "meanwhile": from when it began) until units of picture and sound arrive that were sent after that: ms, median; worst. Without any
trouble that takes some 70 ms.

| what happens | to the camera | to the viewer | to neither |
|---|---|---|---|
%(rows)s

Whoever joined saw the first picture after (ms, median; worst): %(joins)s.

What everybody holds, in the beginning (after %(early)s s, when heaps have found their size) and in the end, after a rest. The relay was started anew each time it was killed.

| | descriptors | threads | kB of memory |
|---|---|---|---|
%(holds)s
"""


def both(values):
    if not values:
        return ""
    return "%d; %s" % (statistics.median_low(values), "never" if max(values) == float("inf") else "%d" % max(values))


def place_of(text):
    """Row and column: whose it is, if it is anybody's."""
    if ", and " in text:
        return "two of these, one right after the other" + (", meanwhile" if text.endswith(": meanwhile") else ""), ""
    text = text.replace(": meanwhile", ", meanwhile")
    side, colon, what = text.partition(": ")
    return (what, side) if colon else (text, "")


def read(path):
    found = {"times": {}, "joins": [], "holds": [], "seed": "?", "seconds": 0, "events": 0}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            start = re.match(r"# seed (\S+), (\d+) s", line)
            event = re.match(r"# +\d+ s  (.+?) +(\d+ ms|never)$", line)
            joined = re.match(r"# +it saw the picture after (\d+) ms", line)
            held = re.match(r"# +(\d+) s  descriptors, threads, kB: relay (.+), camera (.+), viewer (.+)$", line)
            count = re.match(r"ok .* are there after (\d+) events", line)
            if start:
                found["seed"], found["seconds"] = start.group(1), int(start.group(2))
            elif event:
                value = float("inf") if event.group(2) == "never" else int(event.group(2).split()[0])
                found["times"].setdefault(place_of(event.group(1)), []).append(value)
            elif joined:
                found["joins"].append(int(joined.group(1)))
            elif held:
                found["holds"].append(held.groups())
            elif count:
                found["events"] = int(count.group(1))
    return found


def main():
    found = read(sys.argv[1])
    times, holds = found["times"], found["holds"]
    names = sorted({name for name, _ in times}, key=lambda name: (name.startswith("two "), name))
    never = sum(value == float("inf") for values in times.values() for value in values)
    rows = ["| %s | %s |" % (name, " | ".join(both(times.get((name, side), [])) for side in ("camera", "viewer", "")))
            for name in names]
    lines = ["| %s | %s |" % (who, " | ".join("%s, %s" % pair for pair in zip(holds[0][i].split(), holds[-1][i].split())))
             for i, who in ((1, "relay"), (2, "camera"), (3, "viewer"))]
    print(PAGE % {"minutes": found["seconds"] / 60, "seed": found["seed"], "events": found["events"],
                  "never": "and each time the film went on" if never == 0 else "and %d times the film did not go on" % never,
                  "rows": "\n".join(rows), "joins": both(found["joins"]), "early": holds[0][0], "holds": "\n".join(lines)}, end="")


if __name__ == "__main__":
    main()
