#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads every #include and fails on a wrong direction. docs/ARCHITECTURE.md has the rule in
words: gst/ may see GStreamer, ext/ may not, and each folder includes only to its right."""
import fnmatch
import re

from rules import ROOT, Tap, files, read

# A part of the house (first pattern that fits the including file), and what it may include of
# the others. Its own folder is always allowed.
PARTS = [
    ("gst/natrelay/*", ["natclient/session.h", "natproto/*"]),
    ("gst/camera/*", ["natproto/*"]),
    ("ext/natproto/*", []),
    ("ext/natclient/*", ["natproto/*"]),
    ("ext/natserver/control/*", ["natproto/*", "natserver/data/dataplane.h", "natserver/counters.*",
                                 "natserver/observe/*"]),
    ("ext/natserver/data/*", ["natproto/*", "natserver/counters.*"]),
    ("ext/natserver/observe/*", ["natproto/*", "natserver/counters.*"]),
    ("ext/natserver/counters.*", ["natproto/*"]),
    ("ext/natserver/status/*", ["natproto/*", "natserver/control/tls.h", "natserver/control/keyfile.h",
                                "natserver/statedir.h"]),
    # The programs: they put the parts together, and see no insides of the packet path.
    ("ext/natserver/*", ["natproto/*", "natserver/control/*", "natserver/data/dataplane.h",
                         "natserver/observe/*", "natserver/counters.*", "natserver/status/command.h"]),
]

# An outside library is seen by few files, so that it can be replaced.
LIBRARIES = [
    ("gst/*", "GStreamer", ["gst/natrelay/*", "gst/camera/*"]),
    ("gnutls/*", "GnuTLS", ["ext/natproto/crypto.c", "ext/natserver/control/tls.c"]),
    ("libsoup/*", "libsoup", ["ext/natclient/negotiator*", "ext/natclient/websocket*.c",
                              "ext/natserver/control/http.c", "ext/natserver/control/fetch.c"]),
    ("wslay/*", "wslay", ["ext/natserver/control/websocket.c"]),
    ("json-glib/*", "json-glib", ["ext/natproto/json.h", "ext/natproto/negotiation.c",
                                  "ext/natproto/token.c", "ext/natserver/control/*",
                                  "ext/natserver/status/*"]),
    ("gio/*", "GIO", ["gst/*", "ext/natclient/*", "ext/natserver/control/*", "ext/natserver/*.[ch]"]),
    ("srtp2/*", "libsrtp2", []),
    ("hiredis/*", "hiredis", []),
]

# Calls that say more than an include: who may do what.
CALLS = [
    ("bytes only: no socket, thread, clock or log in natproto", "ext/natproto/*",
     r"\b(socket|sendto|recvfrom|sendmsg|recvmsg|bind|connect|pthread_create|g_thread_new|time"
     r"|clock_gettime|gettimeofday|g_get_monotonic_time|g_get_real_time|g_message|g_warning"
     r"|g_debug|g_info|g_critical|g_log|g_print|g_printerr|printf) \("),
    ("the system's batch calls are in udpio alone", "ext/natserver/*",
     r"\b(sendmmsg|recvmmsg) \("),
    ("offload is known to udpio and udpsocket alone", "ext/natserver/*", r"\bUDP_(SEGMENT|GRO)\b"),
    ("the packet path knows no GIO, soup or JSON", "ext/natserver/data/*",
     r"\b(g_socket_|soup_|json_)\w+ \("),
]
CALLERS = {"the system's batch calls are in udpio alone": "ext/natserver/data/udpio.*",
           "offload is known to udpio and udpsocket alone": "ext/natserver/data/udp[is]o*"}

# What has no category of its own goes to GStreamer's, and GST_DEBUG=natrelay*:6 does not show it.
LOGS = re.compile(r"\bGST_(ERROR|WARNING|INFO|DEBUG|LOG|TRACE)(_OBJECT)? \(")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)


def code(text):
    """Without comments and string literals, so that prose about a call is not a call."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', " ", text, flags=re.S)


def includes(path):
    return [(kind, name) for kind, name in INCLUDE.findall(read(path))]


def first(path, table):
    for row in table:
        if fnmatch.fnmatch(path, row[0]):
            return row
    return None


def folder_of(pattern):
    return pattern.split("*")[0].removeprefix("ext/")


def wrong_directions(path, may):
    own, allowed = folder_of(may[0]), may[1]
    for kind, name in includes(path):
        if not name.startswith(("natproto/", "natclient/", "natserver/")):
            continue
        if kind == "<":
            yield "%s includes <%s>: our own headers stand in quotes" % (path, name)
        inside = name.startswith(own) and first("ext/" + name, PARTS) is may
        if not inside and not any(fnmatch.fnmatch(name, pattern) for pattern in allowed):
            yield "%s may not include %s" % (path, name)


def wrong_libraries(path):
    for kind, name in includes(path):
        row = first(name, LIBRARIES)
        if kind == "<" and row and not any(fnmatch.fnmatch(path, p) for p in row[2]):
            yield "%s may not see %s (<%s>)" % (path, row[1], name)


def relative(path):
    for kind, name in includes(path):
        if name.startswith(".") or (kind == '"' and path.startswith("ext/") and "/" not in name
                                    and name not in ("config.h",)):
            yield '%s includes "%s": write the path from ext/' % (path, name)


def main():
    tap = Tap()
    sources = files(".c", ".h", ".def", under=("ext/", "gst/"))
    problems = ["no sources found below %s" % ROOT] if len(sources) < 20 else []
    problems += ["%s belongs to no part of the house" % s for s in sources if not first(s, PARTS)]
    tap.check("every source file belongs to a part", problems)
    for row in PARTS:
        mine = [s for s in sources if first(s, PARTS) is row]
        tap.check("%s includes only to its right (%d files)" % (row[0], len(mine)),
                  [p for s in mine for p in wrong_directions(s, row)])
    tap.check("what the elements log has a category of ours",
              [s for s in sources if s.startswith("gst/natrelay/") and LOGS.search(code(read(s)))
               and "#define GST_CAT_DEFAULT" not in read(s)])
    tap.check("each outside library is seen by the files that may",
              [p for s in sources for p in wrong_libraries(s)])
    tap.check("headers are named by their path", [p for s in sources for p in relative(s)])
    for text, where, pattern in CALLS:
        tap.check(text, ["%s calls %s" % (s, found.group().rstrip(" ("))
                         for s in sources
                         if fnmatch.fnmatch(s, where)
                         and not fnmatch.fnmatch(s, CALLERS.get(text, ""))
                         for found in [re.search(pattern, code(read(s)))] if found])
    tap.end()


if __name__ == "__main__":
    main()
