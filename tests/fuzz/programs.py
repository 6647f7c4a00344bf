#!/usr/bin/env python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the seeds of fuzz-datapath: programs for the relay's data plane, one a file.

Usage: programs.py FOLDER

The operations have the names and numbers of the table in fuzz-datapath.c, which is read for them.
"""
import os
import re
import sys

CAMERA, VIEWER, RIVAL, OTHER, GUEST = range(5)
SELECT, NO_EPOCH, UNKNOWN, OLD_NAME, WRONG_KEY, FRESH = (1 << bit for bit in range(6))
SR, RR, NACK, PLI, BYE, SEALED, SEALED_BEHIND = range(7)
A_VIDEO, A_AUDIO, B_VIDEO, UNANNOUNCED = range(4)
TUNNEL = 8  # the first place that is a WebSocket's
MS = {ms: number for number, ms in enumerate(
    (1, 5, 20, 50, 100, 250, 500, 1000, 3100, 10000, 29000, 31000, 61000, 130000, 1800000, 3700000))}
EAGAIN, ENOBUFS, EPERM, EMSGSIZE, EINVAL, EIO, ECONNREFUSED, ENETUNREACH, EINTR = range(9)


def operations():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz-datapath.c")
    with open(path, encoding="utf-8") as source:
        table = re.search(r"operations\[\]\) \(void\) = \{(.*?)\};", source.read(), re.S)
    return {name: number for number, name in enumerate(re.findall(r"op_(\w+)", table.group(1)))}


class Program:
    """Each call of an operation's name adds its bytes."""
    table = operations()

    def __init__(self, workers=1):
        self.bytes = bytearray([workers - 1])

    def __getattr__(self, name):
        number = self.table[name]

        def add(*arguments):
            self.bytes.append(number)
            for argument in arguments:
                self.bytes += argument if isinstance(argument, bytes) else bytes([argument])
            return self
        return add

    def text(self, data):
        return bytes([len(data)]) + data

    def film(self, place=0, packets=6, which=A_VIDEO):
        for _ in range(packets):
            self.media(place, which, 0, 100)
            self.time(MS[20])
        return self


def live(workers=1, camera=0, viewer=2):
    p = Program(workers)
    p.add(CAMERA, 0).add(VIEWER, 1).describe(CAMERA, 3, 3)
    p.bind(CAMERA, camera, SELECT | FRESH).bind(VIEWER, viewer, SELECT | FRESH)
    return p.film(camera)


def room(workers=1):
    p = live(workers)
    p.add(OTHER, 0).add(GUEST, 1).describe(OTHER, 4, 3)
    p.bind(OTHER, 4, SELECT | FRESH).bind(GUEST, 6, SELECT | FRESH)
    return p.film(0).film(4, 6, B_VIDEO)


def feedback():
    p = live()
    p.feedback(CAMERA, 0, SR, A_VIDEO).feedback(VIEWER, 2, RR, A_VIDEO, 30)
    p.media(0, A_VIDEO, 24, 60).time(MS[100])
    p.feedback(VIEWER, 2, NACK, A_VIDEO, 4, 1).feedback(VIEWER, 2, PLI, A_VIDEO).time(MS[500])
    p.feedback(VIEWER, 2, BYE, A_VIDEO)
    p.feedback(VIEWER, 2, SEALED, 0, p.text(bytes.fromhex("81cd0003 00000077 a1a1a1a1 00050000")))
    p.feedback(CAMERA, 0, SEALED_BEHIND, 0, p.text(bytes.fromhex("80cc0002 00000077 41554449")))
    return p.time(MS[1000])


def moves():
    p = live()
    p.bind(VIEWER, 3, SELECT | FRESH).film().bind(VIEWER, 2, SELECT)
    p.replay(2, 0, 0, 0, 0).bind(CAMERA, 1, SELECT | FRESH).film(1)
    p.bind(VIEWER, 5, FRESH).bind(VIEWER, 6, FRESH).bind(VIEWER, 7, FRESH).bind(VIEWER, 4, SELECT | FRESH)
    return p.film(1)


def refusals():
    p = live()
    for code in range(9):
        p.refuse(code, 3).burst(0, A_VIDEO, 200, 15, 10)
    return p.refuse(EAGAIN, 15).time(MS[500])


def strangers():
    p = live()
    p.media(5, A_VIDEO, 0, 100).media(5, UNANNOUNCED, 0, 2).challenge(5, 0).challenge(5, 255)
    p.bind(VIEWER, 5, SELECT | FRESH | WRONG_KEY).bind(VIEWER, 5, SELECT).bind(VIEWER, 5, FRESH | UNKNOWN)
    p.bind(VIEWER, 5, FRESH | NO_EPOCH)
    for index in range(12):
        p.replay(5, index, 0, 0, 0).replay(7, index, 9, 1, 0).reflect(5, index, 0, 0, 0)
    return p.raw(5, 0, p.text(b"GET / HTTP/1.1\r\n\r\n")).raw(5, 20, p.text(bytes(60)))


def consent():
    p = live()
    p.time(MS[29000]).bind(CAMERA, 0, SELECT).bind(CAMERA, 0, SELECT | FRESH).film()
    p.time(MS[31000]).film().bind(VIEWER, 2, SELECT | FRESH).bind(CAMERA, 0, SELECT | FRESH)
    p.describe(CAMERA, 0, 5).film()
    return p.time(MS[3700000]).bind(VIEWER, 2, SELECT | FRESH)


def control():
    p = live()
    p.renew(VIEWER).bind(VIEWER, 2, SELECT).bind(VIEWER, 2, SELECT | OLD_NAME).epoch(VIEWER)
    p.bind(VIEWER, 2, SELECT).bind(VIEWER, 2, SELECT | FRESH).feedback(VIEWER, 2, PLI, A_VIDEO)
    p.add(RIVAL, 0).describe(RIVAL, 3, 5).bind(RIVAL, 1, SELECT | FRESH).film(0).film(1)
    p.end(CAMERA, 5).end(VIEWER, 4).bind(VIEWER, 2, SELECT | FRESH).film(1)
    return p.add(VIEWER, 1).bind(VIEWER, 2, SELECT | FRESH).film(1).describe(RIVAL, 1, 0).film(1)


def tunnel(workers=1):
    p = live(workers, TUNNEL, TUNNEL + 1)
    p.burst(TUNNEL, A_VIDEO, 100, 9, 3).feedback(VIEWER, TUNNEL + 1, PLI, A_VIDEO)
    p.hang_up(TUNNEL + 1).film(TUNNEL).bind(VIEWER, TUNNEL + 1, SELECT | FRESH).film(TUNNEL)
    return p.bind(VIEWER, 2, SELECT | FRESH).film(TUNNEL).hang_up(TUNNEL)


def verified():
    p = live().verify(CAMERA, 1)
    for change in (0, 0, 1, 0):
        p.sealed(0, A_VIDEO, 0, 100, 40, change)
    p.replay(0, 0, 0, 0, 0).film().verify(CAMERA, 2).sealed(0, A_VIDEO, 0, 101, 0, 0).replay(0, 0, 0, 0, 0)
    p.describe(CAMERA, 2, 5).sealed(0, A_VIDEO, 0, 100, 0, 0).sealed(0, A_AUDIO, 0, 100, 0, 0)
    return p.verify(CAMERA, 0).film()


PROGRAMS = {
    "live": live, "live-workers": lambda: live(2), "room": room, "room-workers": lambda: room(2),
    "feedback": feedback, "moves": moves, "refusals": refusals, "strangers": strangers,
    "consent": consent, "control": control, "verified": verified, "tunnel": tunnel, "tunnel-workers": lambda: tunnel(2),
    "limit": lambda: Program().add(CAMERA, 4).describe(CAMERA, 3, 3).bind(CAMERA, 0, SELECT | FRESH)
                              .burst(0, A_VIDEO, 250, 63, 0).burst(0, A_AUDIO, 250, 63, 0),
}


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, make in PROGRAMS.items():
        with open(os.path.join(sys.argv[1], name), "wb") as out:
            out.write(bytes(make().bytes))


if __name__ == "__main__":
    main()
