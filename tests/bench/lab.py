# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the bench happens: a network of this command's own, cores, kernel threads."""

import contextlib
import ctypes
import datetime
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
INSIDE = "NATRELAY_BENCH_INSIDE"
PR_SET_PDEATHSIG = 1
QUEUES = ["numtxqueues", "16", "numrxqueues", "16"]
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class BenchError(Exception):
    """Says to a person what is wrong and what to do."""


def _all_cores():
    """Those that this process may have, which may be more than it was started on."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        return os.sched_getaffinity(0)
    except OSError:
        return before
    finally:
        os.sched_setaffinity(0, before)


def cores():
    """(generator's, relay's); the same one twice on a machine with one core."""
    free = sorted(_all_cores())
    return free[0], free[1] if len(free) > 1 else free[0]


def dies_with_us():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, cpu=None, **more):
    """A process that ends with this one, whatever happens. One with a core of its own comes before
    others there, as far as we may say so."""
    def prepare():
        dies_with_us()
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, -20)
    more.setdefault("stdin", subprocess.DEVNULL)
    more.setdefault("stdout", subprocess.DEVNULL)
    more.setdefault("stderr", subprocess.DEVNULL)
    return subprocess.Popen([str(c) for c in command], preexec_fn=prepare, text=True, **more)


def stop(process):
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def wait_for(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise BenchError(f"{what}: not after {seconds} s")


def binds_udp(pid, port):
    """Whether a UDP socket of that process's network has this port."""
    for table in ("udp", "udp6"):
        try:
            lines = pathlib.Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        if any(int(line.split()[1].split(":")[1], 16) == port for line in lines):
            return True
    return False


def resident_bytes(pid):
    return int(_first(f"/proc/{pid}/status", r"^VmRSS:\s+(\d+)") or 0) << 10


def thread_seconds(pid):
    """CPU seconds that each thread had, by "NAME-TID"."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            name = (task / "comm").read_text().strip()
            ran = int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue                    # it has just ended
        found[f"{name}-{task.name}"] = ran / 1e9
    return found


# ---- a network of our own ----------------------------------------------------------------


def _ways_in():
    own = ["unshare", "--net", "--mount"]
    yield own
    yield own[:1] + ["--user", "--map-root-user"] + own[1:]


def enter(argv, buffers=None):
    """Runs this command again inside namespaces of its own, if the kernel lets us, and ends with its
    exit code; returns if it does not, or when inside. No port can be taken then, and nothing of the
    machine is touched but, for as long as the run takes and where we may, the size of socket buffers
    that programs get without asking (buffers, bytes): natrelay asks for big ones, some of the others do
    not, and it is not buffers that are to be compared."""
    if os.environ.get(INSIDE) is not None:
        if os.environ[INSIDE]:
            _run("ip", "link", "set", "lo", "up")
            _own_sysfs()
        return
    with _default_buffers(buffers):
        for way in _ways_in():
            if subprocess.run(way + ["ip", "link", "set", "lo", "up"], env={**os.environ, "PATH": PATH},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0:
                inside = subprocess.Popen(way + argv, preexec_fn=dies_with_us,
                                          env={**os.environ, INSIDE: "private", "PATH": PATH})
                sys.exit(_wait(inside))
        os.environ[INSIDE] = ""


def _wait(process):
    """Its exit code; a signal to us (Ctrl-C) ends it first, so that it can clean up."""
    def pass_on(number, _frame):
        process.send_signal(number)
    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # it has that from the terminal itself
    code = process.wait()
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _default_buffers(size):
    files = [pathlib.Path(f"/proc/sys/net/core/{name}_default") for name in ("rmem", "wmem")]
    before = {}
    try:
        for f in files if size else ():
            old = f.read_text()
            try:
                f.write_text(f"{size}\n")
            except OSError:
                break
            before[f] = old
        yield
    finally:
        for f, old in before.items():
            f.write_text(old)


def default_buffer():
    """Bytes that a socket gets without asking."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def is_private():
    return bool(os.environ.get(INSIDE))


def _run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise BenchError(f"{' '.join(command)}: {done.stdout.strip()}")
    return done.stdout


def _own_sysfs():
    """/sys shows the network devices of whoever mounted it."""
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], stderr=subprocess.DEVNULL)


class Loopback:
    """Delivery, and cutting of what was sent as one message, is charged to whoever sends."""
    name = "loopback"
    relay_ip = our_ip = "127.0.0.1"
    sink_gro = False
    notes = ()

    def start(self, command, **more):
        return start(command, cores()[1], **more)

    def kernel_pids(self):
        return []

    def close(self):
        pass


class Wire:
    """Two network namespaces joined by a veth pair. Its receiving ends poll in kernel threads
    of their own (threaded NAPI), with GRO, one on each core: that is the relay's network card."""
    name = "wire"
    our_ip, relay_ip = "10.77.0.1", "10.77.0.2"
    sink_gro = False

    def __init__(self, offload=False):
        if offload:
            self.name, self.sink_gro = "offload", True
        self.notes = []
        self._holder = start(["unshare", "--net", "sleep", "infinity"])
        self._inside = ["nsenter", "--target", str(self._holder.pid), "--net"]
        try:
            wait_for(self._is_apart, "a second network namespace")
            self._build(offload)
        except BenchError:
            self.close()
            raise

    def _is_apart(self):
        ours = os.readlink("/proc/self/ns/net")
        return os.readlink(f"/proc/{self._holder.pid}/ns/net") != ours

    def _build(self, offload):
        _run("ip", "link", "add", "bench-gen", *QUEUES, "type", "veth", "peer", "name", "bench-rel", *QUEUES,
             "netns", str(self._holder.pid))
        self._set_up([], "bench-gen", self.our_ip, offload, cores()[0])
        self._set_up(self._inside, "bench-rel", self.relay_ip, offload, cores()[1])
        _run("ping", "-c", "1", "-W", "2", self.relay_ip) if shutil.which("ping") else None

    def _set_up(self, inside, device, ip, offload, cpu):
        _run(*inside, "ip", "link", "set", "lo", "up")
        state = "on" if offload else "off"
        for feature in ("tx-udp-segmentation", "gso", "tso"):
            self._try(f"{feature} {state}", *inside, "ethtool", "-K", device, feature, state)
        self._try("GRO", *inside, "ethtool", "-K", device, "gro", "on")
        _run(*inside, "ip", "address", "add", f"{ip}/24", "dev", device)
        _run(*inside, "ip", "link", "set", device, "up")
        # Where /sys shows this network already, a second mount is refused, and not needed.
        self._try("threaded NAPI", *inside, "unshare", "--mount", "sh", "-c",
                  "mount -t sysfs sysfs /sys 2>/dev/null; "
                  f"echo 1 >/sys/class/net/{device}/threaded")
        for pid in kernel_threads(f"napi/{device}"):
            self._place(pid, cpu)

    def _place(self, pid, cpu):
        """Before whatever else runs on its core, as a network card's interrupts are: else the wire
        itself, a ring of 256 packets, overflows while a busy program has its time slice."""
        try:
            os.sched_setaffinity(pid, {cpu})
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(2))
        except OSError:
            self._note("the kernel threads of the wire could not be pinned and put first")

    def _note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def _try(self, what, *command):
        try:
            _run(*command)
        except BenchError:
            self._note(f"{what} could not be set")

    def start(self, command, **more):
        return start([*self._inside, *command], cores()[1], **more)

    def kernel_pids(self):
        return kernel_threads("napi/bench-rel") + kernel_threads(f"ksoftirqd/{cores()[1]}")

    def close(self):
        stop(self._holder)
        subprocess.run(["ip", "link", "delete", "bench-gen"], stderr=subprocess.DEVNULL)


def kernel_threads(prefix):
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "comm").read_text().startswith(prefix):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


# ---- the machine, for whoever reads the results ---------------------------------------------


def _first(path, pattern):
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(), re.M)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def _output(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def describe_machine():
    """Label and text, in order."""
    memory = int(_first("/proc/meminfo", r"^MemTotal:\s+(\d+)") or 0) // (1 << 20)
    virtual = _output("systemd-detect-virt", "--vm") or "unknown"
    return [
        ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
        ("version", _output("git", "-C", str(SOURCE), "describe", "--always", "--dirty")),
        ("processor", f"{_first('/proc/cpuinfo', r'^model name.*?: (.*)') or platform.machine()}, "
                      f"{os.cpu_count()} cores, virtualization: {virtual}"),
        ("memory", f"{memory} GiB"),
        ("system", f"{_first('/etc/os-release', r'^PRETTY_NAME=.(.*).$')}, "
                   f"Linux {platform.release()}"),
        ("cores", "generator on CPU %d, relay on CPU %d" % cores()),
        ("network", "private namespaces" if is_private() else "the machine's own loopback"),
        ("socket buffers", f"{default_buffer() >> 10} KiB for a program that does not ask for more"),
    ]
