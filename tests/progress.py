#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tells what tests/run does while it does it: on a terminal in a line that is written over, else as a line now and
then. What it prints for good stands in run.log as well.

progress.py FOLDER PARTS    reads FOLDER/events until there is "over": lines of

    begin PART LOG WHAT     PART does WHAT now; ninja's or meson test's output goes to LOG
    rest PART               and nothing for now
    end PART                and nothing more
    say TEXT                a line to print
"""
import os
import re
import shutil
import sys
import time

TURN = 0.2  # seconds between two looks
PAUSE = 30  # seconds between two lines that are not for a terminal
TEST = re.compile(r"^\s*(\d+)/(\d+)\s+(.*?)\s+(OK|EXPECTEDFAIL|SKIP|FAIL|ERROR|TIMEOUT|INTERRUPT|UNEXPECTEDPASS)\s+[\d.]+s")
STEP = re.compile(r"^\[(\d+)/(\d+)\]")


class Tail:
    """The whole lines of a file that grows, or is not there yet."""

    def __init__(self, path):
        self.path, self.at, self.rest = path, 0, b""

    def lines(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.at)
                data = self.rest + file.read()
                self.at = file.tell()
        except FileNotFoundError:
            return []
        *whole, self.rest = data.split(b"\n")
        return [line.decode(errors="replace") for line in whole]


class Part:
    def __init__(self, log, what):
        self.log, self.what, self.began = Tail(log), what, time.monotonic()
        self.done = self.all = self.failed = 0

    def read(self):
        """Reads on; gives the names of tests that failed since."""
        failed = []
        for line in self.log.lines():
            found = TEST.match(line)
            if found and found[4] not in ("OK", "SKIP", "EXPECTEDFAIL"):
                failed.append(found[3].split(" / ")[-1])
            found = found or STEP.match(line)
            if found:
                self.done, self.all = int(found[1]), int(found[2])
        self.failed += len(failed)
        return failed

    def text(self, name):
        text = "%s: %s" % (name, self.what)
        if self.all:
            text += " %d of %d" % (self.done, self.all)
        return text + (", %d FAILED" % self.failed if self.failed else "")


def clock(seconds):
    return "%d:%02d" % divmod(int(seconds), 60)


class Progress:
    def __init__(self, folder, wanted):
        self.folder, self.wanted = folder, wanted
        self.events = Tail(os.path.join(folder, "events"))
        self.log = open(os.path.join(folder, "run.log"), "a", encoding="utf-8")
        self.terminal = sys.stdout.isatty()
        self.began = self.told = time.monotonic()
        self.parts, self.ended, self.shown = {}, set(), ""

    def clear(self):
        if self.shown:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()
            self.shown = ""

    def say(self, text):
        self.clear()
        print(text, flush=True)
        print(text, file=self.log, flush=True)

    def take(self, event):
        """FALSE: that was the last."""
        word, _, rest = event.partition(" ")
        if word == "say":
            self.say(rest)
        elif word == "begin":
            part, log, what = rest.split(" ", 2)
            self.look(part)
            self.parts[part] = Part(log, what)
            if not self.terminal:
                self.say("[%s] %s: %s" % (clock(time.monotonic() - self.began), part, what))
        elif word in ("end", "rest"):
            self.look(rest)
            self.parts.pop(rest, None)
            if word == "end":
                self.ended.add(rest)
        return word != "over"

    def look(self, name):
        part = self.parts.get(name)
        for test in part.read() if part else ():
            self.say("FAILED: %s: %s (%s)" % (name, test, part.log.path))

    def status(self):
        now = time.monotonic()
        return "[%s] %d of %d parts done; %s" % (
            clock(now - self.began), len(self.ended & self.wanted), len(self.wanted),
            "; ".join(part.text(name) for name, part in self.parts.items()))

    def show(self):
        now = time.monotonic()
        if self.terminal:
            text = self.status()[: shutil.get_terminal_size().columns - 1]
            if text != self.shown:
                sys.stdout.write("\r\033[K" + text)
                sys.stdout.flush()
                self.shown = text
        elif now - self.told >= PAUSE and self.parts:
            self.told = now
            self.say(self.status())

    def run(self):
        parent = os.getppid()
        while os.getppid() == parent:
            if not all([self.take(event) for event in self.events.lines()]):
                break
            for name in list(self.parts):
                self.look(name)
            self.show()
            time.sleep(TURN)
        self.clear()


if __name__ == "__main__":
    try:
        Progress(sys.argv[1], set(sys.argv[2:])).run()
    except KeyboardInterrupt:
        print()
