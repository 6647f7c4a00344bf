#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""recover.py SENT RECEIVED --begin US --back US --latency MS: what something in the middle of `rival`'s film cost, as JSON
on one line. begin and back are of the wall clock.
recover.py SENT RECEIVED --begin US --playing NS: how long it took until the film played at all. begin is when the program was
started, playing what it said.

lost     units of a track that did not come in time, which is the usual delay, the latency, and a tenth of a second
frozen   ms, of pictures that are lost, or were sent before the next intact key frame after one
dark     ms from begin to back: the lab's own
resumed  ms from back until the first picture came that was sent after begin
plays    ms from playing until the first picture came; dark is what the program took to start
"""
import argparse
import json
import statistics
import sys
import time

from race import FRAMES_A_SECOND, read, right_pictures

SPARE = 100  # ms, of a busy machine


def arrivals(sent, came):
    """When each unit came, or None; two units of a film may be alike, but not so close to each other."""
    times = {}
    for unit, _, when in came:
        times.setdefault(unit, []).append(when)
    result = []
    for unit, _, when in sent:
        there = [t for t in times.get(unit, []) if when <= t <= when + 20000]
        if there:
            times[unit].remove(there[0])
        result.append(there[0] if there else None)
    return result


def judge(sent, came, begin, latency):
    there = arrivals(sent, came)
    usual = statistics.median(t - unit[2] for unit, t in zip(sent, there) if t is not None and unit[2] < begin)
    return there, [t is not None and t - unit[2] <= usual + latency + SPARE for unit, t in zip(sent, there)]


def recovery(sent, came, begin, back, latency):
    result = {"dark": round(back - begin)}
    for kind in ("video", "audio"):
        there, intime = judge(sent[kind], came[kind], begin, latency)
        result[kind] = {"sent": len(intime), "lost": intime.count(False)}
        if kind == "video":
            after = [t for unit, t in zip(sent[kind], there) if unit[2] >= begin and t is not None and t >= back]
            result["frozen"] = round((len(intime) - right_pictures(sent[kind], intime)) / FRAMES_A_SECOND * 1000)
            result["resumed"] = round(min(after) - back) if after else None
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sent")
    parser.add_argument("received")
    parser.add_argument("--begin", type=int, required=True)
    parser.add_argument("--back", type=int)
    parser.add_argument("--playing", type=int)
    parser.add_argument("--latency", type=float)
    parser.add_argument("--attempts", type=int, nargs=2, default=[0, 0])
    options = parser.parse_args()
    offset = time.monotonic() * 1e3 - time.time() * 1e3
    begin = options.begin / 1e3 + offset
    sent, came = read(options.sent), read(options.received)
    if options.playing is not None:
        playing = options.playing / 1e6
        result = {"dark": round(playing - begin), "plays": round(min(when for _, _, when in came["video"]) - playing)}
    else:
        result = recovery(sent, came, begin, options.back / 1e3 + offset, options.latency)
    print(json.dumps(dict(result, attempts=options.attempts)))


if __name__ == "__main__":
    main()
