# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a relay's second of work is made of: a sum of five kinds of work, each with a price that is
fitted to measurements, and what follows from the prices. No measuring here; costs does that."""

import dataclasses
import heapq
import math
import random

SEGMENT_BYTES = 65000           # NAT_UDPIO_RUN_MAX
SEGMENTS = 64                   # NAT_UDPIO_SEGMENTS
NAP_S = 250e-6                  # NAP_NS

# What a second of work is counted in. The prices are microseconds for one.
TERMS = ("wakeup", "run_in", "packet_in", "message_out", "packet_out")
MEANING = {
    "wakeup": "one wake-up: poll, the reads that end it, the clock",
    "run_in": "one stream's packets that arrived together: look-up, cutting, the list of receivers",
    "packet_in": "one packet in: its share of receiving, checks, counts",
    "message_out": "one message out: a walk through the IP stack for up to 64 packets",
    "packet_out": "one packet out: cutting it off the message, giving it to the device or socket",
}


@dataclasses.dataclass
class Load:
    """What the relay is asked to do in one second."""
    streams: int
    fan: int                    # receivers of each
    rate: float                 # packets in per second, all streams
    burst: int                  # packets of a stream that arrive together
    size: int = 1200            # bytes of a packet

    def per_message(self):
        return max(1, min(SEGMENTS, SEGMENT_BYTES // self.size))

    def work(self, wakeups=None):
        """{term: number a second}. wakeups: as counted; None = one for each burst, but never more than naps
        allow."""
        bursts = self.rate / self.burst
        runs = bursts
        if wakeups is None:
            wakeups = min(bursts, 1 / NAP_S)
        if self.burst < 4:      # single packets that gather while the worker naps
            runs = min(bursts, self.streams * wakeups)
        packets = self.rate / max(runs, 1e-9)
        messages = runs * self.fan * math.ceil(packets / self.per_message() - 1e-9)
        return {"wakeup": wakeups, "run_in": runs, "packet_in": self.rate,
                "message_out": messages, "packet_out": self.rate * self.fan}


def predict(prices, work):
    """Microseconds of CPU in a second."""
    return sum(prices[t] * work[t] for t in TERMS)


# ---- fitting ---------------------------------------------------------------------------------


def solve(matrix, right):
    """Gauss with pivots; the matrix is small, square and not singular."""
    n = len(right)
    rows = [list(matrix[i]) + [right[i]] for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(n):
            if k != i and rows[i][i]:
                f = rows[k][i] / rows[i][i]
                rows[k] = [a - f * b for a, b in zip(rows[k], rows[i])]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def fit(points):
    """Prices from [(work, microseconds of CPU in a second)], least squares of the relative error; none is
    negative: a term that would be is left out, the worst first."""
    terms = list(TERMS)
    while True:
        a = [[w[t] / cpu for t in terms] for w, cpu in points]
        normal = [[sum(r[i] * r[k] for r in a) for k in range(len(terms))]
                  for i in range(len(terms))]
        found = solve(normal, [sum(r[i] for r in a) for i in range(len(terms))])
        worst = min(range(len(terms)), key=lambda i: found[i])
        if found[worst] >= 0:
            return {t: 0.0 for t in TERMS} | dict(zip(terms, found))
        del terms[worst]


def error(prices, work, cpu):
    """Relative: 0.1 = the model says 10 % too much."""
    return predict(prices, work) / cpu - 1


# ---- several cores, simulated -----------------------------------------------------------------


def audiences(n, total, skew, rng):
    """How many receivers each of n streams has; skew 0 = all alike, 1 = as in Zipf's law."""
    weights = [1 / (i + 1) ** skew for i in range(n)]
    rng.shuffle(weights)
    scale = total / sum(weights)
    return [max(1, round(w * scale)) for w in weights]


def spread(prices, cores, fans, packets, burst, rng, split=False):
    """Streams of one rate laid upon cores as SO_REUSEPORT does: by chance, a stream whole. split: each core
    sends to its own part of each audience instead. Returns the load of each core, in cores."""
    load = [0.0] * cores
    for fan in fans:
        if split:
            for core in range(cores):
                share = Load(1, fan / cores, packets, burst)
                load[core] += predict(prices, share.work(packets / burst))
        else:
            load[rng.randrange(cores)] += predict(prices, Load(1, fan, packets, burst).work(packets / burst))
    return [x / 1e6 for x in load]


def imbalance(loads):
    """The fullest core, of the mean: what is lost to chance."""
    return max(loads) / (sum(loads) / len(loads))


def wait(prices, streams, fan, burst, fps, rng, seconds=20):
    """One core, cameras of any phase: microseconds that a picture waits before its last packet is out, as (p50,
    p99, share of the core). Pictures are served in the order in which they come."""
    service = predict(prices, Load(1, fan, burst, burst).work(1))
    arrivals = []
    for _ in range(streams):
        t = rng.random() / fps
        while t < seconds:
            arrivals.append((t + rng.gauss(0, 0.001)) * 1e6)
            t += 1 / fps
    heapq.heapify(arrivals)
    free, waits = 0.0, []
    while arrivals:
        t = heapq.heappop(arrivals)
        free = max(free, t) + service
        waits.append(free - t)
    waits.sort()
    return waits[len(waits) // 2], waits[len(waits) * 99 // 100], service * streams * fps / 1e6


def largest(limit, fits):
    """The largest whole number up to limit that fits, which every smaller one does too; 0 = none."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
