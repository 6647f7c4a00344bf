#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A plain UDP tool for the lab's self-test: no STUN, nothing of natrelay.

udp.py echo ADDRESS PORT…     tells every sender the address it was seen from, from the same
                              port; "also PORT" asks for a second answer from another port
udp.py ask [OPTION…] ADDRESS PORT [ADDRESS PORT…]
                              asks each from one socket and prints what it was told, one a
                              line ("-" for silence)
  --port N      local port                      --also N    want answers from port N too:
  --times N     ask each N times                            prints "also yes" or "also no"
  --every S     with pauses of S seconds        --pause S   wait, then print "late" and how
                                                            many datagrams came meanwhile
udp.py forward PORT=PORT…      what comes to the first goes to whoever wrote last to the second
udp.py tell ADDRESS PORT [N]  sends N datagrams (one by default) and listens to nobody
"""
import argparse
import select
import socket
import sys
import time


def resolve(address, port):
    return socket.getaddrinfo(address, int(port), type=socket.SOCK_DGRAM)[0]


def bound(address, port):
    family, kind, _, _, where = resolve(address, port)
    sock = socket.socket(family, kind)
    sock.bind(where)
    return sock


def echo(argv):
    socks = {int(port): bound(argv[0], port) for port in argv[1:]}
    print("ready", flush=True)
    while True:
        for sock in select.select(list(socks.values()), [], [])[0]:
            data, peer = sock.recvfrom(2048)
            text = "%s %d" % (peer[0], peer[1])
            sock.sendto(text.encode(), peer)
            words = data.decode(errors="replace").split()
            if len(words) == 2 and words[0] == "also":
                socks[int(words[1])].sendto(b"also", peer)


def forward(argv):
    """A relay of the plainest kind: it knows its receiver by the receiver's own datagrams."""
    pairs, receivers = {}, {}
    for pair in argv:
        here, there = (bound("0.0.0.0", port) for port in pair.split("="))
        pairs[here] = there
    print("ready", flush=True)
    while True:
        for sock in select.select(list(pairs) + list(pairs.values()), [], [])[0]:
            data, peer = sock.recvfrom(2048)
            if sock not in pairs:
                receivers[sock] = peer
            elif pairs[sock] in receivers:
                pairs[sock].sendto(data, receivers[pairs[sock]])


def receive(sock, seconds):
    if not select.select([sock], [], [], seconds)[0]:
        return None
    return sock.recvfrom(2048)[0].decode()


def ask(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--also", type=int)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--every", type=float, default=0)
    parser.add_argument("--pause", type=float)
    parser.add_argument("targets", nargs="+")
    options = parser.parse_args(argv)
    sock = None
    for index in range(0, len(options.targets), 2):
        family, kind, _, _, where = resolve(*options.targets[index:index + 2])
        if sock is None:
            sock = socket.socket(family, kind)
            sock.bind(("", options.port))
        answered = 0
        for count in range(options.times):
            if count:
                time.sleep(options.every)
            sock.sendto(b"also %d" % options.also if options.also else b"hello", where)
            answer = receive(sock, 1)
            answered += answer is not None
            if count == 0 or answer != previous:
                print(answer or "-", flush=True)
            previous = answer
        if options.times > 1:
            print("answered", answered)
        if options.also:
            print("also", "yes" if receive(sock, 1) == "also" else "no")
    if options.pause is not None:
        end, late = time.monotonic() + options.pause, 0
        while (left := end - time.monotonic()) > 0:
            late += receive(sock, left) is not None
        print("late", late)


def tell(argv):
    family, kind, _, _, where = resolve(argv[0], argv[1])
    with socket.socket(family, kind) as sock:
        for _ in range(int(argv[2]) if len(argv) > 2 else 1):
            sock.sendto(b"hello", where)
            time.sleep(0.001)


if __name__ == "__main__":
    {"echo": echo, "ask": ask, "tell": tell, "forward": forward}[sys.argv[1]](sys.argv[2:])
