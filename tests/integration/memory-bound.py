# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""What a relay has stays within max-memory-mb, whatever grows: the cache of packets, sessions with large
descriptions, patterns, requests that never end. What is too much is refused by that name, who is there already goes on, and when it is over there is room again."""

import json
import os
import struct
import threading
import zlib

from relay import SDP, Relay, Stun, description, read_one, run, wait_until

BOUND_MB = 128
PACKET = 1200


def status(relay, name):
    with open("/proc/%d/status" % relay.process.pid) as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields[name].split()[0]) * 1024


def assert_bounded(relay, what):
    peak = status(relay, "VmHWM")
    print("# %s: resident %.1f MiB, at most %.1f" % (what, status(relay, "VmRSS") / 2**20, peak / 2**20), flush=True)
    assert peak <= BOUND_MB << 20, "%s: %.1f MiB" % (what, peak / 2**20)


def metric(relay, name):
    for line in relay.request("GET", "/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rpartition(" ")[2])
    raise AssertionError("no " + name)


def takes(relay):
    try:
        return relay.publish("again").status == 201
    except OSError:  # closed at once
        return False


def rtp(seq, ssrc, length=PACKET):
    return struct.pack(">BBHII", 0x80, 96, seq & 0xFFFF, seq * 30, ssrc) + bytes(length - 12)


class Client:
    """One connection that carries request after request."""

    def __init__(self, relay):
        self.relay = relay
        self.connection = relay.tls()

    def ask(self, method, path, body=None):
        text = json.dumps(body) if body is not None else ""
        kind = "Content-Type: application/json\r\n" if body is not None else ""
        head = "%s %s HTTP/1.1\r\nHost: relay\r\n%sContent-Length: %d\r\n\r\n"
        self.connection.sendall((head % (method, path, kind, len(text)) + text).encode())
        reply = read_one(self.connection)
        if reply.fields.get("connection", "").lower() == "close":
            self.connection = self.relay.tls()
        return reply

    def until_refused(self, path, body, most, meanwhile=lambda: None):
        """POSTs that were taken before one was refused for memory; in between, now and then, what else goes on."""
        taken = []
        while len(taken) < most:
            if len(taken) % 16 == 0:
                meanwhile()
            reply = self.ask("POST", path % len(taken), body(len(taken)))
            if reply.status == 503:
                assert reply.problem() == "relay-full" and "max-memory-mb" in reply.json()["detail"], reply.raw
                assert int(reply.fields["retry-after"]) > 0
                return taken
            assert reply.status == 201, reply.raw
            taken.append(reply.fields["location"])
        raise AssertionError("%d sessions, and none was refused" % most)

    def close(self):
        self.connection.close()


def relay(**keys):
    return Relay("--open", "--max-memory-mb", str(BOUND_MB), "--workers", "1", max_posts_per_second=0,
                 max_sessions_per_address=0, max_sessions_per_subject=0, max_connections_per_address=1024, **keys)


def fat(ssrc):
    """A description as large as one may be."""
    text = SDP % ssrc
    return {"sdp": text + "a=x:" + "y" * (60000 - len(text)) + "\r\n"}


class Stream:
    """A publisher and a subscriber that are there."""

    def __init__(self, r, name):
        self.ssrc = zlib.crc32(name.encode())
        self.seq = 1
        self.publisher = Stun(r, r.publish(name, ssrc=self.ssrc).json())
        self.subscriber = Stun(r, r.subscribe(name).json())
        self.keep_open()

    def send(self, n):
        for _ in range(n):
            self.publisher.socket.send(rtp(self.seq, self.ssrc))
            self.seq += 1

    def keep_open(self):
        for s in (self.publisher, self.subscriber):
            assert s.bind()["error"] == 0

    def assert_flows(self):
        self.keep_open()
        packet = rtp(self.seq, self.ssrc, 99)
        self.seq += 1
        self.publisher.socket.send(packet)
        while self.subscriber.socket.recv(2048) != packet:
            pass

    def close(self):
        self.publisher.socket.close()
        self.subscriber.socket.close()


def test_sessions_take_the_place_of_the_cache():
    with relay() as r:
        streams = [Stream(r, "film%d" % i) for i in range(16)]
        for _ in range(40):
            for s in streams:
                s.send(100)
        wait_until(lambda: metric(r, "natrelay_cache_bytes") > 20 << 20)
        assert_bounded(r, "a full cache")
        c = Client(r)

        def keep_open():  # filling it may take longer than a mapping lives
            for s in streams:
                s.keep_open()

        taken = c.until_refused("/v1/streams/fat%d/publishers", lambda i: fat(0x10000 + i), 5000, keep_open)
        assert len(taken) > 100, len(taken)
        assert_bounded(r, "%d sessions with large descriptions" % len(taken))
        # the cache gave what it had
        wait_until(lambda: metric(r, "natrelay_cache_resident_bytes") <= 12 << 20)
        assert metric(r, "natrelay_memory_refused_total") > 0
        for s in streams:
            s.assert_flows()
        for i, location in enumerate(taken):
            assert c.ask("DELETE", location).status == 204
            if i % 16 == 0:
                keep_open()
        wait_until(lambda: takes(r))
        for s in streams:
            s.assert_flows()
        assert_bounded(r, "afterwards")
        for s in streams:
            s.close()
        c.close()


def test_patterns():
    with relay(max_patterns=0, max_patterns_per_stream=0) as r:
        c = Client(r)
        taken = c.until_refused("/v1/streams/room%d/*/subscribers", lambda i: {}, 10000)
        assert len(taken) > 500
        assert_bounded(r, "%d patterns" % len(taken))
        c.close()


def test_requests_that_never_end():
    with relay(max_handshakes=1024) as r:
        head = b"POST /v1/streams/a/publishers HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\nContent-Length: 65000\r\n\r\n"
        held = []
        refused = []

        def hold():
            try:
                while len(held) < 900 and not refused:
                    s = r.tls()
                    s.sendall(head + b" " * 60000)
                    s.settimeout(0.01)
                    try:
                        refused.append(s.recv(1000))
                    except TimeoutError:
                        held.append(s)
            except OSError:  # closed at once
                refused.append(b"")

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        print("# %d half requests were held, then: %s" % (len(held), refused[:1]))
        assert_bounded(r, "half requests")
        assert refused and (refused[0] == b"" or b"max-memory-mb" in refused[0]), refused
        for s in held:
            s.close()
        wait_until(lambda: takes(r))


if __name__ == "__main__":
    run(dict(globals()))
