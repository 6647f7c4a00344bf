#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""GStreamer 1.20 is enough, and 1.26 complains of nothing: no name that is newer than the version which meson.build asks for
stands outside of GST_CHECK_VERSION, and none that is deprecated anywhere. What is newer, and what 1.22 calls deprecated, is
read in the .gir files of GStreamer's development packages."""
import glob
import os
import re
import sys
import xml.etree.ElementTree as xml

from rules import Tap, files, read

GIR = "/usr/share/gir-1.0/Gst*-1.0.gir"
C = "{http://www.gtk.org/introspection/c/1.0}"

# Of 1.24 and 1.26, for which Debian 12 has no .gir file: functions with quarks in the place of names, which 1.26 has as
# ..._id_str; and the queue that became GstVecDeque.
DEPRECATED_SINCE = r"""gst_structure_(new_id(_empty)?|get_name_id|id_(set|get|take|has)\w*|foreach|map_in_place
    |filter_and_map_in_place)|gst_caps_(foreach|map_in_place|filter_and_map_in_place)_quark|gst_queue_array_\w+
    |gst_play_(set_(audio|video|subtitle)_track)"""

GUARD = re.compile(r"GST_CHECK_VERSION \((\d+), *(\d+), *\d+\)")
NAME = re.compile(r"\b(?:gst_\w+|GST_\w+|Gst\w+)\b")


def version(text):
    found = re.match(r"(\d+)\.(\d+)", text or "")
    return tuple(int(part) for part in found.groups()) if found else (0, 0)


def wanted():
    """The oldest GStreamer that meson.build takes."""
    return version(re.search(r"^gst_required = '>= ([\d.]+)'", read("meson.build"), re.M).group(1))


class Api:
    """Names of GStreamer's: those that came after a version, with theirs; and those that are deprecated."""

    def __init__(self, oldest):
        self.newer, self.deprecated, self.known = {}, set(), 0
        for path in glob.glob(GIR):
            self._read(xml.parse(path).getroot(), oldest, (0, 0))

    def _read(self, node, oldest, since):
        """Whatever is inside of something new is new."""
        for child in node:
            own = max(since, version(child.get("version")), self._said(child))
            name = child.get(C + "identifier") or child.get(C + "type")
            if name and child.tag.rpartition("}")[2] not in ("type", "array"):
                self.known += 1
                if own > oldest:
                    self.newer[name] = own
                if child.get("deprecated") == "1":
                    self.deprecated.add(name)
            self._read(child, oldest, own)

    @staticmethod
    def _said(node):
        """Members of enumerations have it in their words only."""
        if not node.tag.endswith("}member"):
            return (0, 0)
        words = "".join(doc.text or "" for doc in node if doc.tag.endswith("}doc"))
        found = re.search(r"\bSince:? (1\.\d+)", words)
        return version(found.group(1)) if found else (0, 0)


def code(text):
    """Without comments and strings, line by line as it was."""
    blank = lambda found: re.sub(r"[^\n]", " ", found.group())
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def guarded_lines(text):
    """(number, line, the version that a guard promises there)."""
    stack = []
    for number, line in enumerate(text.split("\n"), 1):
        word = re.match(r"\s*#\s*(if|ifdef|ifndef|else|elif|endif)\b", line)
        if word is None:
            yield number, line, max(stack, default=(0, 0))
            continue
        found = GUARD.search(line)
        promised = tuple(int(part) for part in found.groups()) if found and "!" not in line else (0, 0)
        if word.group(1).startswith("if"):
            stack.append(promised)
        elif word.group(1) == "endif":
            if stack:
                stack.pop()
        elif stack:
            stack[-1] = promised


def too_new(path, text, api):
    for number, line, promised in guarded_lines(code(text)):
        for name in NAME.findall(line):
            since = api.newer.get(name)
            if since and since > promised:
                yield "%s:%d: %s is of GStreamer %d.%d: put it inside #if GST_CHECK_VERSION (%d, %d, 0)" % (
                    (path, number, name) + since + since)


def too_old(path, text, api):
    pattern = re.compile(r"\b(?:%s)\b" % re.sub(r"\s", "", DEPRECATED_SINCE))
    for number, line in enumerate(code(text).split("\n"), 1):
        for name in NAME.findall(line):
            if name in api.deprecated or pattern.fullmatch(name):
                yield "%s:%d: %s is deprecated" % (path, number, name)


def main():
    if not glob.glob(GIR):
        if os.environ.get("CI") == "true":
            print("1..1\nnot ok 1 - GStreamer's .gir files are there")
            sys.exit(1)
        print("1..0 # SKIP libgstreamer1.0-dev's .gir files are not installed")
        return
    tap = Tap()
    api = Api(wanted())
    sources = [p for p in files(".c", ".h", under=("gst/", "examples/", "tests/")) if "gst" in read(p)]
    tap.check("the .gir files tell of %d names" % api.known, [] if api.known > 5000 else ["that are few"])
    # The reader of all this, tried on one new name and one old.
    new = sorted(api.newer)[0]
    since = api.newer[new]
    guard = "#if GST_CHECK_VERSION (%d, %d, 0)\n" % since
    tried = [("in the open", "%s ();\n" % new, 1), ("in a comment", "/* %s */\n" % new, 0), ("guarded", guard + new + "\n#endif\n", 0),
             ("behind #else", guard + "#else\n%s\n#endif\n" % new, 1), ("behind the guard", guard + "#endif\n" + new, 1)]
    tap.check("a name that is too new is found (%s)" % new,
              [where for where, text, n in tried if len(list(too_new(where, text, api))) != n])
    tap.check("a name that is deprecated is found",
              [] if list(too_old("x", "gst_structure_foreach (s);", api)) else ["gst_structure_foreach"])
    tap.check("nothing is newer than GStreamer %d.%d (%d files)" % (wanted() + (len(sources),)),
              [p for path in sources for p in too_new(path, read(path), api)])
    tap.check("nothing is deprecated", [p for path in sources for p in too_old(path, read(path), api)])
    tap.end()


if __name__ == "__main__":
    main()
