# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""rtpengine's control protocol "ng": bencoded dictionaries in UDP datagrams, with a cookie."""

import re
import socket
import uuid


def encode(value):
    if isinstance(value, dict):
        parts = b"".join(encode(k) + encode(value[k]) for k in sorted(value))
        return b"d" + parts + b"e"
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    data = value.encode()
    return b"%d:%s" % (len(data), data)


def decode(data, at=0):
    """(value, where it ends)"""
    kind = data[at:at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1:end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at:at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1:end].decode("utf-8", "replace"), end


class Control:
    def __init__(self, address, port):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(2)
        self._socket.connect((address, port))

    def close(self):
        self._socket.close()

    def __call__(self, command, **arguments):
        cookie = uuid.uuid4().hex.encode()
        fields = {k.replace("_", "-"): v for k, v in arguments.items()}
        request = cookie + b" " + encode({"command": command, **fields})
        for _ in range(5):
            try:
                self._socket.send(request)
                data = self._socket.recv(65536)
            except (socket.timeout, ConnectionRefusedError):
                continue
            if data.startswith(cookie):
                answer, _end = decode(data, len(cookie) + 1)
                if answer.get("result") == "error":
                    raise RuntimeError(f"rtpengine: {command}: {answer.get('error-reason')}")
                return answer
        raise RuntimeError(f"rtpengine: {command}: no answer")


def sdp(address, port, direction):
    """A codec that rtpengine knows, since it publishes no other; it passes the packets on as they are."""
    return ("v=0\r\no=- 1 1 IN IP4 {0}\r\ns=bench\r\nt=0 0\r\nm=audio {1} RTP/AVP 96\r\n"
            "c=IN IP4 {0}\r\na=rtpmap:96 opus/48000/2\r\na=rtcp-mux\r\na={2}\r\n"
            ).format(address, port, direction)


def media_port(text):
    return int(re.search(r"^m=\w+ (\d+) ", text, re.M).group(1))
