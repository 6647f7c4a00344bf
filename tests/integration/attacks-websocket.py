# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Attacks through the relay's WebSocket, each a test of its own name, against the real program; docs/SECURITY.md lists
them with what comes of them. Frames one by one stand in tests/check/server/websocket.c."""

import struct

from relay import Relay, Stun, read_all, read_one, run, wait_until

OPEN = (
    b"GET /v1/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: natrelay.v1\r\n"
)
NORMAL, PROTOCOL, UNSUPPORTED, TOO_BIG = 1000, 1002, 1003, 1009
PING, PONG, CLOSE = 9, 10, 8


def frame(first, data=b"", mask=b"\0\0\0\0", claim=None):
    """first: FIN, reserved bits and opcode. claim: a length that is not that of the data, in eight bytes."""
    bit = 0x80 if mask else 0
    if claim is not None:
        size = struct.pack(">BQ", bit | 127, claim)
    elif len(data) < 126:
        size = struct.pack(">B", bit | len(data))
    else:
        size = struct.pack(">BH", bit | 126, len(data))
    return bytes([first]) + size + mask + data


def opened(relay, more=b""):
    s = relay.tls()
    s.sendall(OPEN + more + b"\r\n")
    reply = read_one(s)
    assert reply.status == 101, reply.raw
    return s, reply


def frames(data):
    found = []
    while len(data) >= 2:
        size, head = data[1], 2
        if size == 126:
            size, head = struct.unpack(">H", data[2:4])[0], 4
        found.append((data[0] & 15, data[head : head + size]))
        data = data[head + size :]
    return found


def code_after(relay, data):
    """The code that the relay closes with; others are served all the while."""
    s, _ = opened(relay)
    with s:
        s.sendall(data)
        last = frames(read_all(s))[-1]
    assert last[0] == CLOSE, last
    assert relay.request("GET", "/healthz").status == 200
    return struct.unpack(">H", last[1][:2])[0]


def metric(relay, name):
    text = relay.request("GET", "/metrics").body.decode()
    return int(text.split("\nnatrelay_%s " % name)[1].split("\n")[0])


def resident(relay):
    with open("/proc/%d/status" % relay.process.pid) as f:
        return int(f.read().split("VmRSS:")[1].split()[0]) << 10


def test_endless_fragments():
    """A message that never ends: its pieces count together, and empty ones take no memory."""
    with Relay() as r:
        assert code_after(r, frame(2) + frame(0) * 50000 + frame(0, bytes(2048)) + frame(0, b"x")) == TOO_BIG
        assert code_after(r, frame(2, b"x") + frame(0, b"x") * 2048) == TOO_BIG
        assert code_after(r, frame(2, b"x") + frame(0) * 50000 + frame(0x82, b"x")) == PROTOCOL, "two at a time"
        assert code_after(r, frame(0x80, b"x")) == PROTOCOL, "the end of none"
        assert code_after(r, frame(2, b"x") + frame(0x80, b"y") + frame(0x88)) == NORMAL, "one in two pieces is good"


def test_oversized_frames():
    """A length is believed before its bytes are there, and refused then: nothing is set aside for it."""
    with Relay() as r:
        before = resident(r)
        for claim in (2049, 65536, 2**31, 2**32, 2**40, 2**63 - 1):
            want = TOO_BIG if claim > 65535 else PROTOCOL  # eight bytes for what fits two
            assert code_after(r, frame(0x82, b"x", claim=claim)) == want, claim
        assert code_after(r, frame(0x82, bytes(2049))) == TOO_BIG
        for claim in (2**63, 2**64 - 1, 5):
            assert code_after(r, frame(0x82, b"x", claim=claim)) == PROTOCOL, claim
        assert resident(r) < before + (100 << 20)


def test_unmasked_frames():
    with Relay() as r:
        for first in (0x82, 0x02, 0x89, 0x8A, 0x88):
            assert code_after(r, frame(first, b"", mask=b"")) == PROTOCOL, first


def test_reserved_bits_and_compression():
    """No extension is agreed on, so no bomb is unpacked."""
    with Relay() as r:
        s, reply = opened(r, b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-any\r\n")
        with s:
            assert "sec-websocket-extensions" not in reply.fields, reply.raw
            s.sendall(frame(0xC2, b"\xaa\x03\x00"))
            assert frames(read_all(s))[-1] == (CLOSE, struct.pack(">H", PROTOCOL))
        for first in (0xA2, 0x92, 0xF2, 0x83, 0x87, 0x8B, 0x8F, 0xC9):
            assert code_after(r, frame(first)) == PROTOCOL, first
        assert code_after(r, frame(0x81, b"text")) == UNSUPPORTED


def test_control_floods():
    """Pings by the ten thousand from somebody who reads nothing: one answer is kept for him, and no more than he sent."""
    with Relay() as r:
        s, _ = opened(r)
        with s:
            sent = 0
            s.settimeout(3)
            try:
                while sent < 50000:
                    s.sendall(frame(0x80 | PING, b"%08d" % sent + bytes(117)) * 100)
                    sent += 100
                s.sendall(frame(0x80 | CLOSE))
            except OSError:
                pass  # it may leave off reading, too
            assert r.request("GET", "/healthz").status == 200
            s.settimeout(20)
            pongs = [data for kind, data in frames(read_all(s)) if kind == PONG]
        assert sent >= 100 and 0 < len(pongs) <= sent + 100
        numbers = [int(p[:8]) for p in pongs if len(p) == 125]
        assert numbers == sorted(set(numbers)), "each once, in their order"
        for data in (frame(PING, b"x"), frame(0x80 | PING, bytes(126)), frame(CLOSE), frame(0x80 | CLOSE, b"\x03"),
                     frame(0x80 | CLOSE, struct.pack(">H", 1005))):
            assert code_after(r, data) == PROTOCOL, data
        assert code_after(r, frame(0x80 | PONG, b"?") * 5000 + frame(0x80 | CLOSE)) == NORMAL
        # Behind a close nothing counts, and the connection ends though the client goes on.
        assert code_after(r, frame(0x80 | CLOSE) + frame(0x82, b"x") * 5000) == NORMAL
        wait_until(lambda: metric(r, "websocket_connections") == 0)


def test_stranger_in_a_websocket():
    """Who opens one is nobody yet: what he sends of a live stream's SSRC goes nowhere, and little of it is looked at."""
    with Relay() as r:
        with Stun(r, r.publish("a", ssrc=7).json()) as p, Stun(r, r.subscribe("a").json()) as watcher:
            assert p.bind()["error"] == 0 and watcher.bind()["error"] == 0
            packet = lambda word: bytes([0x80, 96, 0, 1]) + bytes(4) + (7).to_bytes(4, "big") + word * 20
            s, _ = opened(r)
            with s:
                s.sendall(frame(0x82, packet(b"bad")) * 1000)
                wait_until(lambda: metric(r, "websocket_received_total") == 1000)
                assert metric(r, "websocket_lost_total") >= 1000 - 64
                p.socket.send(packet(b"own"))
                data = b""
                while not data or data[0] < 128:
                    data = watcher.socket.recv(2048)
                assert data == packet(b"own")


if __name__ == "__main__":
    run(dict(globals()))
