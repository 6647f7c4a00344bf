# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The elements in this process, and ways between them and a relay that delay and lose."""

import heapq
import os
import select
import socket
import struct
import sys
import threading
import time

try:
    import gi

    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
except (ImportError, ValueError):
    print("1..0 # SKIP python3-gi or gir1.2-gstreamer-1.0 is not installed")
    sys.exit(os.environ.get("CI") == "true")

Gst.init(None)


def is_rtp(data):
    return len(data) >= 12 and 128 <= data[0] < 192 and not 192 <= data[1] <= 223


class Way:
    """The relay at another address of the loopback: all of TCP, and of UDP what is not lost, after a while. Loses some
    packets of RTP, in one direction, the first time that it sees them."""

    def __init__(self, relay, address, delay, lose_up=0, lose_down=0):
        self.relay, self.delay = ("127.0.0.1", relay.port), delay
        self.lose = {"up": lose_up, "down": lose_down}
        self.lost = {"up": 0, "down": 0}
        self.lost_bytes = {"up": 0, "down": 0}
        self.passed = {"up": 0, "down": 0}
        self.seen, self.queue, self.order = set(), [], 0
        self.peers = {}  # of a client's address: our socket towards the relay
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, relay.port))
        self.tcp.listen()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, relay.port))
        self.ends, self.wake = socket.socketpair()
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self._accept, self._carry)]
        for thread in self.threads:
            thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self.tcp.accept()
            except OSError:
                return
            server = socket.create_connection(self.relay)
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self._splice, args=(a, b), daemon=True).start()

    @staticmethod
    def _splice(a, b):
        try:
            while True:
                data = a.recv(65536)
                if not data:
                    break
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _is_lost(self, direction, data, who):
        every = self.lose[direction]
        if not every or not is_rtp(data):
            return False
        key = (direction, who, data[2:4], data[8:12])
        if key in self.seen or len(self.seen) < 30:  # a gap is seen behind something
            self.seen.add(key)
            return False
        self.seen.add(key)
        if struct.unpack(">H", data[2:4])[0] % every:
            return False
        self.lost[direction] += 1
        self.lost_bytes[direction] += len(data)
        return True

    def _take(self, direction, data, send, who):
        if self._is_lost(direction, data, who):
            return
        self.passed[direction] += is_rtp(data)
        self.order += 1
        heapq.heappush(self.queue, (time.monotonic() + self.delay, self.order, send, data))

    def _carry(self):
        while True:
            left = self.queue[0][0] - time.monotonic() if self.queue else 1
            while self.queue and left <= 0:
                _, _, send, data = heapq.heappop(self.queue)
                send(data)
                left = self.queue[0][0] - time.monotonic() if self.queue else 1
            readable = select.select([self.udp, self.ends] + list(self.peers.values()), [], [], max(0, left))[0]
            if self.ends in readable:
                return
            for s in readable:
                try:
                    data, address = s.recvfrom(2048)
                except OSError:
                    continue
                if s is self.udp:
                    self._take("up", data, self._peer(address).send, address)
                else:
                    to = next(a for a, peer in self.peers.items() if peer is s)
                    self._take("down", data, lambda d, to=to: self.udp.sendto(d, to), to)

    def _peer(self, address):
        if address not in self.peers:
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect(self.relay)
            self.peers[address] = s
        return self.peers[address]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.wake.send(b"x")
        self.threads[1].join()
        self.tcp.shutdown(socket.SHUT_RDWR)
        self.tcp.close()
        for s in [self.udp, self.ends, self.wake] + list(self.peers.values()):
            s.close()


class Pipeline:
    def __init__(self, text):
        self.pipeline = Gst.parse_launch(text)
        self.element = self.pipeline.get_by_name("n")
        self.pipeline.set_state(Gst.State.PLAYING)

    def stats(self):
        stats = self.element.get_property("stats")
        return {stats.nth_field_name(i): stats.get_value(stats.nth_field_name(i)) for i in range(stats.n_fields())}

    def is_over(self):
        message = self.pipeline.get_bus().pop_filtered(Gst.MessageType.EOS | Gst.MessageType.ERROR)
        assert message is None or message.type == Gst.MessageType.EOS, message.parse_error()
        return message is not None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.pipeline.set_state(Gst.State.NULL)


def element(kind, relay, address, token, more="", stream="door"):
    """Its text in a pipeline; it is called n."""
    return 'natrelay%s name=n uri="natrelay://%s:%d/%s?tls-fingerprint=%s&auth-token=%s" %s' % (
        kind, address, relay.port, stream, relay.values["tls-fingerprint"], relay.values[token], more)
