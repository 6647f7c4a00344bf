#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs of examples/, as a person runs them: each must do what its line in examples/README.md says."""

import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

from relay import Relay, run, wait_until

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.environ["NATRELAY_EXAMPLES"]
WAIT = 60  # ends a hang; what is waited for comes in a second or two on a machine that does nothing else


class Program:
    """A program and what it says, line by line."""

    def __init__(self, *command, **env):
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            list(command), env=dict(os.environ, **env), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip())
                self.changed.notify_all()
        with self.changed:
            self.lines.append("(end)")
            self.changed.notify_all()

    def count(self, pattern):
        return sum(bool(re.match(pattern, line)) for line in self.lines)

    def wait(self, pattern, times=1):
        """Until it has said so that many times; the last such line."""
        with self.changed:
            self.changed.wait_for(lambda: self.count(pattern) >= times or self.lines[-1:] == ["(end)"], WAIT)
            found = [line for line in self.lines if re.match(pattern, line)]
            assert len(found) >= times, "waited for %r\n%s" % (pattern, "\n".join(self.lines[-40:]))
            return found[-1]

    def values(self, name):
        return [int(line.partition("=")[2]) for line in self.lines if line.startswith(name + "=")]

    def end(self, number=signal.SIGINT, code=0):
        if number is not None:
            self.process.send_signal(number)
        got = self.process.wait(WAIT)
        self.reader.join()
        assert got == code, "ended with %d\n%s" % (got, "\n".join(self.lines[-40:]))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


def example(name, relay, stream, *arguments):
    publishes = name in ("send", "adaptive")
    return Program(
        os.path.join(EXAMPLES, name), "--uri", uri(relay, stream), *arguments,
        NATRELAY_AUTH_TOKEN=relay.values["publish-token" if publishes else "subscribe-token"])


def wait_tracks(relay, stream):
    """Picture and sound are both described: a sender that is slow to have one of them describes the other first."""
    def described():
        reply = relay.subscribe(stream)
        return reply.status == 201 and reply.json().get("sdp", "").count("\nm=") == 2
    wait_until(described, WAIT)


def uri(relay, stream):
    return "natrelay://127.0.0.1:%d/%s?tls-fingerprint=%s" % (relay.port, stream, relay.values["tls-fingerprint"])


def launch(*words):
    """gst-launch-1.0 until its end."""
    done = subprocess.run(["gst-launch-1.0", "-q"] + " ".join(words).split(), timeout=WAIT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0 and "ERROR" not in done.stdout, done.stdout
    return done.stdout


FAKES = ("--video-sink", "fakesink sync=true", "--audio-sink", "fakesink sync=true")


def test_send_and_show():
    with Relay() as relay, example("send", relay, "door", "--test") as send:
        wait_tracks(relay, "door")
        with example("show", relay, "door", *FAKES) as show:
            assert show.wait("picture:") == "picture: 640x360"
            assert show.wait("sound:") == "sound: 48000 Hz"
            show.end()
            assert show.values("packets-received")[0] > 1
        send.end()
        assert send.wait("source:") == "source: a test film"


def test_the_last_line_says_why():
    """Who is not let in reads why, and not two dozen counters that are 0."""
    with Relay() as relay, Program(
            os.path.join(EXAMPLES, "show"), "--uri", uri(relay, "door"), NATRELAY_AUTH_TOKEN="nonsense") as show:
        show.wait("error: The access token is not valid")
        show.end(None, 1)
        assert not show.count("packets-received="), show.lines
        assert len(show.lines) < 6, show.lines


def test_show_follows_other_tracks():
    """A film with sound, then one without: the old branches go, a new one comes."""
    with Relay() as relay, tempfile.TemporaryDirectory() as folder:
        film = os.path.join(folder, "film.mp4")
        launch("videotestsrc num-buffers=75 ! video/x-raw,width=320,height=240,framerate=25/1 ! x264enc key-int-max=12",
               "! h264parse ! mp4mux name=m ! filesink location=" + film)
        with example("send", relay, "door", "--test") as send:
            wait_tracks(relay, "door")
            with example("show", relay, "door", *FAKES) as show:
                show.wait("sound:")
                show.wait("picture: 640x360")
                send.end()
                with example("send", relay, "door", "--file", film) as other:
                    show.wait("picture: 320x240")
                    other.end(None)  # the film's end is the program's
                show.end()
                assert show.count("track: ") == 3, show.lines


def keyed(relay, stream):
    """A sender with a key frame each half second, so that files may be short."""
    return Program(
        "gst-launch-1.0", "-q", *(
            "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 ! "
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! natrelaysink name=end uri=%s "
            "audiotestsrc is-live=true samplesperbuffer=960 ! audioconvert ! opusenc ! end." % uri(relay, stream)).split(),
        NATRELAY_AUTH_TOKEN=relay.values["publish-token"])


def playable(path):
    """(pictures, seconds of sound) of a file, counted by a player that knows nothing of us."""
    with tempfile.TemporaryDirectory() as folder:
        launch("filesrc location=" + path, "! parsebin name=p",
               "p. ! video/x-h264 ! queue ! avdec_h264 ! videoconvert ! video/x-raw,format=GRAY8 ! filesink location="
               + folder + "/v",
               "p. ! audio/x-opus ! queue ! opusdec ! audioconvert ! audio/x-raw,format=S16LE,rate=48000,channels=1 !",
               "filesink location=" + folder + "/a")
        return os.path.getsize(folder + "/v") // (320 * 240), os.path.getsize(folder + "/a") / 96000


def files_of(folder):
    return sorted(glob.glob(folder + "/*"))


def wait_written(folder, known, more_than):
    """Until the last file, which is none of those known, has so many bytes."""
    def written():
        files = [path for path in files_of(folder) if path not in known]
        return files and os.path.getsize(files[-1]) > more_than
    wait_until(written, WAIT)


def test_record_survives_a_crash():
    """Killed while it writes, then started again: every file plays, and none was written over."""
    with Relay() as relay, tempfile.TemporaryDirectory() as folder, keyed(relay, "door"):
        wait_tracks(relay, "door")
        arguments = ["--directory", folder, "--name", "door", "--segment"]
        with example("record", relay, "door", *arguments, "1") as recorder:
            recorder.wait("file:", 3)
            wait_written(folder, files_of(folder)[:2], 5000)
            recorder.process.kill()
        files = files_of(folder)
        assert len(files) >= 3, files
        counts = [playable(path) for path in files]
        print("# pictures, and seconds of sound, in the files of a recorder that was killed: %s" % counts)
        assert all(pictures >= 15 and sound > 0.4 for pictures, sound in counts[:2]), counts
        assert counts[2][0] > 0 and counts[2][1] > 0, counts
        with example("record", relay, "door", *arguments, "60") as recorder:
            wait_written(folder, files, 5000)
            recorder.end()  # by EOS: the file is complete
        new = sorted(set(files_of(folder)) - set(files))
        assert len(new) == recorder.count("file:") == 1, (files, new)
        assert playable(new[0])[0] > 0


def test_record_ends_where_nothing_came():
    with Relay() as relay, tempfile.TemporaryDirectory() as folder:
        with example("record", relay, "nobody", "--directory", folder) as recorder:
            recorder.wait("connected:")
            recorder.end()
        assert not files_of(folder)


def test_adaptive():
    """Its encoder gets what the element says, less a tenth, within the limits that it was given."""
    with Relay() as relay, example("adaptive", relay, "door", "--lowest", "200", "--highest", "900") as adaptive:
        adaptive.wait("bitrate=", 2)
        adaptive.end()
        pairs = [re.match(r"bitrate=(\d+) estimated=(\d+)", line) for line in adaptive.lines if "estimated=" in line]
        pairs = [[int(number) for number in pair.groups()] for pair in pairs if pair]
        assert all(abs(bitrate - min(max(estimated * 0.9, 200), 900)) < 2 for bitrate, estimated in pairs), pairs


def embed(relay, me, peer, *arguments, stream="robots/", **claims):
    token = relay.token(sub=me, **(claims or {"publish": ["robots/" + me], "subscribe": ["robots/*"]}))
    return Program(
        os.path.join(EXAMPLES, "embed"), "--uri", uri(relay, "").replace("/?", "?"), "--me", stream + me,
        "--peer", stream + peer, "--sink", "fakesink sync=true", *arguments, NATRELAY_AUTH_TOKEN=token)


def test_embed_outlives_the_relay():
    state = tempfile.TemporaryDirectory()
    with Relay(state=state.name) as relay:
        port = relay.port
        with embed(relay, "ann", "bob") as ann, embed(relay, "bob", "ann") as bob:
            for robot in (ann, bob):
                robot.wait("out: connected over")
                robot.wait("in: connected over")
                robot.wait("in: the first picture")
                robot.wait(r"out: watched by 1")
                robot.wait(r"out: the encoder makes \d+ kbit/s")
            assert relay.stop() == 0
            for robot in (ann, bob):
                robot.wait("out: (lost|attempt)")
                robot.wait("in: (lost|attempt)")
            with Relay(state=state.name, listen=("127.0.0.1:%d" % port,)):
                for robot in (ann, bob):
                    robot.wait("out: connected over", 2)
                    robot.wait("in: connected over", 2)
                ann.end()
                assert ann.count("out: the end") == 1, ann.lines
                bob.end()
    state.cleanup()


def test_embed_acts_on_errors():
    """What a person must change is said, and not tried again; the other direction plays on."""
    with Relay() as relay:
        with embed(relay, "ann", "ann") as first:
            first.wait("in: the first picture")
            with embed(relay, "ann", "ann") as second:
                first.wait("out: error: ")  # the same publisher, elsewhere
                second.wait("in: the first picture")
                assert first.process.poll() is None and not first.count("in: error"), first.lines
                second.end()
            first.end(code=1)
        with embed(relay, "eve", "ann", publish=["eve"], subscribe=["eve"]) as eve:
            eve.wait("out: error: ")
            eve.wait("in: error: ")
            eve.end(None, 1)  # nothing is left to do


def test_embed_takes_its_token_from_a_file():
    with Relay() as relay, tempfile.NamedTemporaryFile("w") as file:
        file.write(relay.token(sub="ann", publish=["robots/ann"], subscribe=["robots/*"]) + "\n")
        file.flush()
        with embed(relay, "ann", "ann", "--token-file", file.name, publish=["eve"]) as ann:
            ann.wait("in: the first picture")
            ann.end()


def test_snapshot_in_Python():
    gi = subprocess.run([sys.executable, "-c", "import gi; gi.require_version('Gst', '1.0')"], check=False,
                        stderr=subprocess.PIPE)
    if gi.returncode != 0:
        assert os.environ.get("CI") != "true", gi.stderr
        return "SKIP python3-gi or gir1.2-gstreamer-1.0 is not installed"
    snapshot = os.path.join(SOURCE, "examples/snapshot.py")
    with Relay() as relay, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "door.png")
        token = {"NATRELAY_AUTH_TOKEN": relay.values["subscribe-token"]}
        with example("send", relay, "door", "--test") as send:
            send.wait("connected:")
            with Program(sys.executable, "-B", snapshot, uri(relay, "door"), path, **token) as python:
                python.wait("connected over")
                python.wait("saved: ")
                python.end(None)
            send.end()
        with open(path, "rb") as f:
            head = f.read(24)
        assert head[:8] == b"\x89PNG\r\n\x1a\n" and (head[18:20], head[22:24]) == (b"\x02\x80", b"\x01\x68"), head
        with Program(sys.executable, "-B", snapshot, uri(relay, "nobody"), path, "--seconds", "1", **token) as python:
            python.wait("no picture: nothing came within 1 s")
            python.end(None, 1)


def test_browser_says_what_is_missing():
    """Where all is there, tests/integration/browserexample.py plays it."""
    found = subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "examples/browser.py"), "--check"], check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if found.returncode == 0:
        assert found.stdout == "all there\n", found.stdout
        return
    assert found.returncode == 3, found
    for name in ("webrtcbin", "nicesink", "natrelaysrc"):
        # Not by --exists, for which only a plugin of GStreamer's own version is one.
        has = subprocess.run(["gst-inspect-1.0", name], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert "python3-gi" in found.stdout or ("    %s (" % name in found.stdout) == (has.returncode != 0), found.stdout


if __name__ == "__main__":
    run(dict(globals()))
