#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""dns64.py ADDRESS PREFIX: the name server of a network that has only IPv6. It knows one name, ipv4only.arpa, and leads to
its IPv4 addresses by that prefix of 96 bits (RFC 6147), as "64:ff9b::". Prints "ready", and each question."""
import ipaddress
import socket
import struct
import sys

KNOWN = ["192.0.0.170", "192.0.0.171"]
A, AAAA = 1, 28


def name_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels).lower(), at + 1


def records(name, kind, prefix):
    if name != "ipv4only.arpa":
        return None
    addresses = [ipaddress.IPv4Address(text) for text in KNOWN]
    if kind == A:
        return [a.packed for a in addresses]
    return [(prefix + int(a)).packed for a in addresses] if kind == AAAA else []


def answer(query, prefix):
    name, end = name_of(query)
    kind = struct.unpack_from("!H", query, end)[0]
    found = records(name, kind, prefix)
    print("%s %d" % (name, kind), flush=True)
    flags = 0x8180 if found is not None else 0x8183  # NXDOMAIN
    out = query[:2] + struct.pack("!HHHHH", flags, 1, len(found or []), 0, 0) + query[12:end + 4]
    for data in found or []:
        out += struct.pack("!HHHIH", 0xc00c, kind, 1, 60, len(data)) + data
    return out


def main():
    prefix = ipaddress.IPv6Address(sys.argv[2])
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], 53))
    print("ready", flush=True)
    while True:
        query, peer = server.recvfrom(512)
        server.sendto(answer(query, prefix), peer)


if __name__ == "__main__":
    main()
