# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is asked of every relay."""

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
