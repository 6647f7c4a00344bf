# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is asked of every relay, and what natrelay promises."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    publishers: int
    fan: int                    # subscribers of each
    burst: int                  # packets at once
    rate: int                   # packets in per second, all publishers
    search: str                 # lowest:highest rate in that is tried
    networks: tuple

    def arguments(self):
        return ["--publishers", self.publishers, "--subscribers", self.fan, "--burst", self.burst]

    def searches(self, net):
        return bool(self.search) and net.name == "loopback"


# 1200 bytes a packet; 20 of them at once are one picture of a camera at about 6 Mbit/s and 30
# pictures a second. Rates are such that every relay carries them.
ALL = (
    Case("camera-1to1", "one camera, one receiver: bursts of 20, 50,000 packets/s", 1, 1, 20,
         50000, "20000:5000000", ("loopback", "wire")),
    Case("smooth-1to1", "one stream of single packets, one receiver: 50,000 packets/s", 1, 1, 1,
         50000, "", ("loopback",)),
    Case("camera-1to100", "one camera, 100 receivers: bursts of 20, 120,000 packets/s out", 1, 100,
         20, 1200, "600:60000", ("loopback", "wire", "offload")),
    Case("cameras-10to10", "10 cameras, 10 receivers each: bursts of 20, 120,000 packets/s out",
         10, 10, 20, 12000, "", ("loopback",)),
)


def named(name):
    return next(c for c in ALL + FANS if c.name == name)


# How the cost goes with the number of receivers and of streams; natrelay beside a raw loop where there is
# one stream, since a raw loop knows no more.
FANS = (
    Case("fan-1x1", "1 stream of 1 to 1, bursts of 20", 1, 1, 20, 50000, "", ("loopback",)),
    Case("fan-1x10", "1 stream of 1 to 10, bursts of 20", 1, 10, 20, 12000, "", ("loopback",)),
    Case("fan-1x100", "1 stream of 1 to 100, bursts of 20", 1, 100, 20, 1200, "", ("loopback",)),
    Case("fan-1x500", "1 stream of 1 to 500, bursts of 20", 1, 500, 20, 240, "", ("loopback",)),
    Case("fan-100x5", "100 streams of 1 to 5, bursts of 20", 100, 5, 20, 24000, "", ("loopback",)),
    Case("fan-2000x1", "2,000 streams of 1 to 1, 25 single packets/s each", 2000, 1, 1, 50000, "",
         ("loopback",)),
)

LIVE = Case("live-20x1", "20 streams of 1 to 1, bursts of 20", 20, 1, 20, 10000, "", ("loopback",))


@dataclasses.dataclass(frozen=True)
class Promise:
    """natrelay's figure, divided by another's that was taken next to it, is at most bar (of a rate: at
    least)."""
    network: str
    case: str
    measure: str                # cpu, rate or p99
    other: str
    bar: float
    half_of: str = ""           # at half of this relay's own loss-free rate

    def wants_more(self):
        return self.measure == "rate"


def _promises(network, case, measure, bars, half_of=""):
    return tuple(Promise(network, case, measure, other, bar, half_of) for other, bar in bars.items())


PROMISES = (
    *_promises("loopback", "camera-1to100", "cpu",
               {"raw segments": 1.2, "rtpengine": 0.28, "GStreamer": 0.52}),
    *_promises("wire", "camera-1to100", "cpu",
               {"raw segments": 1.2, "rtpengine": 0.17, "GStreamer": 0.37}),
    *_promises("loopback", "camera-1to1", "cpu",
               {"raw segments": 1.3, "rtpengine": 0.5, "coturn": 0.6}),
    *_promises("loopback", "smooth-1to1", "cpu",
               {"raw segments napping": 1.3, "rtpengine": 0.25, "coturn": 0.25}),
    *_promises("loopback", "camera-1to100", "rate",
               {"raw segments": 0.85, "rtpengine": 4.5, "GStreamer": 2}),
    *_promises("loopback", "camera-1to100", "p99", {"raw segments": 1.5, "rtpengine": 1},
               "rtpengine"),
    *_promises("loopback", "camera-1to100", "p99", {"raw segments": 1.5, "GStreamer": 1},
               "GStreamer"),
    *_promises("loopback", "camera-1to1", "p99", {"raw segments": 1.5, "coturn": 1}, "coturn"),
)
SMOOTH_P99_US = 500             # of natrelay in smooth-1to1
