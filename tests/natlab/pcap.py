#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Looks into a capture of the lab.

pcap.py udp FILE             one line a datagram: source port destination port length
pcap.py find FILE PLAIN [N]  prints how many datagrams were searched, and fails if any carries
                             a run of N bytes (16 by default) that also stands in the file
                             PLAIN: media that ought not to be readable
pcap.py connections FILE [FROM TO]
                             prints how many TCP connections were asked for, between two moments
                             in seconds since 1970
pcap.py stun FILE            fails if a datagram that claims to be STUN has a wrong length
"""
import ipaddress
import struct
import sys

STUN_COOKIE = 0x2112A442


def records(path):
    """(seconds since 1970, Ethernet frame) of every packet."""
    with open(path, "rb") as file:
        data = file.read()
    offset = 24
    while offset + 16 <= len(data):
        seconds, micro, length = struct.unpack_from("=III", data, offset)
        frame = data[offset + 16:offset + 16 + length]
        if len(frame) == length:  # the last may have been cut off
            yield seconds + micro / 1e6, frame
        offset += 16 + length


def packets(path, protocol):
    """(time, source, destination, what follows the IP header) of IPv4 and IPv6."""
    for time, frame in records(path):
        kind = struct.unpack_from("!H", frame, 12)[0]
        if kind == 0x0800 and frame[23] == protocol:
            source, destination, start = frame[26:30], frame[30:34], 14 + (frame[14] & 15) * 4
        elif kind == 0x86DD and frame[20] == protocol:
            source, destination, start = frame[22:38], frame[38:54], 54
        else:
            continue
        yield time, ipaddress.ip_address(source), ipaddress.ip_address(destination), frame[start:]


def datagrams(path):
    """(source, port, destination, port, payload) of every UDP datagram."""
    for _, source, destination, body in packets(path, 17):
        sport, dport, length = struct.unpack_from("!HHH", body)
        yield source, sport, destination, dport, body[8:length]


def connections(path, begin="0", end="inf"):
    print(sum(float(begin) <= time <= float(end) and body[13] & 0x12 == 0x02
              for time, _, _, body in packets(path, 6)))


def udp(path):
    for source, sport, destination, dport, payload in datagrams(path):
        print(source, sport, destination, dport, len(payload))


def find(path, plain, run="16"):
    run = int(run)
    with open(plain, "rb") as file:
        text = file.read()
    # Runs of one value say nothing: silence and padding look the same in any film.
    known = {text[i:i + run] for i in range(0, len(text) - run, run)}
    known = {piece for piece in known if len(set(piece)) > run // 2}
    searched = found = 0
    for *_, payload in datagrams(path):
        searched += 1
        found += any(payload[i:i + run] in known for i in range(len(payload) - run + 1))
    print("searched %d datagrams for %d runs of %d bytes: found in %d"
          % (searched, len(known), run, found))
    return 1 if found or not searched or not known else 0


def stun(path):
    counted = wrong = 0
    for *_, payload in datagrams(path):
        if not payload or payload[0] > 3:
            continue
        counted += 1
        if len(payload) < 20:
            wrong += 1
            continue
        length, cookie = struct.unpack_from("!HI", payload, 2)
        wrong += length % 4 != 0 or length + 20 != len(payload) or cookie != STUN_COOKIE
    print("%d STUN messages, %d malformed" % (counted, wrong))
    return 1 if wrong or not counted else 0


if __name__ == "__main__":
    sys.exit({"udp": udp, "find": find, "stun": stun,
              "connections": connections}[sys.argv[1]](*sys.argv[2:]))
