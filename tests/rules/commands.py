#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every command that README.md and docs/ show is run by a test. Those of RUN are run by tests/integration/commands.py as
they stand there; of the others KNOWN and LONG name the test, and a word that must stand in it. A command that is in none fails,
and so does a row that no command needs."""
import os
import re

from rules import ROOT, Tap, files, read

# What people read first to last. Their templates (tests/natlab/*.md) come out as docs/bench.
PAGES = ("README.md", "CONTRIBUTING.md", "docs/", "examples/README.md", "tests/bench/README.md")
# Blocks that are no commands: bytes, JSON, HTTP and formulas.
NO_COMMANDS = ("docs/PROTOCOL.md", "docs/design/")
# Between backticks in a sentence, what begins so is a command; in a block, every line is.
PROGRAMS = re.compile(
    r"(?:sudo )?(?:[A-Z_]+=\S+ )*(?:(?:gst-(?:launch|play|inspect)-1\.0|natrelay-(?:server|token|camera)|systemctl|journalctl|ninja|meson"
    r"|curl|tshark|openssl|apt|apt-get|man|sysctl|export) \S|(?:tests|examples|build)/[\w./-]+ [-\w])")

# (the command, from its first word on; the file of the test; what stands in it)
KNOWN = [
    (r"examples/quickstart$", "tests/bare-debian", "play quickstart examples/quickstart"),
    (r"tests/run$", "tests/bare-debian", "play tests tests/run"),
    (r"tests/install-packages build run( lab test)?$", "examples/quickstart", "tests/install-packages build run lab"),
    (r"(meson setup build && )?ninja -C build$", "examples/quickstart", "meson setup build"),
    (r"(meson setup build && )?meson test -C build( --suite proto)?$", "tests/run", "meson test -C"),
    (r"meson test -C build client/session --setup=valgrind$", "tests/run", "--setup=valgrind"),
    (r"meson test -C build --setup=leaks --suite elements$", "tests/run", "--setup=leaks --suite elements"),
    (r"meson test -C build integration/meeting$", "tests/integration/meson.build", "'integration/meeting'"),
    (r"(sudo |build/ext/natserver/)?natrelay-server status", "tests/integration/status.py", 'server_program(), "status"'),
    (r"NATRELAY_SCREENSHOTS=DIR meson test -C build browser/statuspage-firefox$", "tests/run", "--suite browser"),
    (r"sudo natrelay-token create --list", "tests/integration/token-tool.sh", "--list"),
    (r"build/ext/natserver/natrelay-server$", "tests/integration/relay.py", "server_program()"),
    (r"natrelay-server --workers N$", "tests/integration/meeting.py", '"--workers", "4"'),
    (r"ninja -C build install$", "tests/integration/install.sh", "meson install -C"),
    (r"examples/packaging/build-deb$", "tests/bare-service", "examples\\/packaging\\/build-deb"),
    (r"sudo apt install ./out/deb/natrelay-server_", "tests/bare-service", '"cd /root && { ${way[i]}; }'),
    (r"sudo install -o natrelay", "tests/bare-service", '"cd /root && { ${way[i]}; }'),
    (r"sudo sed -Ei .* && sudo systemctl reload", "tests/bare-service", '"cd /root && { ${way[i]}; }'),
    (r"sudo natrelay-token create --(publish|subscribe) door", "tests/bare-service", '"cd /root && { ${way[i]}; }'),
    (r"sudo journalctl -u natrelay-server \| grep fingerprint$", "tests/bare-service", "journalctl -u natrelay-server"),
    (r"systemctl reload natrelay-server$", "tests/bare-service", "systemctl reload natrelay-server"),
    (r"man natrelay-(server|camera)$", "tests/integration/install.sh", "man_page natrelay-camera"),
    (r"natrelay-camera rtsp://", "tests/check/elements/natrelaycamera.c", "NATRELAY_CAMERA"),
    (r"(build/)?examples/meeting (--room|--test)", "tests/integration/people.py", '"--room"'),
    (r"build/examples/call --uri", "tests/natlab/scenarios/call.sh", "$build/examples/call"),
    (r"build/examples/(send|show|record|adaptive|embed) --uri", "tests/integration/examples.py", "def example("),
    (r"examples/snapshot\.py ", "tests/integration/examples.py", "examples/snapshot.py"),
    (r"examples/browser\.py ", "tests/integration/browserexample.py", '"examples/browser.py"'),
    (r"export GST_PLUGIN_PATH=(\$PWD/)?build/gst/natrelay", "tests/integration/meson.build", "GST_PLUGIN_PATH_1_0"),
    (r"natrelay-token inspect$", "tests/integration/token-tool.sh", "run 0 inspect"),
    (r"tests/natlab/natlab .* -- bash$", "tests/natlab/scenario", 'exec "$here/natlab" "$@"'),
    (r"tests/natlab/scenario .*/(call|instant|room)\.sh", "tests/natlab/meson.build", "call.sh"),
    (r"tests/natlab/scenarios/attack\.sh 50000$", "tests/natlab/meson.build", "attack.sh"),
    (r"link=delay=20(,loss=1)?$", "tests/natlab/meson.build", "delay=20,loss=1"),
    (r"tshark -i lo -Y stun$", "tests/natlab/scenarios/capture.sh", "tshark"),
    (r"apt install coturn gstreamer1\.0-tools", "tests/packages", "gstreamer1.0-tools"),
    (r"sysctl net\.core\.rmem_default=", "tests/bench/lab.py", "/proc/sys/net/core/{name}_default"),
    (r"NATRELAY_SIM_RUNS=5000 build/tests/sim/session-sim", "tests/sim/meson.build", "session-sim"),
    (r"build/tests/sim/repair-sim --table 6000$", "tests/sim/meson.build", "repair-sim"),
]

# What takes long, or a quiet machine: a test runs the program, shorter, and tests/integration/commands.py looks whether
# it has the options that are shown.
LONG = [
    (r"tests/run (--quick|--long|natlab)$", "tests/bare-debian", "play tests tests/run"),
    (r"tests/bench/run ", "tests/run", "tests/bench/run --short"),
    (r"tests/bench/secrecy\.py ", "tests/integration/commands.py", "secrecy.py"),
    (r"tests/bench/costs --wire$", "tests/integration/commands.py", "costs"),
    (r"tests/bench/rivals BUILD$", "tests/integration/commands.py", "rivals"),
    (r"tests/bench/hostile\.py ", "tests/run", "tests/bench/hostile.py"),
    (r"tests/natlab/links ", "tests/natlab/meson.build", "'natlab/links'"),
    (r"tests/natlab/recovery ", "tests/natlab/meson.build", "'natlab-long/recovery'"),
    (r"tests/fuzz/long ", "tests/run", "tests/fuzz/long --minutes"),
    (r"tests/natlab/chaos ", "tests/run", "tests/natlab/chaos --minutes 30"),
]

# Run by tests/integration/commands.py.
RUN = [
    r"gst-launch-1\.0 .*natrelay",
    r"gst-play-1\.0 natrelay://",
    r"gst-launch-1\.0 -m …$",
    r"(build/ext/natserver/)?natrelay-server --open",
    r"natrelay-token create",
    r"curl -k https://127\.0\.0\.1:8443/metrics$",
    r"openssl rand -base64 32$",
    r"meson devenv -C build",
    r"NATRELAY_SIM_SEED=9 build/tests/sim/session-sim$",
]


def blocks(text):
    """(line number, line) of code: fenced, or indented after an empty line."""
    fenced = inside = False
    before = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced:
            yield number, line.strip()
        elif line.startswith("    ") and (inside or not before.strip()):
            inside = True
            yield number, line.strip()
        elif line.strip():
            inside = False
        before = line


def joined(lines):
    """Lines that end in a backslash go on."""
    whole, begin = "", 0
    for number, line in lines:
        begin = begin or number
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        yield begin, re.sub(r"\s{2,}# .*|\s+# .*$", "", whole).strip()
        whole, begin = "", 0


def commands():
    """(path, line number, command) of all pages."""
    for path in files(".md", under=PAGES):
        text = read(path)
        if not path.startswith(NO_COMMANDS):
            for number, command in joined(blocks(text)):
                if command:
                    yield path, number, command
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith("    "):
                continue
            for inline in re.findall(r"`([^`]+)`", line):
                if PROGRAMS.match(inline):
                    yield path, number, inline


def is_run(command):
    return any(re.match(pattern, command) for pattern in RUN)


def is_long(command):
    return any(re.match(pattern, command) for pattern, _, _ in LONG)


def main():
    tap = Tap()
    shown = list(commands())
    tap.check("the pages show commands (%d)" % len(shown), [] if len(shown) > 50 else ["that are few"])
    tap.check("each of them is run by a test", [
        "%s:%d: no test runs: %s" % (path, number, command) for path, number, command in shown
        if not is_run(command) and not any(re.match(pattern, command) for pattern, _, _ in KNOWN + LONG)])
    tap.check("the tests that are named run them", [
        "%s does not say %r (for %s)" % (path, word, pattern) for pattern, path, word in KNOWN + LONG
        if not os.path.exists(os.path.join(ROOT, path)) or word not in read(path)])
    tap.check("each row is needed", [
        pattern for pattern in [row[0] for row in KNOWN + LONG] + RUN
        if not any(re.match(pattern, command) for _, _, command in shown)])
    tap.end()


if __name__ == "__main__":
    main()
