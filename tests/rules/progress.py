#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/progress.py tells what tests/run does: in lines where nobody watches, in one that is written over on a terminal."""
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time

from rules import ROOT, Tap

PROGRAM = os.path.join(ROOT, "tests", "progress.py")
BUILD = "[1/40] cc a.c\n[2/40] cc b.c\n[3/4"
TESTS = (
    " 1/20 natrelay:proto / proto/address          OK              0.05s   5 subtests passed\n"
    " 2/20 natrelay:elements / elements/natrelaysrc  FAIL           12.05s   exit status 1\n"
    " 3/20 natrelay:natlab / natlab/call           SKIP            0.05s\n"
)


class Run:
    """The program over a folder of logs, with its output as text."""

    def __init__(self, terminal):
        self.folder = tempfile.TemporaryDirectory()
        self.output = b""
        self.write("events", "say hello\n")
        command = [sys.executable, "-B", PROGRAM, self.folder.name, "plain", "natlab"]
        if terminal:
            ours, theirs = pty.openpty()
            self.process = subprocess.Popen(command, stdout=theirs)
            os.close(theirs)
        else:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
            ours = self.process.stdout.fileno()
        self.reader = threading.Thread(target=self.read, args=(ours,))
        self.reader.start()

    def read(self, descriptor):
        try:
            while data := os.read(descriptor, 4096):
                self.output += data
        except OSError:  # so ends a terminal
            pass

    def write(self, name, text):
        with open(os.path.join(self.folder.name, name), "a", encoding="utf-8") as file:
            file.write(text)

    def text(self):
        return self.output.decode()

    def wait_for(self, words):
        """Nothing, or the problem."""
        end = time.monotonic() + 30
        while words not in self.text():
            if time.monotonic() > end:
                return ['"%s" is not in %r' % (words, self.text())]
            time.sleep(0.01)
        return []

    def do(self, what, log, text):
        self.write("events", "begin plain %s/%s %s\n" % (self.folder.name, log, what))
        self.write(log, text)

    def end(self):
        """What is kept."""
        self.write("events", "end plain\nsay plain 19 passed\nover\n")
        code = self.process.wait(30)
        self.reader.join()
        with open(os.path.join(self.folder.name, "run.log"), encoding="utf-8") as file:
            kept = file.read()
        self.folder.cleanup()
        return code, kept


def main():
    tap = Tap()
    run = Run(terminal=False)
    tap.check("what is said is printed", run.wait_for("hello\n"))
    run.do("building", "build.log", BUILD)
    tap.check("a part is told when it begins", run.wait_for("] plain: building\n"))
    run.do("testing", "plain.log", TESTS)
    tap.check("a test that fails is told at once, with its log",
              run.wait_for("FAILED: plain: elements/natrelaysrc (%s/plain.log)\n" % run.folder.name))
    code, kept = run.end()
    tap.check("it ends well", [] if code == 0 else ["code %d" % code])
    tap.check("a log has all of it", [] if kept == run.text() and "19 passed" in kept else [kept, run.text()])

    run = Run(terminal=True)
    run.do("building", "build.log", BUILD)
    tap.check("on a terminal it tells how far a build is", run.wait_for("0 of 2 parts done; plain: building 2 of 40"))
    run.write("events", "rest plain\nsay built\n")
    tap.check("that it is built is not the end", run.wait_for("built\r\n") or run.wait_for("] 0 of 2 parts done; \r\x1b[K"))
    run.do("testing", "plain.log", TESTS)
    tap.check("and how far the tests are", run.wait_for("plain: testing 3 of 20, 1 FAILED"))
    code, kept = run.end()
    tap.check("the line goes when it ends", [] if run.text().endswith("19 passed\r\n") else [run.text()])
    tap.check("and is not kept", [line for line in kept.split("\n") if "parts done" in line])
    tap.end()


if __name__ == "__main__":
    main()
