# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""/metrics as a Prometheus server reads it, of a relay that is used; and the lists, which have the same figures."""

import struct

from exposition import families, problems
from relay import Relay, Stun, run, wait_until

# What a label may have, whoever connects: 100 streams, one for the rest, 41 buckets.
LABELS = {"version": 1, "role": 2, "registered": 2, "publisher": 4, "stream": 101, "le": 41}


def metrics(relay):
    reply = relay.request("GET", "/metrics")
    assert reply.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8", reply.fields
    return reply.body.decode()


def value(text, name, **labels):
    (found,) = [
        v for n, l, v in families(text)[name].samples if n == name and l == {**labels}
    ] or [None]
    return found


class Publisher(Stun):
    """Sends RTP that says nothing."""

    def __init__(self, relay, stream, ssrc):
        super().__init__(relay, relay.publish(stream, ssrc=ssrc).json())
        assert self.bind()["error"] == 0
        self.ssrc, self.next, self.bytes, self.packets = ssrc, 0, 0, 0

    def send(self, n, skip=0):
        self.next += skip
        for _ in range(n):
            data = struct.pack(">BBHII", 0x80, 96, self.next, self.next * 90, self.ssrc) + bytes(
                self.next % 50 + 100
            )
            self.socket.send(data)
            self.next += 1
            self.bytes += len(data)
            self.packets += 1


def test_what_is_wrong_is_found():
    good = "# HELP a_total x\n# TYPE a_total counter\na_total 1\n"
    assert problems(good, {}) == []
    for text in (
        good[:-1],
        good + "a_total 2\n",
        good.replace("# HELP a_total x\n", ""),
        good.replace("counter", "gauge"),
        good.replace("counter", "count"),
        good.replace("a_total", "a"),
        good.replace("a_total", "a_ms_total"),
        good.replace("a_total", "bytes_received_total"),
        good.replace("a_total 1", "a_total one"),
        good.replace("a_total 1", "a_total{b=c} 1"),
        good.replace("a_total 1", 'a_total{b="c",b="d"} 1'),
        good.replace("a_total 1", 'a_total{surprise="c"} 1'),
        good + good.replace("a_total", "b_total") + 'a_total{stream="x"} 1\n',
        good.replace("a_total 1", "".join('a_total{few="%d"} 1\n' % i for i in range(4)).strip()),
        "# HELP h x\n# TYPE h histogram\n" + 'h_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n',
        "# HELP h x\n# TYPE h histogram\n" + 'h_bucket{le="1"} 1\nh_sum 1\nh_count 1\n',
    ):
        assert problems(text, {"few": 3, "le": 9, "stream": 9}), text


def test_metrics_of_a_relay_that_is_used():
    with Relay() as r, Publisher(r, "door", 7) as door, Publisher(r, "a/b.c~d", 8) as other:
        assert problems(metrics(r), LABELS) == []
        with Stun(r, r.subscribe("door").json()) as viewer:
            assert viewer.bind()["error"] == 0
            door.send(50)
            door.send(50, skip=3)
            other.send(7)
            text = metrics(r)
            wait_until(lambda: value(metrics(r), "natrelay_packets_received_total") == 107)
            text = metrics(r)
        assert problems(text, LABELS) == []
        assert value(text, "natrelay_received_bytes_total") == door.bytes + other.bytes
        assert value(text, "natrelay_stream_received_bytes_total", stream="door") == door.bytes
        assert value(text, "natrelay_stream_packets_received_total", stream="a/b.c~d") == 7
        # To one receiver; when a stream falls silent, its last packet is sent once more.
        sent = value(text, "natrelay_packets_sent_total")
        assert 100 <= sent <= 100 + value(text, "natrelay_repeated_total"), sent
        assert value(text, "natrelay_stream_packets_lost", stream="door") == 3
        assert value(text, "natrelay_sessions", role="subscriber", registered="true") == 1
        assert value(text, "natrelay_streams", publisher="live") == 2
        latency = families(text)["natrelay_forward_latency_seconds"].samples
        assert [v for n, _, v in latency if n.endswith("_count")][0] >= 100, latency
        assert value(text, "process_open_fds") < value(text, "process_max_fds")
        assert value(text, "process_resident_memory_bytes") > 1e6


def test_labels_stay_bounded():
    with Relay(max_sessions_per_address=0) as r:
        for i in range(110):
            assert r.publish("s%03d" % i, ssrc=i + 1).status == 201
        text = metrics(r)
        assert problems(text, LABELS) == []
        names = {l["stream"] for _, l, _ in families(text)["natrelay_stream_bindings_total"].samples}
        assert len(names) == 101 and "*" in names


def test_lists_have_the_figures():
    with Relay() as r, Publisher(r, "door", 7) as door:
        token = r.token(list=True)
        with Stun(r, r.subscribe("door").json()) as viewer:
            assert viewer.bind()["error"] == 0
            figures = {}

            def passes():
                door.send(40)
                figures.update(r.request("GET", "/v1/streams?trend=5", token).json())
                (stream,) = figures["streams"]
                return stream["in-bps"] > 1000 and stream["out-bps"] > 1000

            wait_until(passes)
            (stream,) = figures["streams"]
            assert stream["name"] == "door" and stream["media"] == "video", stream
            assert stream["transport"] == "udp" and stream["rtt_us"] > 0, stream
            assert stream["publisher"] == "live" and stream["since-s"] > 1e9, stream
            assert figures["relay"]["live"] == figures["relay"]["subscribers"] == 1, figures
            assert figures["relay"]["in-bps"] == stream["in-bps"], figures
            trend = stream["trend"]
            assert {len(v) for v in trend.values()} == {len(trend["in-kbps"])} and trend["in-kbps"][-1] > 0
            assert abs(trend["in-kbps"][-1] - stream["in-bps"] / 1000) <= 1, (trend, stream)
            wait_until(lambda: r.request("GET", "/v1/streams", token).json()["streams"][0]["packets_received"] == door.packets)
            by = {}

            def is_quiet():
                repeated = value(metrics(r), "natrelay_repeated_total")
                sessions = r.request("GET", "/v1/sessions?stream=door", token).json()["sessions"]
                by.update({s["role"]: s for s in sessions})
                return by["subscriber"]["packets_sent"] == door.packets + repeated

            wait_until(is_quiet)
            assert by["publisher"]["bytes_received"] == door.bytes
            assert by["subscriber"]["transport"] == "udp" and by["subscriber"]["heard-s"] >= 0
            for bad in ("/v1/streams?trend=x", "/v1/sessions?from=-1"):
                assert r.request("GET", bad, token).problem() == "query-invalid"
            assert len(r.request("GET", "/v1/sessions?from=1", token).json()["sessions"]) == 1


def test_figures_that_were_seen_are_not_sent_again():
    with Relay() as r:
        token = r.token(list=True)
        first = r.request("GET", "/v1/streams", token)
        seen = {"If-None-Match": first.fields["etag"]}
        again = []

        def both():
            del again[:]
            now = r.request("GET", "/v1/streams", token)
            again.append(r.request("GET", "/v1/streams", token, fields={"If-None-Match": now.fields["etag"]}))
            return again[0].status == 304 and again[0].body == b"" and "content-length" not in again[0].fields

        wait_until(both)
        # two seconds later there are others
        wait_until(lambda: r.request("GET", "/v1/streams", token, fields=seen).status == 200)


if __name__ == "__main__":
    run(dict(globals()))
