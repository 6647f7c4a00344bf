#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each promise and each attack in docs/SECURITY.md names the test that holds it, and each test that is named is in the tree
and runs. A name is `suite/program`, with the cases of it behind in brackets: `server/attacks` (mapping_theft, bid_down)."""
import os
import re

from rules import ROOT, Tap, files, read

PAGE = "docs/SECURITY.md"
TABLES = ("What is promised", "Attacks", "The hard shell")  # sections whose every row needs a test
ATTACKS = 24
NAME = re.compile(r"`((?:proto|client|server|elements|generic|sim|integration|natlab|fuzz|rules|bench)/[a-z0-9-]+)`(?: \(([^)]*)\))?")
SOURCES = ("tests/check/%s.c", "tests/%s.py", "tests/%s.sh", "tests/%s-sim.c")


def sections(text):
    """{heading: lines below it}"""
    found, name = {}, ""
    for line in text.split("\n"):
        if line.startswith("#"):
            name = line.lstrip("# ")
        found.setdefault(name, []).append(line)
    return found


def rows(lines):
    """Cells of each row of the tables there, without their heads."""
    for i, line in enumerate(lines):
        if not line.startswith("|") or line.startswith("|---"):
            continue
        if i + 1 < len(lines) and lines[i + 1].startswith("|---"):
            continue
        yield [cell.strip() for cell in line.strip("|").split("|")]


def source_of(name):
    return next((s % name for s in SOURCES if os.path.exists(os.path.join(ROOT, s % name))), None)


def is_run(name):
    """Some meson.build has it: whole, or its program's name in a list of the suite."""
    suite, program = name.split("/")
    folder = {"natlab": "tests/natlab", "integration": "tests/integration", "fuzz": "tests/fuzz", "sim": "tests/sim",
              "rules": "tests/rules", "bench": "tests/bench"}.get(suite, "tests/check/" + suite)
    text = read(folder + "/meson.build")
    return re.search(r"'(%s/)?%s'|\['%s'" % (suite, re.escape(program), re.escape(program)), text) is not None


def has_case(text, case):
    """Defined, and also added where a program keeps a list."""
    name = "test_" + case.strip().replace("-", "_")
    if re.search(r"^def %s\b" % name, text, re.M):
        return True
    return len(re.findall(r"\b%s\b" % name, text)) >= 2 or re.search(r'"/[\w/-]*/%s"' % case.strip().replace("_", "-"), text)


def missing(name, cases):
    source = source_of(name)
    if not is_run(name):
        yield "%s is run by no meson.build" % name
    if source is None:
        if not name.startswith(("natlab/", "fuzz/")) or cases:
            yield "%s has no source" % name
        return
    text = read(source)
    for case in filter(None, (c.strip() for c in cases.split(","))):
        if not has_case(text, case):
            yield "%s has no case %s" % (source, case)


def main():
    tap, text = Tap(), read(PAGE)
    named = NAME.findall(text)
    tap.check("docs/SECURITY.md names tests (%d)" % len(named), [] if len(named) > 40 else ["few"])
    tap.check("each of them is there", sorted({p for name, cases in named for p in missing(name, cases)}))
    found = sections(text)
    for heading in TABLES:
        bare = ["%s: %s" % (heading, cells[0]) for cells in rows(found.get(heading, [])) if not NAME.search(cells[-1])]
        tap.check("\"%s\": every row has its test" % heading, bare if heading in found else ["there is no such section"])
    attacks = list(rows(found.get("Attacks", [])))
    tap.check("at least %d attacks (%d)" % (ATTACKS, len(attacks)), [] if len(attacks) >= ATTACKS else ["few"])
    # Whoever writes an attack writes its outcome down, too.
    told = {(name, c.strip().replace("-", "_")) for name, cases in named for c in cases.split(",")}
    for path in files(".c", ".py", under=("tests/check/server/attacks", "tests/integration/attacks-")):
        name = re.sub(r"tests/(check/)?(.*)\.(c|py)$", r"\2", path)
        cases = set(re.findall(r"^(?:def )?test_(\w+) ?\(", read(path), re.M))
        tap.check("every attack of %s is in the list (%d)" % (name, len(cases)),
                  sorted(c for c in cases if (name, c) not in told))
    tap.end()


if __name__ == "__main__":
    main()
