# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who takes part in a meeting of the tests: a process of examples/meeting (NATRELAY_MEETING), and what it says."""
import glob
import os
import re
import signal
import subprocess
import threading
import time

WAIT = 60  # seconds, for what comes in one, on a machine that does other things as well
MEDIA = ("video", "audio")
LEAKS = "Leaks detected"  # GStreamer's leak tracer, where it is on


def holds(pid):
    """Descriptors, threads, kB."""
    with open("/proc/%d/status" % pid) as f:
        status = f.read()
    return (len(os.listdir("/proc/%d/fd" % pid)),
            int(re.search(r"Threads:\s*(\d+)", status)[1]), int(re.search(r"VmRSS:\s*(\d+)", status)[1]))


def held_up_ms(pid):
    """How long the machine has let that thread of a process wait which waited longest for a processor, all in all."""
    longest = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        try:
            with open(path) as f:
                longest = max(longest, int(f.read().split()[1]) // 1000000)
        except OSError:
            pass  # it ended just now
    return longest


class Person:
    """.flows is who is seen and heard now; .events is what happened when: (seconds, "flows" or "gone", name, media);
    .gone has (name, media, buffers, longest gap in ms). .begun, .here (connected both ways) and .left are times, too."""

    def __init__(self, name, room, token, place=()):
        self.name, self.flows, self.gone, self.lines, self.events, self.mapped = name, set(), [], [], [], []
        self.changed, self.over = threading.Condition(), False
        self.begun, self.here, self.left, self.code = time.monotonic(), None, None, None
        self.process = subprocess.Popen(
            [*place, os.environ["NATRELAY_MEETING"], "--test", "--room", room, "--name", name, "--publish-token", token,
             "--subscribe-token", token],
            # One arena: what each new thread's would keep for itself looks like a leak.
            env=dict(os.environ, MALLOC_ARENA_MAX="1"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip())
                self.understand(line)
                self.changed.notify_all()
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def understand(self, line):
        now = time.monotonic()
        flows = re.match(r"flows: room/(\w+) (\w+)", line)
        gone = re.match(r"gone: room/(\w+) (\w+) buffers=(\d+) longest-gap-ms=(\d+)", line)
        connected = re.match(r"connected: (\S+); (\S+):\d+$", line)
        if flows:
            self.flows.add(flows.groups())
            self.events.append((now, "flows") + flows.groups())
        elif gone:
            self.flows.discard(gone.groups()[:2])
            self.events.append((now, "gone") + gone.groups()[:2])
            self.gone.append(gone.groups()[:2] + (int(gone[3]), int(gone[4])))
        elif connected:
            self.mapped.append(connected[2])
            if len(self.mapped) == 2:
                self.here = now

    def wait(self, what, condition):
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.over, WAIT)
            if not condition():
                raise AssertionError("%s: %s; has %s%s\n%s" % (
                    self.name, what, sorted(self.flows), ", and ended" if self.over else "", "\n".join(self.lines[-40:])))

    def wait_flows(self, others):
        wanted = {(name, media) for name in others for media in MEDIA}
        self.wait("waits for all of %s" % sorted(others), lambda: self.flows == wanted)

    def interrupt(self):
        self.left = time.monotonic()
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """After interrupt(): the exit code; None if it would not end."""
        try:
            self.code = self.process.wait(WAIT)
            self.reader.join()
        except subprocess.TimeoutExpired:
            self.kill()
        return self.code

    def kill(self):
        self.left = self.left or time.monotonic()
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def leave(self, stall_ms):
        """Gives what stalled for so long."""
        self.interrupt()
        assert self.end() == 0, "%s ended with an error (%s)\n%s" % (self.name, self.code, "\n".join(self.lines[-40:]))
        for stream, media, buffers, _ in self.gone:
            assert buffers > 0, "%s: no %s of %s" % (self.name, media, stream)
        return ["%s: %s of %s stalled for %s ms" % (self.name, media, stream, gap)
                for stream, media, _, gap in self.gone if gap >= stall_ms]

    def leaks(self):
        return [line for line in self.lines if LEAKS in line or "object-alive" in line]
