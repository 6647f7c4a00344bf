#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""instant.py EARLY LATE…   how soon those who join late see something, and whether they then see it when EARLY does

EARLY and LATE are what `avsync receive` printed (EARLY's may be of --packets). For each LATE, in ms:

  age      of the last key frame, which is the first picture shown: the frames between it and the live picture
  still    from registered at the relay to the first picture
  live     from there to the first live picture, and what it waits for: the packets of the past at the relay's
           pace, and the decoder, which has to go through all their pictures
  on time  from there until every picture is shown when it is due
  later    a picture is due here so much later than at EARLY
  lips     a beep is so far from its flash at most, from the first beep on
  damaged  pictures that do not show the number that is due; not at the seam, where a decoder cuts times

  --kbps N      of the film
  --decoder N   pictures in a second
  --gop N       frames (300)
  --times       also judge still (300 ms) and live (300 ms after what it waits for), by the 95th percentile
"""
import argparse
import statistics
import sys

FRAME = 1000 / 30
PACE_KBPS = 20000  # of the relay, or four times the film's bitrate
GRACE = 300


class Seen:
    """What one receiver said, times in ms."""

    def __init__(self, path):
        self.frames, self.beeps, self.at = [], [], {}
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                words = line.split()
                if not line.endswith("\n") or len(words) < 2:
                    continue
                if words[0] == "frame":
                    self.frames.append((int(words[1]), int(words[2]) / 1e6, int(words[3]) / 1e6))
                elif words[0] == "beep":
                    self.beeps.append(int(words[1]) / 1e6)
                elif words[0] in ("playing", "connected"):
                    self.at.setdefault(words[0], int(words[1]) / 1e6)


class Join:
    def __init__(self, early, late, kbps, decoder):
        (self.first, _, still), (_, _, live) = late.frames[:2]
        registered = late.at["connected"]
        # A picture that is damaged may show any number: what is due says which one it should be.
        begin = statistics.median(when - number * FRAME for number, when, _ in early.frames)
        self.behind = round((late.frames[1][1] - begin) / FRAME) - self.first
        self.damaged = sum(abs(when - begin - number * FRAME) > 1.5 * FRAME for number, when, _ in late.frames[3:])
        self.age = self.behind * FRAME
        self.negotiation = registered - late.at["playing"]
        self.still, self.live = still - registered, live - registered
        self.past = self.age * kbps / max(4 * kbps, PACE_KBPS)
        self.decoding = self.behind / decoder * 1000
        self.over = self.live - max(self.past, self.decoding)
        tardy = [shown for _, due, shown in late.frames[1:] if shown - due > FRAME]
        self.settled = max(tardy) - live if tardy else 0
        self.later = self.after(early, late.frames[1:])
        self.lips = self.apart(late)

    @staticmethod
    def after(early, frames):
        due = {number: when for number, when, _ in early.frames}
        return statistics.median(when - due[number] for number, when, _ in frames if number in due)

    @staticmethod
    def apart(late):
        """Flashes begin with every thirtieth frame, whether it was shown or is of the past."""
        begin = statistics.median(when - number * FRAME for number, when, _ in late.frames[1:])
        return max((abs((beep - begin + 500) % 1000 - 500) for beep in late.beeps), default=None)


def percentile(values):
    return sorted(values)[(len(values) * 95 + 99) // 100 - 1]


def judge(joins, options):
    bad = []
    if any(j.first % options.gop for j in joins):
        bad.append("the first picture was not the last key frame")
    if any(abs(j.later) > FRAME for j in joins):
        bad.append("a picture was due over a frame later")
    if any(j.damaged for j in joins):
        bad.append("pictures were damaged")
    if any(j.lips is None or j.lips > 40 for j in joins):
        bad.append("sound was over 40 ms from its picture")
    if options.times and percentile([j.still for j in joins]) > GRACE:
        bad.append("the first picture took over %d ms" % GRACE)
    if options.times and percentile([j.over for j in joins]) > GRACE:
        bad.append("the live picture took %d ms more than it had to wait for" % GRACE)
    return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("early")
    parser.add_argument("late", nargs="+")
    parser.add_argument("--kbps", type=float, required=True)
    parser.add_argument("--decoder", type=float, required=True)
    parser.add_argument("--gop", type=int, default=300)
    parser.add_argument("--times", action="store_true")
    options = parser.parse_args()
    early = Seen(options.early)
    joins = [Join(early, Seen(path), options.kbps, options.decoder) for path in options.late]
    for j in joins:
        print("age %5.0f: still %4.0f; live %5.0f (past %4.0f, decoder %4.0f), on time %4.0f; later %5.1f; lips %4.1f; "
              "damaged %d; negotiation %4.0f" % (j.age, j.still, j.live, j.past, j.decoding, j.settled, j.later,
                                     j.lips if j.lips is not None else -1, j.damaged, j.negotiation))
    print("95th percentile of %d joins: still %.0f ms; live %.0f ms, that is %.0f after what it waits for; on time %.0f "
          "ms later; due %.1f ms later at most; lips %.1f ms at most; %.0f kbit/s, %.0f pictures/s"
          % (len(joins), percentile([j.still for j in joins]), percentile([j.live for j in joins]),
             percentile([j.over for j in joins]), percentile([j.settled for j in joins]),
             max((j.later for j in joins), key=abs), max(j.lips or 0 for j in joins), options.kbps,
             options.decoder))
    bad = judge(joins, options)
    for text in bad:
        print("NOT MET: " + text)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
