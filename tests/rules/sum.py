#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tests/sum.py adds up what failed, what passed, and what was run once more: that it excuses nothing that is proven."""
import json
import os
import subprocess
import sys
import tempfile

from rules import ROOT, Tap

PROGRAM = os.path.join(ROOT, "tests", "sum.py")
LATE = "1..2\nok 1 - one\nnot ok 2 - two\n# TimeoutError: timed out\n"
FINE = "1..2\nok 1 - one\nok 2 - two\n"


def entry(name, result, said, code=0):
    return {"name": "natrelay:x / " + name, "result": result, "returncode": code, "stdout": said, "stderr": ""}


def run(entries, again=(), *options):
    """The program's lines over these results."""
    with tempfile.TemporaryDirectory() as folder:
        for ending, listed in (("json", entries), ("again", again)):
            with open(os.path.join(folder, "plain." + ending), "w", encoding="utf-8") as file:
                file.writelines(json.dumps(one) + "\n" for one in listed)
        done = subprocess.run([sys.executable, "-B", PROGRAM, folder, *options], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.split("\n")[:-1]


def expect(got, *wanted):
    return [] if got == wanted else ["%r instead of %r" % (got, wanted)]


def late(name="a/late"):
    return entry(name, "FAIL", LATE, 1)


def test_counts():
    code, lines = run([entry("a/fine", "OK", FINE), late()])
    return expect((code, lines[-1]), 1, "3 passed, 1 failed")


def test_doubtful():
    several = [entry("a/fine", "OK", FINE), late(), entry("a/crash", "ERROR", "", -11),
               entry("a/report", "FAIL", "==1==ERROR: AddressSanitizer: heap-use-after-free", 1)]
    options = "--part", "plain", "--doubtful"
    return (expect(run(several, (), *options), 0, ["a/late"]) + expect(run(several, [late()], *options), 0, [])
            + expect(run([late("a/%d" % i) for i in range(7)], (), *options), 0, []))


def test_once_more():
    fine = entry("a/late", "OK", FINE)
    code, lines = run([late()], [fine, fine])
    problems = expect((code, lines[-1]), 0, "2 passed, 0 failed")
    if not any(line.startswith("unsteady: plain: a/late ") for line in lines):
        problems.append("it is not named as unsteady")
    for tries in ([fine, late()], [fine], []):
        if run([late()], tries)[0] != 1:
            problems.append("excused by %d runs" % len(tries))
    return problems


def test_nothing_proven_is_excused():
    fine = entry("a/report", "OK", FINE)
    report = entry("a/report", "FAIL", "WARNING: ThreadSanitizer: data race", 66)
    return expect(run([report], [fine, fine])[0:1], 1)


def main():
    tap = Tap()
    tap.check("what passed and what failed is counted", test_counts())
    tap.check("what failed without proof is named, once, and if it is little", test_doubtful())
    tap.check("two passes alone count, and are told", test_once_more())
    tap.check("a sanitizer's report stays a failure", test_nothing_proven_is_excused())
    tap.end()


if __name__ == "__main__":
    main()
