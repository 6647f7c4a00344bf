# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""natrelay next to another, again and again: pairs, and what they say of a promise."""

import dataclasses
import itertools
import math
import statistics

import measure
from cases import PROMISES, SMOOTH_P99_US, named

AGAIN = 2                       # times that a disturbed pair is taken again
PAIRS = 10                      # fewer whole ones prove nothing
# Student's t, one-sided 95 %, by degrees of freedom.
T95 = (math.inf, 6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782,
       1.771, 1.761, 1.753, 1.746, 1.740, 1.734, 1.729, 1.725)


# ---- taking pairs --------------------------------------------------------------------------


class Pairs:
    """One round after the other; remembers the highest rates of the round before. scale and search make
    loads so small that they say nothing but that it works."""

    def __init__(self, bench, contenders, seconds, wanted=PROMISES, scale=1, search=None):
        self.bench, self.seconds, self.scale, self.search = bench, seconds, scale, search
        self.wanted = wanted
        self.relays = {r.name: r for r in contenders}
        self.best = {}          # loss-free packets in per second, by (case, relay)
        self.half = {}          # of those of the first round, which all rounds use

    def round(self, turn, make_networks):
        """Yields one record a pair. Networks are made where they are needed, and closed."""
        wanted = [p for p in self.wanted if p.other in self.relays and "natrelay" in self.relays]
        for network, group in itertools.groupby(wanted, lambda p: p.network):
            if network not in make_networks:
                continue
            net = make_networks[network]()
            try:
                for n, promise in enumerate(group):
                    # A B, then B A: what drifts over a pair favours either as often.
                    yield self._pair(net, promise, turn, (turn + n) % 2 == 1)
            finally:
                net.close()

    def _pair(self, net, promise, turn, other_first):
        case = named(promise.case)
        if self.search:
            case = dataclasses.replace(case, search=self.search)
        rate = self._rate(net, case, promise)
        for again in range(AGAIN + 1):
            sides = self._sides(net, case, promise, rate, other_first)
            whole = all("result" in side for side in sides)
            if whole and not any(measure.disturbed(side["result"]) for side in sides):
                break
        return {"part": "promises", **dataclasses.asdict(promise), "round": turn, "rate": rate,
               "again": again, "notes": list(net.notes), "ours": sides[0],
               "theirs": sides[1]}

    def _rate(self, net, case, promise):
        """Packets in per second; 0 when they are what is looked for."""
        if promise.measure == "rate":
            return 0
        if not promise.half_of:
            return case.rate * self.scale
        key = case.name, promise.half_of
        if key not in self.best:
            found = self.bench.search(net, case, self.relays[promise.half_of])
            self.best[key] = found["result"]["rate_in"] if "result" in found else 2 * case.rate
        return self.half.setdefault(key, round(self.best[key] / 2))

    def _sides(self, net, case, promise, rate, other_first):
        ours, theirs = (self.relays[name] for name in ("natrelay", promise.other))
        if promise.measure != "rate":
            return self.bench.beside(net, case, ours, theirs, rate, self.seconds, other_first)
        if other_first:
            found = self._highest(net, case, theirs)
            return [self._highest(net, case, ours), found]
        return [self._highest(net, case, ours), self._highest(net, case, theirs)]

    def _highest(self, net, case, relay):
        key = case.name, relay.name
        found = self.bench.search(net, case, relay, self.best.get(key))
        if "result" in found:
            self.best[key] = found["result"]["rate_in"]
        return found


# ---- judging -------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    promise: object
    ratios: list
    ratio: float                # median
    bound: float                # 95 %, towards the bar
    met: bool
    ours: float                 # medians
    theirs: float
    rate: float                 # packets out per second, median of what was tried
    limited: bool               # the generator was natrelay's limit in most rounds
    other_limited: bool         # the other's: what it can do is more, and not known
    disturbed: int              # pairs in which others used the relay's core


FIELD = {"cpu": "cpu_us", "rate": "rate_out", "p99": "p99_us"}


def bound_of(ratios, upper):
    """One-sided 95 % bound of the ratio: Student's t on its logarithm."""
    logs = [math.log(r) for r in ratios]
    n = len(logs)
    if n < 2:
        return math.inf if upper else 0
    half = T95[min(n - 1, len(T95) - 1)] * statistics.stdev(logs) / math.sqrt(n)
    return math.exp(statistics.fmean(logs) + (half if upper else -half))


def _lines(records):
    return [r for r in records if r["part"] == "promises"]


def _limited(results):
    return sum(r["limit"] == "generator" for r in results) * 2 > len(results)


def judge(promise, records):
    """The verdict, or None where no pair is whole."""
    field = FIELD[promise.measure]
    own = [r for r in _lines(records)
           if all(r[k] == v for k, v in dataclasses.asdict(promise).items())
           and "result" in r["ours"] and "result" in r["theirs"]]
    pairs = [(r["ours"]["result"], r["theirs"]["result"]) for r in own]
    pairs = [(a, b) for a, b in pairs if a[field] > 0 and b[field] > 0]
    if not pairs:
        return None
    ratios = [a[field] / b[field] for a, b in pairs]
    bound = bound_of(ratios, not promise.wants_more())
    ours = [a for a, _b in pairs]
    limited, other_limited = (_limited(side) for side in zip(*pairs))
    kept = bound >= promise.bar if promise.wants_more() else bound <= promise.bar
    return Verdict(
        promise=promise, ratios=ratios, ratio=statistics.median(ratios), bound=bound,
        met=kept and len(ratios) >= PAIRS and not (promise.wants_more() and other_limited),
        ours=statistics.median(a[field] for a in ours),
        theirs=statistics.median(b[field] for _a, b in pairs),
        rate=statistics.median(a["rate_out"] for a in ours),
        limited=limited, other_limited=other_limited,
        disturbed=sum(any(map(measure.disturbed, pair)) for pair in pairs))


def verdicts(records):
    found = [judge(p, records) for p in PROMISES]
    return [v for v in found if v]


def smooth_p99(records):
    """(natrelay's p99 of single packets in µs: median, upper 95 % bound, bar, met), or None."""
    values = [r["ours"]["result"]["p99_us"] for r in _lines(records)
              if r["case"] == "smooth-1to1" and "result" in r["ours"]]
    if not values:
        return None
    bound = bound_of(values, True)
    return statistics.median(values), bound, SMOOTH_P99_US, bound <= SMOOTH_P99_US


def losses(records):
    """(packets lost, expected) by natrelay at all fixed rates of the promises."""
    ours = [r["ours"]["result"] for r in _lines(records)
            if r["measure"] != "rate" and "result" in r["ours"]]
    return sum(r["lost"] for r in ours), sum(r["expected"] for r in ours)


def restarts(records):
    """How often each relay had to be started again."""
    counts = {}
    for r in _lines(records):
        for name, side in (("natrelay", "ours"), (r["other"], "theirs")):
            counts[name] = counts.get(name, 0) + r[side].get("failures", 0)
    return {name: n for name, n in counts.items() if n}
