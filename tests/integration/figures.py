# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What the relay's lists say is what the elements at both ends count: a film over two ways that delay and lose, and all
figures compared. Counts are compared exactly, but for what is known to have been lost in between."""

import time

from relay import Relay, run, wait_until
from ways import Pipeline, Way, element

FILM = (
    "videotestsrc is-live=true pattern=snow num-buffers=300 ! video/x-raw,width=160,height=120,framerate=50/1 ! "
    "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25 target-bitrate=800000 ! rtpvp8pay mtu=600 ! "
)


class Figures:
    """The lists, asked for again and again: what passed in all, by the bitrates alone."""

    def __init__(self, relay):
        self.relay, self.token = relay, relay.token(list=True)
        self.bytes = {"in": 0, "out": 0}
        self.tick = None
        self.losses = {"in": 0, "out": 0}

    def stream(self):
        answer = self.relay.request("GET", "/v1/streams", self.token).json()
        streams = [s for s in answer["streams"] if s["name"] == "door"]
        if not streams:
            return None
        if answer["tick"] != self.tick:
            assert self.tick is None or answer["tick"] == self.tick + 1, "a measure was missed: this machine is too slow"
            for way in ("in", "out"):
                self.bytes[way] += streams[0][way + "-bps"] * answer["tick-us"] / 8e6
                if streams[0][way + "-bps"] > 400000:  # not of the last few packets
                    self.losses[way] = max(self.losses[way], streams[0]["loss-%s-ppm" % way])
            self.tick = answer["tick"]
        return streams[0]

    def sessions(self):
        answer = self.relay.request("GET", "/v1/sessions?stream=door", self.token).json()
        return {s["role"]: s for s in answer["sessions"]}


def near(a, b, part=0.01, least=0):
    return abs(a - b) <= max(part * max(abs(a), abs(b)), least)


def check_counts(stream, sent, got, up, down):
    assert stream["packets_received"] == sent["packets-sent"] - up.lost["up"], (stream, sent, up.lost)
    assert stream["bytes_received"] == sent["bytes-sent"] - up.lost_bytes["up"], (stream, sent)
    assert stream["packets_sent"] == got["packets-received"] + down.lost["down"], (stream, got, down.lost)
    assert stream["bytes_sent"] == got["bytes-received"] + down.lost_bytes["down"], (stream, got)
    assert stream["packets_lost"] == 0 and got["packets-received-lost"] == 0, "all that was lost was sent again"
    assert near(stream["repairs_received"], up.lost["up"], 0.01, 1), (stream, up.lost)
    # It also asks for what was lost before the relay: some of that crosses the repair, and comes twice.
    assert down.lost["down"] <= stream["repairs_sent"] <= got["packets-asked"], (stream, got, down.lost)
    assert stream["repairs_sent"] <= got["packets-recovered"] + got["packets-received-duplicate"], (stream, got)
    assert stream["rtcp_sent"] >= sent["rtcp-packets-received"] + got["rtcp-packets-received"], stream


def check_paths(sessions, sent, got):
    # Behind the way the relay sees another address than the element has, and tells it.
    assert sessions["publisher"]["mapped"] == sent["mapped-address"], (sessions, sent)
    assert sessions["subscriber"]["mapped"] == got["mapped-address"], (sessions, got)
    assert sessions["publisher"]["transport"] == sent["transport"] == "udp"
    assert sessions["subscriber"]["transport"] == got["transport"] == "udp"
    # Round trips are of other datagrams than the elements': as near as the way itself is steady.
    assert near(sessions["publisher"]["rtt_us"] / 1000, sent["rtt-ms"], 0.25, 12), (sessions, sent)
    assert near(sessions["subscriber"]["rtt_us"] / 1000, got["rtt-ms"], 0.25, 12), (sessions, got)


def test_figures_are_those_of_the_elements():
    with Relay() as r, Way(r, "127.0.0.2", 0.02, lose_up=25) as up, Way(r, "127.0.0.3", 0.03, lose_down=20) as down:
        figures = Figures(r)
        receive = element("src", r, "127.0.0.3", "subscribe-token", "latency=400") + " ! rtpvp8depay ! fakesink sync=false"
        with Pipeline(receive) as receiver:
            wait_until(lambda: figures.sessions().get("subscriber", {}).get("registered"))
            wait_until(figures.stream)
            with Pipeline(FILM + element("sink", r, "127.0.0.2", "publish-token")) as sender:
                while not sender.is_over():
                    figures.stream()
                    time.sleep(0.05)
                ticks = [figures.tick]

                def is_quiet():  # all that is under way arrived, and was measured
                    stream = figures.stream()
                    if stream["in-bps"] or stream["out-bps"]:
                        ticks[0] = figures.tick
                    return figures.tick > ticks[0]

                wait_until(is_quiet)
                stream, sessions = figures.stream(), figures.sessions()
                sent, got = sender.stats(), receiver.stats()
                print("# relay: %s" % stream)
                print("# sink: %s" % sent)
                print("# src: %s" % got)
                assert up.lost["up"] > 10 and down.lost["down"] > 10, "the ways did lose"
                check_counts(stream, sent, got, up, down)
                check_paths(sessions, sent, got)
                assert stream["subscribers"] == sent["subscribers"] == 1, (stream, sent)
                assert near(figures.bytes["in"], stream["bytes_received"]), (figures.bytes, stream)
                assert near(figures.bytes["out"], stream["bytes_sent"]), (figures.bytes, stream)
                # One in 25 and one in 20, in the worst two seconds
                assert 30000 < figures.losses["in"] < 60000, figures.losses
                assert 35000 < figures.losses["out"] < 150000, figures.losses
                assert sessions["publisher"]["jitter_us"] < 100000


if __name__ == "__main__":
    run(dict(globals()))
