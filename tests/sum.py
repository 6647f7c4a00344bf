#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Adds up what tests/run has left in its folder of logs.

sum.py FOLDER                            failing tests with the ends of their logs, then the
                                         closing line; the exit code is 1 if any failed
sum.py FOLDER --part PART --seconds N    one line about a part
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


class Sum:
    def __init__(self):
        self.passed = self.skipped = 0
        self.failures = []      # (name, end of its log)
        self.skips = []

    def fail(self, name, log):
        self.failures.append((name, "\n".join(log.rstrip().split("\n")[-TAIL:])))


def count_meson(total, part, entry):
    """One program of Meson's: TAP and check say how many tests it held, others are one."""
    name = "%s: %s" % (part, entry["name"].split(" / ")[-1])
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
    elif result in ("OK", "EXPECTEDFAIL"):
        total.passed += 1
    if result not in ("OK", "EXPECTEDFAIL") and len(total.failures) == failures:
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
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.strip():
                    count_meson(total, part, json.loads(line))
    return total


def verdict(total):
    text = "%d passed, %d failed" % (total.passed, len(total.failures))
    return text + (", %d skipped" % total.skipped if total.skipped else "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--part")
    parser.add_argument("--seconds", type=int)
    options = parser.parse_args()
    total = read_all(options.folder, options.part)
    if options.part:
        print("%-10s %s (%d s)" % (options.part, verdict(total), options.seconds), flush=True)
        return 0
    for name in total.skips:
        print("skipped: " + name)
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
