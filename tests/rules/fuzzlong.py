#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/fuzz/long gives a target the CPU time that it is told, in as many spans as that takes, and ends where that leads nowhere."""
import json
import os
import subprocess
import sys
import tempfile

from rules import ROOT, Tap

ENOUGH = 0.3  # seconds
BUSY = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done\n"  # much less than that
CRASH = 'for a; do case "$a" in -artifact_prefix=*) echo x >"${a#*=}crash-1" ;; esac; done\nexit 77\n'


def run(tap, what, script, status):
    """With a target of ours; what is kept of it, and what was said."""
    with tempfile.TemporaryDirectory() as folder:
        results, fuzz = os.path.join(folder, "results"), os.path.join(folder, "tests", "fuzz")
        program = os.path.join(fuzz, "fuzz-stun")
        os.makedirs(os.path.join(fuzz, "seeds-stun"))
        with open(program, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho once >>%s/spans\n%s" % (folder, script))
        os.chmod(program, 0o755)
        command = [sys.executable, "-B", os.path.join(ROOT, "tests", "fuzz", "long"), "--minutes", str(ENOUGH / 60),
                   "--build", folder, "--results", results, "stun"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            tap.check(what, ["it does not end"])
            return None, "", 0
        tap.check(what, [] if done.returncode == status else ["exit status %d" % done.returncode, done.stdout + done.stderr])
        with open(os.path.join(results, "stun.json"), encoding="utf-8") as file:
            about = json.load(file)
        with open(os.path.join(folder, "spans"), encoding="utf-8") as file:
            return about, done.stdout, len(file.readlines())


def main():
    tap = Tap()
    about, _, spans = run(tap, "spans that are too short are added", BUSY, 0)
    tap.check("it had all that it was to have", [] if about and about["cpu"] >= ENOUGH * 0.97 and spans > 1 else ["%s, %d spans" % (about, spans)])
    about, _, spans = run(tap, "what is found is no success", CRASH, 1)
    tap.check("it is kept, and no more is looked for", [] if about and len(about["found"]) == 1 and spans == 1 else ["%s, %d spans" % (about, spans)])
    _, text, spans = run(tap, "a target that fails without an input is no success", "exit 1\n", 1)
    tap.check("it is named, and not started again and again", [] if "stun failed" in text and spans == 1 else [text, "%d spans" % spans])
    tap.end()


if __name__ == "__main__":
    main()
