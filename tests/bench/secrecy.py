#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What secrecy costs whom: CPU for each packet of a publisher, the relay and a subscriber, with every encryption in turn.

secrecy.py BUILD [--rounds N] [--seconds S] [--report FILE]

Both clients are gst-launch-1.0 with nothing but a file of noise, a payloader and our elements. In each round every
encryption has its turn, in an order that is turned by one from round to round; what is told is the least of all rounds, for others on
the machine only ever make it slower. CPU is of all threads of a process, in user space and in the kernel.
"""
import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from relay import Relay  # noqa: E402

PASSPHRASE = "quarrel mango thunder ripple"
MODES = {
    "none": {"encryption": "none"},
    "aes-128-gcm": {"encryption": "aes-128-gcm"},
    "aes-256-gcm": {"encryption": "aes-256-gcm"},
    "aes-128-gcm, passphrase": {"encryption": "aes-128-gcm", "passphrase": PASSPHRASE},
}
# 384 kHz, 8 channels of 16 bits, in packets of 1160 bytes: 5300 packets/s, as of a film of 49 Mbit/s.
RATE, CHANNELS, MTU = 384000, 8, 1160
LIMIT = 1.5  # µs of a client's CPU for each packet


def launch(*parts):
    command = ["gst-launch-1.0", "-q"]
    for part in parts:
        command += (["!"] if len(command) > 2 else []) + part
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def element(kind, relay, stream, token, properties):
    return [
        "natrelay" + kind,
        "uri=natrelay://127.0.0.1:%d/%s?tls-fingerprint=%s"
        % (relay.port, stream, relay.values["tls-fingerprint"]),
        "auth-token=" + relay.values[token],
    ] + ["%s=%s" % item for item in properties.items()]


def cpu_ns(process):
    """{thread: its CPU}"""
    threads = {}
    for task in pathlib.Path("/proc/%d/task" % process.pid).iterdir():
        try:
            threads[task.name] = int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            pass
    return threads


def spent_ns(before, after):
    """Of the threads that live: one that ended, as that which stretched the passphrase, takes nothing away."""
    return sum(cpu - before.get(thread, 0) for thread, cpu in after.items())


def packets(relay):
    """Received from publishers, sent to subscribers."""
    text = relay.request("GET", "/metrics").body.decode()
    return [
        sum(float(n) for n in re.findall("^natrelay_packets_%s[a-z_]* ([0-9.e+]+)$" % word, text, re.M))
        for word in ("received", "sent")
    ]


def play(relay, noise, mode, seconds):
    """µs a packet of (publisher, relay, subscriber)."""
    secret = {k: v for k, v in MODES[mode].items() if k == "passphrase"}
    stream = "noise%d" % list(MODES).index(mode)
    source = launch(
        element("src", relay, stream, "subscribe-token", secret), ["fakesink", "sync=false"]
    )
    sound = ["format=pcm", "pcm-format=s16be", "sample-rate=%d" % RATE, "num-channels=%d" % CHANNELS]
    sink = launch(
        ["filesrc", "blocksize=65536", "location=" + noise],
        ["rawaudioparse"] + sound,
        ["rtpL16pay", "mtu=%d" % MTU],
        element("sink", relay, stream, "publish-token", MODES[mode]),
    )
    processes = [sink, relay.process, source]
    begin = packets(relay)
    try:
        while packets(relay)[1] < begin[1] + 1000 and sink.poll() is None and source.poll() is None:
            time.sleep(0.2)
        before, cpu = packets(relay), [cpu_ns(p) for p in processes]
        time.sleep(seconds)
        after, cpu = packets(relay), [spent_ns(c, cpu_ns(p)) for p, c in zip(processes, cpu)]
    finally:
        for process in (sink, source):
            if process.poll() is not None:
                sys.exit("a client ended: %s" % process.communicate()[1])
            process.kill()
            process.communicate()
    came, went = (b - a for a, b in zip(before, after))
    return cpu[0] / came / 1000, cpu[1] / went / 1000, cpu[2] / went / 1000


def turns(rounds):
    modes = list(MODES)
    for n in range(rounds):
        yield modes[n % len(modes) :] + modes[: n % len(modes)]


def measure(rounds, seconds):
    found = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory() as folder:
        noise = os.path.join(folder, "noise")
        block = random.Random(1).randbytes(1 << 20)
        with open(noise, "wb") as f:
            for _ in range(int(RATE * CHANNELS * 2 * (seconds + 20)) >> 20):
                f.write(block)
        for order in turns(rounds):
            with Relay() as relay:
                for mode in order:
                    found[mode].append(play(relay, noise, mode, seconds))
    return found


def summary(found):
    """{mode: the least of publisher, relay, subscriber}: others only ever make it slower."""
    return {mode: [min(r[who] for r in rounds) for who in range(3)] for mode, rounds in found.items()}


def costs(micro):
    """(what, µs) of one packet at a client, without sockets and the rest of a pipeline."""
    clear, both = micro["element-seal-clear"], micro["element-seal-and-open-clear"]
    for bits in ("128", "256"):
        seal = micro["element-seal-" + bits] - clear
        yield "natrelaysink, AES-%s-GCM" % bits, seal
        yield "natrelaysrc, AES-%s-GCM" % bits, micro["element-seal-and-open-" + bits] - both - seal


def report(figures, micro, rounds, seconds):
    yield "# What secrecy costs"
    yield ""
    yield "Made by `tests/bench/secrecy.py`. Packets of 1200 bytes."
    yield ""
    yield "## At a client"
    yield ""
    yield "What the elements that seal and open take more for a packet than without encryption, buffers included (`sframe-elements`). The bar is"
    yield "%g µs." % LIMIT
    yield ""
    yield "| | CPU |"
    yield "|---|---:|"
    for what, cost in costs(micro):
        yield "| %s | %.2f µs |" % (what, cost)
    yield ""
    yield "Of that, cryptography and the replay window alone (`sframe-micro`), and what does not come with every packet:"
    yield ""
    yield "| | CPU |"
    yield "|---|---:|"
    for name, text in (
        ("sframe-seal-128", "seal a packet, AES-128-GCM"),
        ("sframe-seal-and-open-128", "seal and open it"),
        ("sframe-seal-256", "seal a packet, AES-256-GCM"),
        ("sframe-seal-and-open-256", "seal and open it"),
        ("sframe-new-key-128", "a key for another SSRC, and its first packet"),
    ):
        yield "| %s | %.2f µs |" % (text, micro[name])
    yield "| stretch a passphrase, once for a room | %.0f ms |" % (micro["passphrase-stretch"] / 1000)
    yield ""
    yield "## Whole programs"
    yield ""
    yield "One publisher at 5300 packets/s, the relay, one subscriber, on loopback; CPU of each for a packet in µs, system calls included: the least of %d" % rounds
    yield "rounds of %g s, and in brackets what it is more than `none`. The relay does the same with every packet: what differs there" % seconds
    yield "is the machine's unrest, and as much of it is in the figures of the clients; so the bar is judged by the elements above."
    yield ""
    yield "| encryption | publisher | relay, a packet out | subscriber |"
    yield "|---|---:|---:|---:|"
    for mode, row in figures.items():
        cells = ["%.2f (%+.2f)" % (c, c - none) for c, none in zip(row, figures["none"])]
        yield "| %s | %s |" % (mode, " | ".join(cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--report", type=pathlib.Path)
    args = parser.parse_args()
    build = args.build.resolve()
    os.environ["NATRELAY_SERVER"] = str(build / "ext/natserver/natrelay-server")
    os.environ["GST_PLUGIN_PATH_1_0"] = str(build / "gst/natrelay")
    micro = {}
    for program in ("sframe-micro", "sframe-elements"):
        command = [str(build / "tests/bench" / program), "0.5"]
        done = subprocess.run(command, check=True, capture_output=True)
        micro.update((n["name"], n["ns"] / 1000) for n in map(json.loads, done.stdout.splitlines()))
    figures = summary(measure(args.rounds, args.seconds))
    text = "\n".join(report(figures, micro, args.rounds, args.seconds))
    print(text)
    if args.report:
        args.report.write_text(text + "\n")
    worst = max(cost for _, cost in costs(micro))
    if worst > LIMIT:
        sys.exit("a client spends %.2f µs a packet on secrecy" % worst)


if __name__ == "__main__":
    main()
