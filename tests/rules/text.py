#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the project's text must and must not say."""
import os
import re

from rules import ROOT, Tap, files, read

# In pieces, or this file would fail its own test.
UNFINISHED = r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"
# A project speaks of itself: not of the machine it was written on, nor of what helped to write it.
MACHINE = r"(?<![\w.])/(work|home)/\w|/tmp/b" r"-"
HELPERS = r"(?i)\b(cl" r"aude|chat" r"gpt|co" r"pilot|an" r"thropic|open" r"ai|ll" r"m)\b"

TEXT = (".c", ".h", ".def", ".py", ".sh", ".md", ".build", ".txt", ".conf", ".in", ".service", ".1",
        ".5", ".gv", ".supp", ".css", ".html")
LICENCE = "SPDX-License-Identifier: LGPL-2.1-or-later"


def scripts():
    """Programs without an ending."""
    return [p for p in files(under=("tests/", "examples/", ".ci/"))
            if "." not in p.rsplit("/", 1)[-1] and read(p).startswith("#!")]


# A link of a page, from where it stands; and a page that text names, from the top.
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
PAGE = re.compile(r"(?<![\w./-])docs/[\w./-]+\.md")


def missing(paths):
    for path in paths:
        for number, line in enumerate(read(path).split("\n"), 1):
            links = [os.path.join(os.path.dirname(path), l) for l in LINK.findall(line)] if path.endswith(".md") else []
            for target in links + PAGE.findall(line):
                if not os.path.exists(os.path.join(ROOT, target)):
                    yield "%s:%d: there is no %s" % (path, number, target)


# A link into a page, or within its own.
PLACE = re.compile(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)")


def places(path):
    """What can stand behind '#': of each heading its words, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", read(path), re.M)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def targets(page):
    return [os.path.normpath(os.path.join(os.path.dirname(page), link)) for link in LINK.findall(read(page))]


def misplaced(pages):
    for page in pages:
        for link, place in PLACE.findall(read(page)):
            target = os.path.normpath(os.path.join(os.path.dirname(page), link)) if link else page
            if os.path.exists(os.path.join(ROOT, target)) and place not in places(target):
                yield "%s: %s has no heading for #%s" % (page, target, place)


def unreached(pages):
    """Who begins at README.md and follows links does not get there."""
    seen, new = set(), {"README.md"}
    while new:
        seen |= new
        new = {target for page in new for target in targets(page) if target in pages} - seen
    return [page for page in pages if page.startswith(("docs/", "examples/")) and page not in seen]


def found(pattern, paths):
    for path in paths:
        for number, line in enumerate(read(path).split("\n"), 1):
            if re.search(pattern, line):
                yield "%s:%d: %s" % (path, number, line.strip()[:80])


def main():
    tap = Tap()
    every = [p for p in files(*TEXT) + scripts()
             if not p.startswith(("tests/vectors/", "COPYING"))]
    programs = [p for p in files(".c", ".h", ".py", ".sh") + scripts()]
    tap.check("nothing is left to be done later (%d files)" % len(every),
              list(found(UNFINISHED, every)))
    tap.check("no path of somebody's machine", list(found(MACHINE, every)))
    tap.check("the project speaks of itself alone", list(found(HELPERS, every)))
    tap.check("every page that is named is there", list(missing(every)))
    pages = files(".md")
    tap.check("every heading that is linked is there", list(misplaced(pages)))
    tap.check("every page is reached from README.md", unreached(pages))
    tap.check("every source names its licence (%d files)" % len(programs),
              [p for p in programs if LICENCE not in read(p)[:400]])
    tap.check("no blanks at line ends, no tabs in C",
              ["%s:%d" % (p, n) for p in programs for n, line in enumerate(read(p).split("\n"), 1)
               if line != line.rstrip() or (p.endswith((".c", ".h")) and "\t" in line)])
    tap.end()


if __name__ == "__main__":
    main()
