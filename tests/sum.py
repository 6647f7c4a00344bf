#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adds up what tests/run has left in its folder of logs.

sum.py FOLDER                            failing tests with the ends of their logs, then the
                                         closing line; the exit code is 1 if any failed
sum.py FOLDER --part PART --seconds N    one line about a part
sum.py FOLDER --part PART --doubtful     programs of it that deserve to be run once more

Several tests run at once on few processors, and one whose time was too short says nothing about natrelay. So a program that
failed is run twice more, alone; if it passes both times it counts as passed, and is named before the closing line as
unsteady. That is not for what is true on any machine: a report of a sanitizer, of valgrind or of the leak tracer and a
crash are failures at once, and so is everything where more than a few programs fail.
"""
import argparse
import glob
import json
import os
import re
import sys

TAP = re.compile(r"^(not )?ok\b[ \t]*\d*[ \t]*-?[ \t]*([^#\n]*)(#[ \t]*(SKIP)\b.*)?", re.I | re.M)
CHECK = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
# Lines that nobody needs to see of a failing test.
TAIL = 40
# What no second run excuses.
PROVEN = re.compile(r"(Address|Thread|Leak|UndefinedBehavior|Memory)Sanitizer|: runtime error: |libFuzzer|"
                    r"ERROR SUMMARY: [1-9]|ref-leaked|-CRITICAL \*\*|(Segmentation fault|Bus error)")
CRASHES = (-11, -7, -4, 139, 135, 132)  # by SIGSEGV, SIGBUS, SIGILL
GOOD = ("OK", "EXPECTEDFAIL")
MAY_BE_DOUBTFUL = 6     # programs of a part


class Sum:
    def __init__(self):
        self.passed = self.skipped = 0
        self.failures = []      # (name, end of its log)
        self.skips = []
        self.unsteady = []

    def fail(self, name, log):
        self.failures.append((name, "\n".join(log.rstrip().split("\n")[-TAIL:])))


def short_name(entry):
    return entry["name"].split(" / ")[-1]


def is_doubtful(entry):
    """It failed, and nothing that it said is proof of a mistake."""
    said = (entry.get("stderr") or "") + (entry.get("stdout") or "")
    return (entry["result"] not in GOOD + ("SKIP",) and entry.get("returncode") not in CRASHES
            and not PROVEN.search(said))


def read_entries(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return [json.loads(line) for line in file if line.strip()]


def doubtful(folder, part):
    """Names of programs to run once more: none that was already, and none at all if there are many."""
    known = {short_name(entry) for entry in read_entries(os.path.join(folder, part + ".again"))}
    failed = [entry for entry in read_entries(os.path.join(folder, part + ".json"))
              if entry["result"] not in GOOD + ("SKIP",)]
    if len(failed) > MAY_BE_DOUBTFUL:
        return []
    return [short_name(entry) for entry in failed if is_doubtful(entry) and short_name(entry) not in known]


def in_the_end(total, part, path):
    """The entries of a part; where a doubtful one passed each time when run once more, the first of those."""
    again = {}
    for entry in read_entries(os.path.splitext(path)[0] + ".again"):
        again.setdefault(short_name(entry), []).append(entry)
    for entry in read_entries(path):
        tries = again.get(short_name(entry), [])
        if is_doubtful(entry) and len(tries) > 1 and all(one["result"] in GOOD for one in tries):
            total.unsteady.append("%s: %s" % (part, short_name(entry)))
            yield tries[0]
        else:
            yield entry


def count_meson(total, part, entry):
    """One program of Meson's: TAP and check say how many tests it held, others are one."""
    name = "%s: %s" % (part, short_name(entry))
    stdout = entry.get("stdout") or ""
    # The verdicts are in stdout: the end of the log is to show them, not what GStreamer said besides.
    log = (entry.get("stderr") or "") + stdout
    result = entry["result"]
    failures = len(total.failures)
    if result == "SKIP":
        total.skipped += 1
        total.skips.append(name)
        return
    taps = list(TAP.finditer(stdout)) if re.search(r"^1\.\.\d+", stdout, re.M) else []
    checks = CHECK.findall(stdout)
    if taps:
        for tap in taps:
            if (tap.group(4) or "").upper() == "SKIP":
                total.skipped += 1
                total.skips.append("%s: %s" % (name, tap.group(2).strip()))
            elif tap.group(1):
                total.fail("%s: %s" % (name, tap.group(2).strip()), log)
            else:
                total.passed += 1
    elif checks:
        for ran, failed, errors in checks:
            total.passed += int(ran) - int(failed) - int(errors)
            if int(failed) + int(errors):
                for _ in range(int(failed) + int(errors)):
                    total.fail(name, log)
    elif result in GOOD:
        total.passed += 1
    if result not in GOOD and len(total.failures) == failures:
        total.fail("%s (%s, code %s)" % (name, result, entry.get("returncode")), log)


def read_results(total, folder, only):
    path = os.path.join(folder, "results")
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        for line in file:
            part, name, result, log = line.rstrip("\n").split("\t")
            if only and part != only:
                continue
            if result == "ok":
                total.passed += 1
                continue
            text = ""
            if log and os.path.exists(log):
                with open(log, encoding="utf-8", errors="replace") as end:
                    text = end.read()
            total.fail("%s: %s" % (part, name), text)


def read_all(folder, only=None):
    total = Sum()
    read_results(total, folder, only)
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        part = os.path.basename(path).removesuffix(".json")
        if only and part != only:
            continue
        for entry in in_the_end(total, part, path):
            count_meson(total, part, entry)
    return total


def verdict(total):
    text = "%d passed, %d failed" % (total.passed, len(total.failures))
    return text + (", %d skipped" % total.skipped if total.skipped else "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--part")
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--doubtful", action="store_true")
    options = parser.parse_args()
    if options.doubtful:
        print("".join(name + "\n" for name in doubtful(options.folder, options.part)), end="")
        return 0
    total = read_all(options.folder, options.part)
    if options.part:
        print("%-10s %s (%d s)" % (options.part, verdict(total), options.seconds), flush=True)
        return 0
    for name in total.skips:
        print("skipped: " + name)
    for name in total.unsteady:
        print("unsteady: %s failed beside others and passed twice alone (logs/%s.log)" % (name, name.split(":")[0]))
    seen = set()
    for name, log in total.failures:
        print("\nFAILED: " + name)
        if log not in seen:
            print("\n".join("    " + line for line in log.split("\n")))
        seen.add(log)
    if total.failures:
        print("\nfailed:")
        for name, _ in total.failures:
            print("  " + name)
    if not total.passed and not total.failures:
        total.fail("no test ran", "")
    print(verdict(total))
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
