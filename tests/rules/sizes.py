#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small functions, small files: half of all functions under 15 lines, nine in ten under 50,
no file over 800. The longest are listed, so that one sees what grows."""
from rules import Tap, files, read

HALF, NINE_TENTHS, FILE = 15, 50, 800


def functions(path):
    """(lines of body, path:line) of each; in our layout a body is what stands between a brace
    in column one after a line that does not end a statement, and the next such brace."""
    start = None
    lines = read(path).split("\n")
    for number, line in enumerate(lines, 1):
        if line == "{" and number > 1 and not lines[number - 2].endswith(("=", ";")):
            start = number
        elif line.startswith("}") and start is not None:
            if line == "}":
                yield number - start - 1, "%s:%d" % (path, start - 1)
            start = None


def main():
    tap = Tap()
    sources = files(".c", under=("ext/", "gst/"))
    sizes = sorted(f for path in sources for f in functions(path))
    for length, where in reversed(sizes[-8:]):
        print("# %4d lines  %s" % (length, where))
    median = sizes[len(sizes) // 2][0] if sizes else 0
    most = sizes[len(sizes) * 9 // 10][0] if sizes else 0
    tap.check("there are functions to measure (%d)" % len(sizes), [] if len(sizes) > 50 else ["few"])
    tap.check("half are under %d lines" % HALF,
              [] if median < HALF else ["median is %d" % median])
    tap.check("nine in ten are under %d lines" % NINE_TENTHS,
              [] if most < NINE_TENTHS else ["the ninth decile is %d" % most])
    print("# %d functions, median %d, ninth decile %d" % (len(sizes), median, most))
    long = []
    for path in files(".c", ".h", ".py", ".sh", ".js", ".css", under=("ext/", "gst/", "examples/", "tests/")):
        count = read(path).count("\n")
        if count > FILE:
            long.append("%s has %d lines" % (path, count))
    tap.check("no file is over %d lines" % FILE, long)
    tap.end()


if __name__ == "__main__":
    main()
