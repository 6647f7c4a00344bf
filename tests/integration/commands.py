#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the commands that README.md, docs/ and examples/README.md show, as they stand there (tests/rules/commands.py finds them):
with a relay of its own in the place of relay.example.org, a test picture for the webcam, and files for what would be seen
and heard."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

from relay import Relay, run, wait_until

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests", "rules"))
import commands as shown  # noqa: E402  (it is not installed anywhere)

BUILD = os.environ["MESON_BUILD_ROOT"]
WAIT = 60  # ends a hang
SMALL = "video/x-raw,width=160,height=120,framerate=15/1"


def all_commands(pattern):
    """Each once, in order."""
    return list(dict.fromkeys(c for _, _, c in shown.commands() if shown.is_run(c) and re.match(pattern, c)))


class Process:
    def __init__(self, command, shell, env):
        self.command = command
        self.log = tempfile.NamedTemporaryFile("w+", prefix="natrelay-command-")
        self.process = subprocess.Popen(shell, shell=True, executable="/bin/bash", cwd=SOURCE, env=env, start_new_session=True,
                                        stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def said(self):
        with open(self.log.name, errors="replace") as f:
            return f.read()

    def check(self):
        code = self.process.poll()
        assert code is None, "%s\nended with %s:\n%s" % (self.command, code, self.said()[-3000:])

    def end(self):
        """With all that its shell started."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()


# ---- gst-launch-1.0 and gst-play-1.0 -------------------------------------------------


class Stage:
    """A relay, and what pipelines find in a room of this test's: a film, a key. Each gets a stream of its own."""

    def __init__(self, relay, folder):
        self.relay, self.folder, self.count, self.running = relay, folder, 0, []
        self.key = os.path.join(folder, "door.key")
        with open(self.key, "w") as f:
            f.write(subprocess.run(all_commands("openssl rand")[0].split(), check=True, stdout=subprocess.PIPE, text=True).stdout)
        self.film = os.path.join(folder, "film.mp4")

    def make_film(self):
        done = subprocess.run(
            ("gst-launch-1.0 -q videotestsrc num-buffers=300 ! %s ! x264enc speed-preset=ultrafast ! h264parse ! mp4mux name=m ! "
             "filesink location=%s audiotestsrc num-buffers=900 ! opusenc ! opusparse ! m." % (SMALL, self.film)).split(), check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout

    def uri(self, stream):
        return "natrelay://127.0.0.1:%d/%s?tls-fingerprint=%s" % (
            self.relay.port, stream, self.relay.values["tls-fingerprint"])

    def start(self, command, shell, token):
        env = dict(os.environ, NATRELAY_AUTH_TOKEN=self.relay.values[token])
        process = Process(command, shell, env)
        self.running.append(process)
        return process

    def prepare(self, command):
        """(the shell's line, the stream, where it puts what it shows)."""
        self.count += 1
        stream = "stream-%d" % self.count
        line = re.sub(r'"?natrelay://[^\s"]*"?', '"' + self.uri(stream) + '"', command)
        line = re.sub(r" auth-token=\S+", "", line)
        line = line.replace("key-file=door.key", "key-file=" + self.key).replace("location=film.mp4", "location=" + self.film)
        line = re.sub(r"\bv4l2src\b", "videotestsrc is-live=true ! " + SMALL, line)
        outputs = []

        def output(found):
            outputs.append(os.path.join(self.folder, "%s-%d" % (stream, len(outputs))))
            return "filesink buffer-mode=unbuffered async=false location=" + outputs[-1]
        line = re.sub(r"\bauto(?:video|audio)sink\b", output, line)
        if line.startswith("gst-play"):
            line += " --videosink=fakesink --audiosink=fakesink"
        return line, stream, outputs

    def publish(self, stream, key):
        line = ("gst-launch-1.0 -q videotestsrc is-live=true ! %s ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! "
                "natrelaysink name=end uri='%s' %s audiotestsrc is-live=true ! opusenc ! end."
                % (SMALL, self.uri(stream), "key-file=" + self.key if key else ""))
        self.start("(a publisher)", line, "publish-token")

    def check(self):
        for process in self.running:
            process.check()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.running:
            process.end()


def published(relay, stream):
    reply = relay.subscribe(stream)
    return reply.status == 201 and "sdp" in reply.json()


def until(stage, process, condition):
    """It goes on running until then, and gets there."""
    end = time.monotonic() + WAIT
    while not condition():
        if process not in stage.running or process.process.poll() is not None:
            process.check()
        assert time.monotonic() < end, "%s\ndid not get there:\n%s" % (process.command, process.said()[-3000:])
        time.sleep(0.05)


def pipelines(sends):
    found = [c for c in all_commands("gst-(launch|play)") if "…" not in re.sub("(fingerprint|token)=…", "", c) or c.startswith("gst-play")]
    found = [c for c in found if ("natrelaysink" in c) == sends and "rtspsrc" not in c]
    # Once of those that differ in names alone.
    return list({re.sub(r'"?natrelay://[^\s"]*"?| auth-token=\S+', "", c): c for c in found}.values())


def received(relay):
    text = relay.request("GET", "/metrics").body.decode()
    found = re.findall(r"^natrelay_packets_received[a-z_]*(?:\{.*\})? ([0-9.e+]+)$", text, re.M)
    assert found, text
    return sum(map(float, found))


def test_pipelines_that_send():
    commands = pipelines(True)
    assert len(commands) >= 5, commands
    with Relay() as relay, tempfile.TemporaryDirectory() as folder, Stage(relay, folder) as stage:
        stage.make_film()
        for command in commands:
            line, stream, _ = stage.prepare(command)
            before = received(relay)
            process = stage.start(command, line, "publish-token")
            until(stage, process, lambda s=stream: published(relay, s))
            until(stage, process, lambda: received(relay) > before + 10)
            stage.running.remove(process)
            process.end()
            print("# ran: " + command)


def test_pipelines_that_receive():
    commands = pipelines(False)
    assert len(commands) >= 3, commands
    with Relay() as relay, tempfile.TemporaryDirectory() as folder, Stage(relay, folder) as stage:
        for command in commands:
            line, stream, outputs = stage.prepare(command)
            stage.publish(stream, "key-file" in command)
            process = stage.start(command, line, "subscribe-token")
            if outputs:
                until(stage, process, lambda o=outputs: all(os.path.exists(p) and os.path.getsize(p) > 100000 for p in o))
            else:  # gst-play-1.0 shows where it is in the film
                until(stage, process, lambda p=process: re.search(r"0:00:0[1-9]", p.said()))
            stage.check()
            for one in stage.running:
                one.end()
            stage.running.clear()
            print("# ran: " + command)


def test_camera_by_rtspsrc():
    """Those with an IP camera are played by elements/natrelayrtsp; that they can be built is seen here."""
    for command in (c for c in all_commands("gst-launch") if "rtspsrc" in c):
        line = re.sub(r"rtsp://[^\s]*", "rtsp://127.0.0.1:1/none", command)
        done = subprocess.run(line, shell=True, cwd=SOURCE, timeout=WAIT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        assert "Failed to connect" in done.stdout or "Could not" in done.stdout, done.stdout
        assert "WARNING: erroneous pipeline" not in done.stdout, done.stdout


# ---- programs ---------------------------------------------------------------------------


def environment(folder):
    """Programs by their names alone are the build's."""
    server = os.path.join(BUILD, "ext/natserver")
    return dict(os.environ, PATH=server + ":" + os.environ["PATH"], NATRELAY_STATE_DIR=os.path.join(folder, "state"))


def test_relays_and_metrics():
    """Port 8443 and folders of the machine's own are another's: a free port, a folder of this test's."""
    for command in all_commands("(build/ext/natserver/)?natrelay-server"):
        with tempfile.TemporaryDirectory() as folder:
            line = re.sub(r" --listen \S+| --state-dir \S+", "", command).replace("build/ext", BUILD + "/ext", 1)
            process = Process(command, line + " --listen 127.0.0.1:0", environment(folder))
            try:
                wait_until(lambda: "\nready" in process.said() or process.process.poll() is not None, WAIT)
                process.check()
                port = re.search(r"^listening=127\.0\.0\.1:(\d+)", process.said(), re.M).group(1)
                for curl in all_commands("curl"):
                    said = subprocess.run(curl.replace(":8443", ":" + port).split(), check=True, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, text=True).stdout
                    assert "# TYPE natrelay_" in said, said
            finally:
                process.end()


def test_tokens():
    with tempfile.TemporaryDirectory() as folder:
        env = environment(folder)
        with Relay(state=env["NATRELAY_STATE_DIR"]):
            pass  # it has made the key
        for command in all_commands("natrelay-token create"):
            words = shlex.split(command)
            token = subprocess.run(words, check=True, env=env, stdout=subprocess.PIPE, text=True).stdout
            assert re.fullmatch(r"ey[\w-]+\.ey[\w-]+\.[\w-]+\n", token), (command, token)
            inspected = subprocess.run(["natrelay-token", "inspect"], input=token, check=True, env=env, stdout=subprocess.PIPE, text=True)
            assert words[words.index("--publish") + 1] in inspected.stdout, inspected.stdout


def test_developers_shell():
    """meson devenv: a shell in which GStreamer finds the plugin."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GST_PLUGIN")}
    for command in all_commands("meson devenv"):
        words = command.replace("-C build", "-C " + BUILD).replace("../docs", SOURCE + "/docs").split()
        if len(words) == 4:  # a shell
            words += ["gst-inspect-1.0", "natrelaysink"]
        elif words[-1].endswith("generate.py"):
            words += ["--help"]  # integration/element-pages runs it, and changes nothing
        done = subprocess.run(words, check=False, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, (words, done.stdout)


def test_simulation():
    for command in all_commands("NATRELAY_SIM_SEED"):
        line = command.replace("build/tests", BUILD + "/tests")
        done = subprocess.run(line, shell=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT)
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 10, done.stdout[-2000:]


def test_long_commands_have_their_options():
    """tests/run, and the programs of tests/bench (run, secrecy.py, costs, rivals) and natlab (links): what is shown, they take."""
    helps = {}
    for command in dict.fromkeys(c for _, _, c in shown.commands() if shown.is_long(c)):
        words = shlex.split(command)
        program = os.path.join(SOURCE, words[0])
        assert os.access(program, os.X_OK), "%s cannot be run" % words[0]
        options = [w.partition("=")[0] for w in words[1:] if w.startswith("--")]
        if not options:
            assert subprocess.run(["bash", "-n", program], check=False).returncode == 0 or "python" in open(program).readline()
            continue
        done = helps.get(program) or subprocess.run([program, "--help"], check=False, stdout=subprocess.PIPE,
                                                    stderr=subprocess.STDOUT, text=True, timeout=WAIT)
        helps[program] = done
        if done.returncode == 77:  # this kernel has no lab for it, which the lab's own tests say
            continue
        missing = [o for o in options if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(o), done.stdout)]
        assert done.returncode == 0 and not missing, (command, missing, done.stdout)


if __name__ == "__main__":
    assert shutil.which("gst-launch-1.0"), "gst-launch-1.0 (gstreamer1.0-tools) is not installed"
    run(dict(globals()))
