# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The relay's WebSocket, from outside against the real program: what its documents promise, whom it takes, and
how it says goodbye."""

import struct
import time

from relay import Relay, read_all, read_one, run, wait_until

UPGRADE = (
    b"GET /v1/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: natrelay.v1\r\n\r\n"
)


def frame(opcode, data):
    """Masked by zeros."""
    size = struct.pack(">B", 0x80 | len(data)) if len(data) < 126 else struct.pack(">BH", 0xFE, len(data))
    return bytes([0x80 | opcode]) + size + bytes(4) + data


def frames(data):
    """(opcode, bytes) of each."""
    found = []
    while data:
        size, head = data[1], 2
        if size == 126:
            size, head = struct.unpack(">H", data[2:4])[0], 4
        found.append((data[0] & 15, data[head : head + size]))
        data = data[head + size :]
    return found


def opened(r):
    s = r.tls()
    s.sendall(UPGRADE)
    reply = read_one(s)
    assert reply.status == 101, reply.raw
    assert reply.fields["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    return s


def metric(r, name):
    text = r.request("GET", "/metrics").body.decode()
    return int(text.split("\nnatrelay_%s " % name)[1].split("\n")[0])


def test_the_document_names_it():
    with Relay() as r:
        assert r.publish("a").json()["websocket"] == "/v1/websocket"
        plain = r.request("GET", "/v1/websocket")
        assert plain.status == 426 and plain.problem() == "upgrade-required"
        assert plain.raw.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert r.request("POST", "/v1/websocket").status == 405


def test_a_relay_without():
    with Relay(max_websockets=0) as r:
        assert "websocket" not in r.publish("a").json()
        assert r.request("GET", "/v1/websocket").status == 404


def test_closes_without_binding():
    with Relay() as r, opened(r) as s:
        start = time.monotonic()
        s.sendall(frame(2, b"\x7f rubbish") + frame(9, b"ping"))
        assert frames(read_all(s)) == [(10, b"ping"), (8, struct.pack(">H", 1008))]
        assert time.monotonic() - start > 4.5
        wait_until(lambda: metric(r, "websocket_connections") == 0)
        assert metric(r, "websocket_unbound_total") == 1


def test_full():
    with Relay(max_websockets=2) as r:
        open_ones = [opened(r), opened(r)]
        wait_until(lambda: metric(r, "websocket_connections") == 2)
        assert r.raw(UPGRADE).status == 503
        for s in open_ones:
            s.close()
        wait_until(lambda: metric(r, "websocket_connections") == 0)
        opened(r).close()


def test_goodbye():
    with Relay() as r:
        s = opened(r)
        wait_until(lambda: metric(r, "websocket_strangers") == 1)
        assert r.stop() == 0
        assert frames(read_all(s)) == [(8, struct.pack(">H", 1001))]


if __name__ == "__main__":
    run(dict(globals()))
