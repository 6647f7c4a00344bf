#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""capture.py DEVICE FILE: keeps every packet of DEVICE in FILE (pcap) until SIGINT or SIGTERM.

tcpdump would do, but it gives up its rights when root starts it, which a user namespace
without several users forbids.
"""
import signal
import socket
import struct
import sys
import time

SO_RCVBUFFORCE = 33
ETH_P_ALL = 3


def main(device, path):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ETH_P_ALL))
    for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, 16 << 20)
            break
        except PermissionError:
            continue
    sock.bind((device, 0))
    sock.settimeout(0.05)
    ending = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.append(True))
    with open(path, "wb") as out:
        out.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        out.flush()
        print("ready", flush=True)
        while True:
            try:
                frame = sock.recv(65535)
            except socket.timeout:
                # What the socket held when the signal came has been read: nothing is lost.
                if ending:
                    return
                continue
            now = time.time_ns() // 1000
            out.write(struct.pack("=IIII", now // 1000000, now % 1000000, len(frame), len(frame)))
            out.write(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
