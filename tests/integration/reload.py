# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""SIGHUP in the middle of everything: another certificate and other limits while a hundred sessions send and watch. Nobody
loses a packet, and who comes next meets the new ones."""

import os
import select
import signal
import ssl
import struct
import tempfile
import threading
import time

from relay import Relay, Stun, answered, description, make_certificate, read_all, run, wait_until
from websocket import frame, opened

STREAMS, WATCHERS = 10, 9  # a hundred sessions
EVERY = 0.02  # seconds from one picture to the next
PACKETS = 3  # of each picture
RELOADS = 6


class Carried:
    """Datagrams as messages of a WebSocket, with what a UDP socket can: its TLS is as old as itself."""

    def __init__(self, relay):
        self.tls, self.data = opened(relay), b""
        for name in ("settimeout", "gettimeout", "fileno", "close"):
            setattr(self, name, getattr(self.tls, name))

    def send(self, data):
        self.tls.sendall(frame(2, data))

    def recv(self, size):
        while True:
            head = 4 if len(self.data) > 1 and self.data[1] == 126 else 2
            if len(self.data) >= head:
                end = head + int.from_bytes(self.data[2:4] if head == 4 else self.data[1:2], "big")
                if len(self.data) >= end:
                    message, self.data = self.data[head:end], self.data[end:]
                    return message[:size]
            more = self.tls.recv(65536)
            assert more, "the relay closed the connection"
            self.data += more


class Watcher:
    """A subscriber, and all the media that it was sent."""

    def __init__(self, relay, stream, document, over=None):
        self.stream, self.over, self.client, self.got = stream, over, Stun(relay, document, over), []
        assert self.client.bind()["error"] == 0

    def take(self):
        """What is there now."""
        self.client.socket.settimeout(0)
        try:
            while True:
                data = self.client.socket.recv(2048)
                if data[0] < 4:
                    self.client.heard(data)
                # Behind a pause the last packet is repeated (PROTOCOL.md, section 6).
                if 128 <= data[0] < 192 and not 192 <= data[1] <= 223 and data not in self.got[-1:]:
                    self.got.append(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass

    @property
    def next(self):
        """The number of the packet that comes after its last."""
        return struct.unpack(">H", self.got[-1][2:4])[0] + 1 if self.got else 0


class Hall:
    """Ten streams with nine watchers each, two of these over WebSockets. Sends pictures until it is told to stop; if it is
    patient, none before all watchers have nearly all that was sent: what a slow machine's sockets drop is no loss of ours."""

    def __init__(self, relay, patient=True):
        self.relay, self.patient, self.cameras, self.watchers, self.sessions = relay, patient, [], [], []
        self.sent, self.kept = [[] for _ in range(STREAMS)], time.monotonic()
        for i in range(STREAMS):
            self.cameras.append(Stun(relay, self._session(relay.publish("hall/%d" % i, body=description(5000 + i)))))
            assert self.cameras[i].bind()["error"] == 0
            for k in range(WATCHERS):
                over = Carried(relay) if k < 2 else None
                self.watchers.append(Watcher(relay, i, self._session(relay.subscribe("hall/%d" % i)), over))
                self._stay()
        self.over = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self._play)
        self.thread.start()

    def _session(self, reply):
        assert reply.status == 201, reply.raw
        self.sessions.append(reply.fields["location"])
        return reply.json()

    def _stay(self):
        if time.monotonic() > self.kept + 5:
            self.kept = time.monotonic()
            for w in self.watchers:
                w.client.keep()
            for camera in self.cameras:
                assert camera.bind()["error"] == 0

    def _picture(self, i):
        number = len(self.sent[i])
        for k in range(PACKETS):
            last = k == PACKETS - 1
            head = struct.pack(">BBHII", 0x80, 0x80 * last + 96, number + k & 0xFFFF, number * 600 & 0xFFFFFFFF, 5000 + i)
            self.sent[i].append(head + bytes([i, k]) * 150)
            self.cameras[i].socket.send(self.sent[i][-1])

    def _play(self):
        try:
            while not self.over.wait(EVERY):
                self._stay()
                for i in range(STREAMS):
                    self._picture(i)
                self._collect(0)
                self._wait(self._are_near if self.patient else lambda: True)
        except Exception as e:  # pylint: disable=broad-except
            self.failure = e

    def _collect(self, seconds):
        """Whatever comes; not longer than so many seconds for the first."""
        by_socket = {w.client.socket: w for w in self.watchers}
        for s in select.select(list(by_socket), [], [], seconds)[0]:
            by_socket[s].take()

    def _wait(self, condition):
        end = time.monotonic() + 20
        while not condition():
            if time.monotonic() > end:
                self.check()  # says what is missing
            self._collect(0.1)

    def _are_near(self):
        """But for three pictures."""
        return all(len(self.sent[w.stream]) - w.next <= 3 * PACKETS for w in self.watchers)

    def pictures(self):
        return len(self.sent[0]) // PACKETS

    def goes_on(self):
        now = self.pictures()
        wait_until(lambda: self.failure or self.pictures() > now + 10)
        assert self.failure is None, self.failure

    def stop(self):
        self.over.set()
        self.thread.join()
        self._wait(lambda: all(w.next == len(self.sent[w.stream]) for w in self.watchers))

    def is_whole(self, watcher):
        """Of the last thirty packets that came, none is missing in between."""
        return watcher.got[-30:] == self.sent[watcher.stream][watcher.next - 30 : watcher.next]

    def check(self):
        """Every packet of every picture, once, in order and as it was sent. Over a WebSocket all but what the relay says it left
        out, since a busy machine had held it up for a quarter of a second."""
        late = 0
        for number, w in enumerate(self.watchers):
            sent, got = self.sent[w.stream], set(w.got)
            lost = [i for i, p in enumerate(sent) if p not in got]
            late += len(lost) if w.over else 0
            assert w.got == [p for p in sent if p in got] and (w.over or not lost), "watcher %d of stream %d: %d of %d, without %s" % (
                number % WATCHERS, w.stream, len(w.got), len(sent), lost[:20])
        assert late <= sum(counter(self.relay, "websocket_" + name) for name in ("late_audio", "late_video", "beyond")), late

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        for client in self.cameras + [w.client for w in self.watchers]:
            client.socket.close()


class Settings:
    """The relay's files, written anew and read anew."""

    def __init__(self, folder):
        self.key, self.certificate, self.config = (os.path.join(folder, n) for n in ("key.pem", "cert.pem", "relay.conf"))

    def write(self, name, **keys):
        make_certificate(self.key, self.certificate, name)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("[server]\naudit=0\n" + "".join("%s=%s\n" % (k.replace("_", "-"), v) for k, v in keys.items()))

    @staticmethod
    def reload(relay, words):
        before = len(relay.log)
        relay.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any(words in line for line in relay.log[before:]))

    def start(self):
        return Relay("--config", self.config, "--certificate", self.certificate, "--private-key", self.key)


def reload_once(relay, hall, settings, number):
    """Another certificate; as many sessions as there are, or one more. Both hold for who comes next."""
    more = number % 2
    with relay.tls() as old:
        settings.write("relay-%d" % number, max_sessions=100 + more, request_timeout=60)
        settings.reload(relay, "read anew")
        with relay.tls() as new:
            assert new.getpeercert(True) != old.getpeercert(True)
        old.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answered(read_all(old)), "who came before is served to the end"
    for _ in range(more):
        guest = relay.subscribe("hall/0")
        assert guest.status == 201, guest.raw
    refused = relay.subscribe("hall/0")
    assert refused.status == 503 and refused.problem() == "relay-full" and "max-sessions" in refused.json()["detail"], refused.raw
    if more:
        assert relay.request("DELETE", guest.fields["location"], relay.values["subscribe-token"]).status == 204
    hall.goes_on()


def test_a_hundred_sessions_feel_nothing():
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(folder)
        settings.write("first", max_sessions=1000, request_timeout=60)
        with settings.start() as r, Hall(r) as hall:
            hall.goes_on()
            for number in range(RELOADS):
                reload_once(r, hall, settings, number)
            hall.stop()
            hall.check()
            sessions = r.request("GET", "/v1/sessions", r.token(admin=True)).json()["sessions"]
            assert {"/v1/sessions/" + s["session"] for s in sessions if s["registered"] and s["moves"] == 0} == set(hall.sessions), sessions
            print("# %d pictures of %d packets, each to %d watchers, over %d reloads" % (
                STREAMS * hall.pictures(), PACKETS, WATCHERS, RELOADS))


def counter(relay, name):
    text = relay.request("GET", "/metrics").body.decode()
    return int(text.split("\nnatrelay_%s_total " % name)[1].split("\n")[0])


def dropped(relay):
    return counter(relay, "drop_max_packets_per_stream")


def test_a_limit_of_media_holds_for_those_who_are_there():
    """Down, so that packets of a live session are dropped under its name; away again, and none is."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(folder)
        settings.write("first")
        with settings.start() as r, Hall(r, patient=False) as hall:
            hall.goes_on()
            assert dropped(r) == 0
            settings.write("less", max_packets_per_stream=20)
            settings.reload(r, "read anew")
            wait_until(lambda: dropped(r) > 200)
            settings.write("as ever")
            settings.reload(r, "read anew")
            wait_until(lambda: all(hall.is_whole(w) for w in hall.watchers))


if __name__ == "__main__":
    run(dict(globals()))
