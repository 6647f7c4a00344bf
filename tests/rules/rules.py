# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the rule tests share: the project's files, and TAP."""
import os
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def files(*endings, under=("",)):
    """Paths of the project's own files, from the top: those git knows or would take, or, in an
    unpacked archive, all but what a build made."""
    try:
        names = subprocess.run(
            ["git", "-C", ROOT, "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = []
        for folder, folders, here in os.walk(ROOT):
            folders[:] = [f for f in folders if not f.startswith((".", "build")) and f != "out"]
            names += [os.path.relpath(os.path.join(folder, name), ROOT) for name in here]
    return sorted(n for n in set(names) if n and n.endswith(endings or ("",))
                  and n.startswith(tuple(under)) and os.path.isfile(os.path.join(ROOT, n)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def check(self, text, problems):
        """One test: it holds if the list of problems is empty."""
        self.count += 1
        self.failed += bool(problems)
        for problem in problems:
            print("#", problem)
        print("%s %d - %s" % ("not ok" if problems else "ok", self.count, text), flush=True)

    def end(self):
        print("1..%d" % self.count)
        sys.exit(1 if self.failed else 0)
