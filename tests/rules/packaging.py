#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The version stands in meson.build alone, CHANGELOG.md tells of it, and the Containerfile would build: what it copies is
there and enough for Meson, its commands are shell, and what runs is nobody's root."""
import json
import os
import re
import shutil
import subprocess
import tempfile

from rules import ROOT, Tap, files, read

CONTAINER = "examples/packaging/Containerfile"
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def version():
    return re.search(r"^ *version : '([\d.]+)',$", read("meson.build"), re.M).group(1)


def elsewhere():
    """Whoever needs the number has Meson's; what was measured says of which version."""
    pattern = re.compile(r"(?<![\d.])%s(?![\d.])" % re.escape(version()))
    for path in files(".c", ".h", ".build", ".py", ".in", ".md", ".1", ".conf", "control", "rules", "build-deb", "Containerfile"):
        if path in ("meson.build", "CHANGELOG.md") or path.startswith("docs/bench/"):
            continue
        for number, line in enumerate(read(path).split("\n"), 1):
            # An IP address, or another project's version, looks like one.
            if pattern.search(line) and ("natrelay" in line.lower() or "version" in line.lower()):
                yield "%s:%d: %s" % (path, number, line.strip()[:80])


def changelog():
    text = read("CHANGELOG.md")
    headings = re.findall(r"^## (.*)$", text, re.M)
    if not headings or headings[0] != "[Unreleased]":
        yield "CHANGELOG.md does not begin with ## [Unreleased]"
    dated = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", h) for h in headings[1:]]
    if not all(dated):
        yield "a version's heading is ## [X.Y.Z] - YYYY-MM-DD: %s" % headings[1:]
    elif not dated or dated[0].group(1) != version():
        yield "the newest version in CHANGELOG.md is not meson.build's, %s" % version()
    for kind in re.findall(r"^### (.*)$", text, re.M):
        if kind not in KINDS:
            yield "### %s is none of %s" % (kind, ", ".join(KINDS))
    for name in re.findall(r"^## \[(.*?)\]", text, re.M):
        if not re.search(r"^\[%s\]: https://" % re.escape(name), text, re.M):
            yield "[%s] leads nowhere" % name


def instructions():
    """(stage, word, rest) of the Containerfile."""
    text = re.sub(r"^#.*\n", "", read(CONTAINER), flags=re.M)
    stage = -1
    for line in re.sub(r"\\\n", " ", text).split("\n"):
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            stage += word == "FROM"
            yield stage, word, " ".join(rest.split())


def copied():
    """(sources, destination) of what comes out of the repository."""
    for _, word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from="):
            *sources, to = rest.split()
            yield sources, to


def container():
    steps = list(instructions())
    words = [word for _, word, _ in steps]
    last = max(stage for stage, _, _ in steps)
    if last < 1:
        yield "it has one stage: the compiler would be in what runs"
    for _, word, rest in steps:
        if word == "FROM" and not re.match(r"docker\.io/library/debian:12(-slim)?( AS \w+)?$", rest):
            yield "FROM %s: name registry and version" % rest
        if word == "RUN" and subprocess.run(["sh", "-n"], input=rest, text=True, check=False).returncode:
            yield "RUN is no shell: %s" % rest
        if word == "RUN" and "apt-get install" in rest and not (
                "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest):
            yield "RUN leaves apt's lists or takes recommendations: %s" % rest[:60]
        if word in ("ENTRYPOINT", "CMD"):
            json.loads(rest)
        if word == "COPY" and rest.startswith("--from=") and rest.endswith(" /"):
            yield "COPY %s: a folder lib in it would take the place of Debian's link /lib, and nothing would start" % rest
        if word not in ("FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"):
            yield "%s is no instruction that is needed here" % word
    users = [rest for stage, word, rest in steps if word == "USER" and stage == last]
    if not users or not users[-1].isdigit() or users[-1] == "0":
        yield "what runs is root, or nobody whose number is known: USER %s" % users
    if "HEALTHCHECK" not in words or "ENTRYPOINT" not in words:
        yield "HEALTHCHECK and ENTRYPOINT are not there"
    if "podman build --format docker" not in read(CONTAINER):
        yield "podman forgets the HEALTHCHECK without --format docker"
    for sources, _ in copied():
        for source in sources:
            if not os.path.exists(os.path.join(ROOT, source)):
                yield "COPY %s: there is none" % source
    known = set(re.findall(r"^([a-z0-9.+-]+) +# (?:build)", read("tests/packages"), re.M))
    first = next(rest for stage, word, rest in steps if word == "RUN" and stage == 0)
    named = set(re.search(r"--no-install-recommends (.*?) &&", first).group(1).split())
    yield from ("tests/packages does not know %s as what building needs" % name for name in sorted(named - known))


def ignored():
    """What is copied is what an engine is given."""
    given = {line[1:] for line in read(".containerignore").split("\n") if line.startswith("!")}
    for sources, _ in copied():
        yield from (".containerignore keeps %s away" % s for s in sources if s not in given)


def configures():
    """Meson's own look at what is copied: with the Containerfile's options, in a folder that has nothing else."""
    meson = shutil.which("meson")
    command = next(rest for _, word, rest in instructions() if word == "RUN" and rest.startswith("meson setup"))
    options = re.findall(r"-D\S+|--buildtype=\S+", command.partition("&&")[0])
    with tempfile.TemporaryDirectory() as folder:
        for sources, to in copied():
            for source in sources:
                here, there = os.path.join(ROOT, source), os.path.join(folder, to, os.path.basename(source) if to == "./" else "")
                if os.path.isdir(here):
                    shutil.copytree(here, there)
                else:
                    shutil.copy(here, there)
        done = subprocess.run([meson, "setup", folder + "/build", folder, *options], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            yield done.stdout[-1500:].replace("\n", "\n# ")


def main():
    tap = Tap()
    tap.check("the version (%s) stands in meson.build alone" % version(), list(elsewhere()))
    tap.check("CHANGELOG.md tells of it", list(changelog()))
    tap.check("the Containerfile is as it should be", list(container()))
    tap.check("an engine is given what it copies", list(ignored()))
    if shutil.which("meson"):
        tap.check("what it copies is all that Meson wants", list(configures()))
    tap.end()


if __name__ == "__main__":
    main()
