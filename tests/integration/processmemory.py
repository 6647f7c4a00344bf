# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Looks through all that another process can read, while it stands still. As whoever runs it, where it lets itself be
looked into (--core-dumps), or as root."""

import signal

LARGEST = 1 << 30  # a sanitizer's shadows are larger, and hold nothing that was written


def pieces(process):
    process.send_signal(signal.SIGSTOP)
    try:
        with open("/proc/%d/maps" % process.pid) as maps, open("/proc/%d/mem" % process.pid, "rb", 0) as mem:
            for line in maps:
                span, rights = line.split()[:2]
                begin, end = (int(part, 16) for part in span.split("-"))
                if rights[0] != "r" or end - begin > LARGEST or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                    continue
                mem.seek(begin)
                try:
                    yield mem.read(end - begin)
                except OSError:  # a mapping of a file that is shorter
                    pass
    finally:
        process.send_signal(signal.SIGCONT)


def found(process, wanted):
    """The names of what is there, of {name: bytes}, and how many bytes were looked through."""
    names, size = set(), 0
    for piece in pieces(process):
        size += len(piece)
        names.update(name for name, data in wanted.items() if data in piece)
    return names, size
