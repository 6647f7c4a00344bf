# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""natrelay-server status: the relay's streams and sessions in a terminal, on the relay's machine and from elsewhere."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time

from web import Judge
from relay import Relay, Stun, run, server_program, wait_until


def status(*args, env=None, code=0):
    done = subprocess.run(
        [server_program(), "status"] + list(args), capture_output=True, text=True, check=False, timeout=60,
        env=dict({k: v for k, v in os.environ.items() if not k.startswith("NATRELAY_")}, LC_ALL="C.UTF-8", **(env or {})),
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def table(text, first):
    """Rows of the table whose first column has that title, as {title: cell}."""
    lines = text.split("\n")
    (head,) = [i for i, line in enumerate(lines) if line.startswith(first)]
    titles = re.split("  +", lines[head])
    rows = []
    for line in lines[head + 1 :]:
        if not line:
            break
        rows.append(dict(zip(titles, re.split("  +", line))))
    return rows


def test_of_this_machine():
    with Relay() as r, Stun(r, r.publish("door").json()) as camera, Stun(r, r.subscribe("door").json()) as viewer:
        camera.bind()
        viewer.bind()
        text = status("--state-dir", r.state)
        assert "at 127.0.0.1:%d" % r.port in text.split("\n")[0], text
        assert "1 of 1 streams live, 1 receivers, 2 sessions" in text, text
        (stream,) = table(text, "STREAM")
        assert stream["STREAM"] == "door" and stream["STATE"] == "live" and stream["PATH"] == "udp", stream
        who = {s["ROLE"]: s for s in table(text, "WHO")}
        assert who["publisher"]["WHO"] == "publisher" and who["publisher"]["STREAM"] == "door", who
        assert who["subscriber"]["PATH"] == "udp 127.0.0.1:%d" % viewer.socket.getsockname()[1], who
        assert "\033" not in text, "no terminal, no sequences"
        # The environment names the directory as well.
        assert "door" in status(env={"NATRELAY_STATE_DIR": r.state})


def test_of_an_open_relay_and_of_none():
    with Relay("--open") as r:
        assert "Nobody sends or watches" in status("--state-dir", r.state)
        assert sorted(os.listdir(r.state)).count("running") == 1
        assert r.stop() == 0
        assert "no relay was started" in status("--state-dir", r.state, code=1)
    with Relay() as r:
        r.process.send_signal(signal.SIGKILL)
        r.process.wait()
        assert "no relay answers at 127.0.0.1 port %d" % r.port in status("--state-dir", r.state, code=1)


def test_of_a_relay_elsewhere():
    with Relay() as r, tempfile.TemporaryDirectory() as d:
        r.publish("door")
        url, pin = "https://127.0.0.1:%d" % r.port, r.values["tls-fingerprint"]
        path = os.path.join(d, "token")
        with open(path, "w") as f:
            f.write(r.token(list=True) + "\n")
        assert "door" in status(url, "--token-file", path, "--tls-fingerprint", pin)
        assert "door" in status(url, "--tls-fingerprint", pin, env={"NATRELAY_AUTH_TOKEN": r.token(admin=True)})
        certificate = os.path.join(r.state, "certificate.pem")
        assert "door" in status(url, "--token-file", path, "--tls-ca-file", certificate)
        # Whom it does not know, it tells nothing: the token would be theirs.
        assert "not trusted" in status(url, "--token-file", path, code=1)
        assert "another" in status(url, "--token-file", path, "--tls-fingerprint", "0" * 64, code=1)
        assert "401" in status(url, "--tls-fingerprint", pin, code=1)
        token = r.values["publish-token"]
        said = status(url, "--tls-fingerprint", pin, env={"NATRELAY_AUTH_TOKEN": token}, code=1)
        assert "403" in said and token not in said, said


def test_wrong_use():
    assert "--token-file" in status("--help")
    assert "URL" in status("--token-file", "x", code=1)
    assert "too much" in status("a", "b", code=1)
    assert "not found" in status("https://no.such.host.invalid", code=1)
    assert "no relay's address" in status("http://127.0.0.1:1", code=1)
    assert "no relay's address" in status("127.0.0.1:99999", code=1)


def test_names_do_not_steer_the_terminal():
    with Relay() as r:
        r.publish("door", r.token(sub="evil\x1b[2J\x9b2J\nname", publish=["door"]))
        text = status("--state-dir", r.state)
        assert "\x1b" not in text and "\x9b" not in text and "evil?[2J" in text, repr(text)


class Terminal:
    """The program in a terminal of its own."""

    def __init__(self, columns, rows, *args):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [server_program(), "status"] + list(args), stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=dict(os.environ, LC_ALL="C.UTF-8", TERM="xterm"))
        self.data = b""

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, *words):
        end = time.monotonic() + 30
        while not all(word.encode() in self.data for word in words):
            assert time.monotonic() < end, (words, self.data[-3000:])
            if select.select([self.master], [], [], 0.2)[0]:
                self.data += os.read(self.master, 65536)
        text, self.data = self.data.decode(), b""
        return text

    def end(self):
        code = self.process.wait(30)
        while select.select([self.master], [], [], 0.2)[0]:
            self.data += os.read(self.master, 65536)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is as it was"
        assert b"\033[?1049l" in self.data and b"\033[?25h" in self.data
        os.close(self.master)
        os.close(self.slave)
        return code


def test_refusals_do_not_steer_the_terminal():
    """Why a relay, or its callback, does not let us look."""
    with Judge(lambda q: False, reason="no\033[2J\n\u202e\u009b2J") as judge, Relay("--access-callback", judge.url) as r:
        text = status("--state-dir", r.state, code=1)
        assert "the relay answers 403" in text and "no?[2J???2J" in text, text
        assert text.count("\n") == 1 and all(c.isprintable() for c in text[:-1]), text


def widest(text):
    lines = re.sub("\033\\[[?0-9;]*[a-zA-Z]", "", text).split("\r\n")
    return max(len(line.strip("\r")) for line in lines)


def test_live():
    with Relay() as r:
        r.publish("door")
        t = Terminal(150, 30, "--state-dir", r.state)
        text = t.until("\033[?1049h", "door", "LAST MINUTE")
        assert widest(text) <= 150
        r.publish("window")
        t.until("window")
        t.resize(60, 30)
        text = t.until("window", "WHO")
        text = t.until("window", "WHO")
        assert "LAST MINUTE" not in text and widest(text) <= 60, text
        r.process.send_signal(signal.SIGSTOP)
        t.until("What you see is old")
        r.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "What you see" not in t.until("WHO"))
        os.write(t.master, b"q")
        assert t.end() == 0


def test_signals_leave_the_terminal_as_it_was():
    with Relay() as r:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            t = Terminal(80, 24, "--state-dir", r.state)
            t.until("Nobody sends")
            t.process.send_signal(number)
            assert t.end() == 0


def test_long_lists_scroll():
    with Relay(max_sessions_per_address=0) as r:
        for i in range(40):
            r.publish("s%03d" % i, ssrc=i + 1)
        t = Terminal(100, 20, "--state-dir", r.state)
        text = t.until("s000", "s010")
        assert "s030" not in text
        os.write(t.master, b"\033[6~")
        t.until("s020")
        os.write(t.master, b"G")
        t.until("publisher  s039")
        os.write(t.master, b"g")
        t.until("s000")
        os.write(t.master, b"q")
        assert t.end() == 0
        lines = status("--state-dir", r.state).split("\n")
        assert sum(line.startswith("s0") for line in lines) == 40, "all of them, where nobody scrolls"


if __name__ == "__main__":
    run(dict(globals()))
