# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured: how each relay is started, and what the generator must be told."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import lab
import ngcontrol

PUBLISHER_PORT, SINK_PORT = 20000, 24000
LISTEN_PORT, CONTROL_PORT = 5000, 5001
SOCKET_BUFFER = 8 << 20
# What one address may ask of a relay in a second and at a time. Media does not know of it; more than so many
# sessions from this one machine do not come about otherwise.
UNLIMITED = ("max-posts-per-second=0\nmax-sessions-per-address=0\nmax-sessions-per-subject=0\n"
             "max-sessions=200000\n")
LIMITED = 400


class Running:
    """A relay that is ready. arguments: for the generator."""

    def __init__(self, process, arguments):
        self.process = process
        self.arguments = arguments


class Relay:
    name = ""
    what = ""
    reaches_many = True         # one packet in, many out
    takes_many = True           # several publishers at once
    bar = "rival"               # its kind in the plot
    breaks = False              # one overload ends it: each probe of a search wants a fresh one

    def __init__(self, build):
        self.build = build

    def missing(self):
        """Why it cannot be measured here, or None."""
        return None

    def version(self):
        return ""

    def measures(self, case):
        return (self.reaches_many or case.fan == 1) and (self.takes_many or case.publishers == 1)

    def start(self, net, case, directory):
        raise NotImplementedError

    def stop(self, running):
        lab.stop(running.process)


def _lines_until_ready(process, name):
    """key=value lines up to "ready"."""
    seen = {}
    for line in process.stdout:
        line = line.strip()
        if line == "ready":
            return seen
        if re.match(r"^[a-z-]+=", line):
            key, value = line.split("=", 1)
            seen.setdefault(key, value)
    raise lab.BenchError(f"{name} ended before it was ready")


def _log(directory, name):
    return open(pathlib.Path(directory) / f"{name}.log", "w", encoding="utf-8")


class NoRelay(Relay):
    """From publisher to receiver directly: what latency the generator itself sees."""
    name, what, bar = "no relay", "directly to the receiver", "none"
    reaches_many = takes_many = False

    def start(self, net, case, directory):
        return Running(None, ["--to", f"{net.our_ip}:{SINK_PORT}"])


class Loop(Relay):
    bar = "raw"
    takes_many = False

    def __init__(self, build, mode, what, *options, smooth_only=False):
        super().__init__(build)
        self.name, self.what, self._options = f"raw {mode}", what, options
        self._mode = mode.split()[0]
        self._smooth_only = smooth_only

    def measures(self, case):
        return super().measures(case) and (case.burst == 1 or not self._smooth_only)

    def start(self, net, case, directory, *faults):
        process = net.start(
            [self.build / "tests/bench/natloops", self._mode,
             "--listen", f"{net.relay_ip}:0", "--to", f"{net.our_ip}:{SINK_PORT}",
             "--count", case.fan, *self._options, *faults], stdout=subprocess.PIPE)
        seen = _lines_until_ready(process, "natloops")
        return Running(process, ["--to", seen["listening"]])


class NatrelayServer(Relay):
    name, what, bar = "natrelay", "natrelay-server, default settings", "natrelay"

    def missing(self):
        return None if self._program().exists() else "natrelay-server is not built"

    def _program(self):
        return self.build / "ext/natserver/natrelay-server"

    def version(self):
        return lab._output(str(self._program()), "--version").splitlines()[0]

    def start_server(self, net, directory, unlimited=False):
        """(process, "ADDRESS:PORT"). unlimited: one address may negotiate as much as it likes."""
        self.state = state = tempfile.mkdtemp(prefix="state-", dir=directory)
        is_open = "--open" if net.relay_ip.startswith("127.") else "--open=anyone"
        settings = pathlib.Path(state) / "bench.conf"
        settings.write_text("[server]\n" + (UNLIMITED if unlimited else ""), encoding="utf-8")
        log = _log(directory, "natrelay")
        with log:
            process = net.start([self._program(), "--config", settings, is_open,
                                 "--listen", f"{net.relay_ip}:0", "--state-dir", state],
                                stdout=subprocess.PIPE, stderr=log)
        try:
            listening = _lines_until_ready(process, "natrelay-server")["listening"]
        except (lab.BenchError, KeyError) as e:
            lab.stop(process)
            raise lab.BenchError(f"natrelay-server: {pathlib.Path(log.name).read_text()}") from e
        return process, re.search(r"[\d.]+:\d+", listening).group(0)

    def start(self, net, case, directory):
        sessions = case.publishers * (1 + case.fan)
        process, address = self.start_server(net, directory, unlimited=sessions > LIMITED)
        return Running(process, ["--to", address, "--negotiate"])


class Coturn(Relay):
    name, what = "coturn", "turnserver, one relay thread, ChannelData"
    reaches_many = False

    def missing(self):
        return None if shutil.which("turnserver", path=lab.PATH) else "package coturn"

    def version(self):
        text = subprocess.run(["turnserver", "-h"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False).stdout
        found = re.search(r"(?:coturn|Coturn|Version)[- ]+(\d[\d.]+)", text)
        return "coturn " + (found.group(1) if found else
                            lab._output("dpkg-query", "-W", "-f", "${Version}", "coturn"))

    def start(self, net, case, directory):
        ip = net.relay_ip
        process = net.start(
            ["turnserver", "-n", "--listening-ip", ip, "--relay-ip", ip,
             "--listening-port", CONTROL_PORT, "--relay-threads", "1", "--no-auth", "--no-tls",
             "--no-dtls", "--no-cli", "--no-stdout-log", "--log-file", f"{directory}/coturn.log",
             "--pidfile", f"{directory}/coturn.pid", "--userdb", f"{directory}/coturn.db",
             "--allow-loopback-peers"])
        lab.wait_for(lambda: lab.binds_udp(process.pid, CONTROL_PORT), "coturn")
        return Running(process, ["--turn", "--to", f"{ip}:{CONTROL_PORT}"])


class Multiudpsink(Relay):
    name, what = "GStreamer", "udpsrc ! multiudpsink"

    def missing(self):
        if not shutil.which("gst-launch-1.0"):
            return "package gstreamer1.0-tools"
        found = subprocess.run(["gst-inspect-1.0", "multiudpsink"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, check=False)
        return "package gstreamer1.0-plugins-good" if found.returncode else None

    def version(self):
        return lab._output("gst-launch-1.0", "--version").splitlines()[-2]

    def _pipeline(self, net, case, publisher):
        first = SINK_PORT + publisher * case.fan
        clients = ",".join(f"{net.our_ip}:{first + i}" for i in range(case.fan))
        return ["udpsrc", f"address={net.relay_ip}", f"port={LISTEN_PORT + publisher}",
                f"buffer-size={SOCKET_BUFFER}", "!", "multiudpsink", "sync=false",
                "async=false", f"buffer-size={SOCKET_BUFFER}", f"clients={clients}"]

    def start(self, net, case, directory):
        command, to = ["gst-launch-1.0", "-q"], []
        for p in range(case.publishers):
            command += self._pipeline(net, case, p)
            to += ["--to", f"{net.relay_ip}:{LISTEN_PORT + p}"]
        process = net.start(command)
        last = LISTEN_PORT + case.publishers - 1
        lab.wait_for(lambda: lab.binds_udp(process.pid, last), "gst-launch-1.0")
        return Running(process, to)


class Rtpengine(Relay):
    name, what = "rtpengine", "in user space, publish and subscribe"
    breaks = True               # after five times more than 50 packets in its queue

    def _program(self):
        """Installed, or unpacked by tests/bench/rivals. (program, environment)"""
        unpacked = self.build / "rivals/usr/bin/rtpengine"
        if unpacked.exists():
            libraries = ":".join(str(p.parent) for p in
                                 (self.build / "rivals").glob("usr/lib/*/libwebsockets.so.*"))
            return str(unpacked), {**os.environ, "LD_LIBRARY_PATH": libraries}
        return shutil.which("rtpengine", path=lab.PATH), dict(os.environ)

    def missing(self):
        if not self._program()[0]:
            return "package rtpengine-daemon, or tests/bench/rivals"
        return None if self.version() else "rtpengine does not start here"

    def version(self):
        program, environment = self._program()
        done = subprocess.run([program, "--version"], stdout=subprocess.PIPE, env=environment,
                              stderr=subprocess.STDOUT, text=True, check=False)
        found = re.search(r"Version: (\S+)", done.stdout)
        return f"rtpengine {found.group(1)}" if found and done.returncode == 0 else ""

    def start(self, net, case, directory):
        program, environment = self._program()
        ip = net.relay_ip
        with _log(directory, "rtpengine") as log:
            process = net.start(
                [program, "--config-file=none", "--table=-1", f"--interface={ip}",
                 f"--listen-ng={ip}:{CONTROL_PORT}", "--foreground", "--log-stderr",
                 "--log-level=3", "--num-threads=1", "--port-min=40000", "--port-max=50000",
                 f"--pidfile={directory}/rtpengine.pid"], env=environment, stderr=log)
        lab.wait_for(lambda: lab.binds_udp(process.pid, CONTROL_PORT), "rtpengine")
        control = ngcontrol.Control(ip, CONTROL_PORT)
        try:
            to = []
            for publisher in range(case.publishers):
                to += ["--to", f"{ip}:{self._connect(control, net, case, publisher)}"]
        except RuntimeError as e:
            lab.stop(process)
            raise lab.BenchError(str(e)) from e
        finally:
            control.close()
        return Running(process, to)

    def _connect(self, control, net, case, publisher):
        """A call with one publisher and its subscribers; the port that takes its packets."""
        call = {"call_id": f"bench-{publisher}", "from_tag": f"publisher-{publisher}"}
        offer = ngcontrol.sdp(net.our_ip, PUBLISHER_PORT + publisher, "sendonly")
        port = ngcontrol.media_port(control("publish", sdp=offer, **call)["sdp"])
        for i in range(case.fan):
            tag = f"subscriber-{publisher}-{i}"
            control("subscribe request", to_tag=tag, **call)
            sink = SINK_PORT + publisher * case.fan + i
            control("subscribe answer", to_tag=tag,
                    sdp=ngcontrol.sdp(net.our_ip, sink, "recvonly"), **call)
        return port


def all_relays(build):
    return [
        NatrelayServer(build),
        Rtpengine(build),
        Coturn(build),
        Multiudpsink(build),
        Loop(build, "plain", "recvfrom, sendto"),
        Loop(build, "batch", "recvmmsg, sendmmsg"),
        Loop(build, "segments", "UDP_GRO in, UDP_SEGMENT out"),
        Loop(build, "segments napping", "the same, reading every 250 µs", "--nap", "250",
             smooth_only=True),
        NoRelay(build),
    ]
