#!/usr/bin/python3
# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes natrelaysink.md and natrelaysrc.md beside it: properties, signals and pads as GStreamer's registry has them, and
the sentences of the documentation comments in gst/natrelay. The test integration/element-pages compares.

    meson devenv -C build ../docs/elements/generate.py            # renews them
    meson devenv -C build ../docs/elements/generate.py --check    # are they current?

Needs python3-gi and gir1.2-gstreamer-1.0 (Debian's names)."""

import argparse
import difflib
import glob
import os
import re
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GObject, Gst  # noqa: E402  (the version comes first)

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCES = os.path.join(HERE, "..", "..", "gst", "natrelay")
ELEMENTS = ("natrelaysink", "natrelaysrc")
RENEW = "meson devenv -C build ../docs/elements/generate.py"
WORDS = {
    "gchararray": "string", "gboolean": "boolean", "gint": "integer", "guint": "unsigned integer", "gint64": "integer",
    "guint64": "unsigned integer", "gdouble": "number", "GstStructure": "structure", "GTlsDatabase": "GTlsDatabase",
    "void": "nothing",
}


# ---- the sources' comments ------------------------------------------------------


def comments():
    """(text, path) of each documentation comment, without its stars."""
    for path in sorted(glob.glob(os.path.join(SOURCES, "*.c"))):
        with open(path, encoding="utf-8") as file:
            for block in re.findall(r"/\*\*\n(.*?)\n *\*/", file.read(), re.S):
                yield re.sub(r"^ *\* ?", "", block, flags=re.M), os.path.basename(path)


class Comment:
    """What a block says: its title, its @parameters, its paragraphs, and what it says is returned."""

    def __init__(self, text):
        title, _, rest = text.partition("\n")
        self.title = title.strip()
        self.parameters, self.paragraphs, self.returns = [], [], ""
        rest = re.sub(r"^(Since|Deprecated):.*$", "", rest, flags=re.M)
        for paragraph in re.split(r"\n\s*\n", rest.strip("\n")):
            if paragraph.startswith("Returns:"):
                self.returns = join(re.sub(r"\([a-z ]+\)", "", paragraph[8:]).strip().lstrip(":"))
            elif paragraph.startswith("@"):
                for entry in re.split(r"\n(?=@)", paragraph):
                    name, _, words = entry[1:].partition(":")
                    self.parameters.append((name.strip(), join(words)))
            elif paragraph.strip():
                self.paragraphs.append(paragraph)


def join(text):
    return " ".join(text.split())


def prose(text, kind=None):
    """gtk-doc's marks, as Markdown. kind: whose page it is, where the other's properties must be told apart."""
    if kind == "GstNatRelaySink":
        text = re.sub(r"#GstNatRelaySrc::?([a-z-]+)", r"natrelaysrc's `\1`", text)
    text = re.sub(r"#GstNatRelay\w+::?([a-z-]+)", r"`\1`", text)
    text = re.sub(r"[#%]([A-Z]\w+)", r"`\1`", text)
    return join(text.replace("\\*", "*"))


def sections(text):
    """(paragraphs, [(pipeline, what it does)]) of a SECTION comment."""
    text = text.partition("\n\n")[2]
    text, _, examples = text.partition("## Example launch lines")
    examples = re.findall(r"\|\[\n(.*?)\n\]\| (.*?)(?=\n\|\[|\n\n|\Z)", examples, re.S)
    return [prose(p) for p in text.split("\n\n") if p.strip()], [(join(line), prose(words)) for line, words in examples]


class Sources:
    def __init__(self):
        self.sections, self.members, self.messages = {}, {}, []
        for text, _path in comments():
            title = text.partition("\n")[0].strip()
            if title.startswith("SECTION:element-"):
                self.sections[title.rpartition("-")[2]] = sections(text)
            elif title.startswith("message "):
                self.messages.append(Comment(text))
            elif title.startswith("GstNatRelay"):
                self.members[title.rstrip(":")] = Comment(text)

    def member(self, kind, separator, name):
        """The element's own comment, or the one that stands for both."""
        for klass in (kind, "GstNatRelaySink"):
            found = self.members.get(klass + separator + name)
            if found:
                return found
        raise SystemExit("gst/natrelay says nothing of %s%s%s: write a documentation comment" % (kind, separator, name))

    def posted(self):
        """Names of element messages in the code."""
        names = set()
        for path in glob.glob(os.path.join(SOURCES, "*.c")):
            with open(path, encoding="utf-8") as file:
                code = re.sub(r"/\*.*?\*/", " ", file.read(), flags=re.S)
            names.update(re.findall(r'"(natrelay-[a-z-]+)"', code))
        return names


# ---- the registry -----------------------------------------------------------------


def type_words(gtype):
    return WORDS.get(gtype.name, gtype.name)


def default_value(pspec):
    """From PyGObject 3.50 on, the field default_value is a bare number for enumerations and flags."""
    return pspec.get_default_value() if hasattr(pspec, "get_default_value") else pspec.default_value


def value_words(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "unset"
    if hasattr(value, "value_nick"):
        return value.value_nick
    if hasattr(value, "value_nicks"):  # the last is the one that has all others in it, if there is such a one
        return value.value_nicks[-1] if value.value_nicks else "0"
    if isinstance(value, float):
        return "%g" % value
    return str(value)


def choices(pspec):
    """Rows of an enumeration's values: nick and what it means; nothing for other types."""
    if not hasattr(pspec, "enum_class"):
        return []
    return [(v.value_nick, v.value_name) for v in type(default_value(pspec)).__enum_values__.values()]


def range_words(pspec):
    low, high = getattr(pspec, "minimum", None), getattr(pspec, "maximum", None)
    if low is None or high is None or isinstance(pspec.default_value, bool):
        return ""
    if high in (2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1) or high > 1e300:
        return "%g or more" % low
    return "%g to %g" % (low, high)


def when_words(pspec):
    flags = pspec.flags
    if not flags & GObject.ParamFlags.WRITABLE:
        return "read only; it changes by itself"
    text = "" if flags & GObject.ParamFlags.READABLE else "cannot be read back; "
    if int(flags) & int(Gst.PARAM_MUTABLE_PLAYING):
        return text + "may be set at any time"
    if int(flags) & int(Gst.PARAM_MUTABLE_PAUSED):
        return text + "set it before PLAYING"
    return text + "set it before the element starts (NULL or READY)"


def properties(element):
    base = {p.name for p in GObject.list_properties(Gst.Bin.__gtype__)}
    return sorted((p for p in element.list_properties() if p.name not in base), key=lambda p: p.name)


def property_text(pspec, kind, sources):
    facts = [type_words(pspec.value_type)]
    if range_words(pspec):
        facts.append(range_words(pspec))
    if pspec.flags & GObject.ParamFlags.WRITABLE:
        facts.append("default %s" % value_words(default_value(pspec)))
    facts.append(when_words(pspec))
    lines = ["### `%s`" % pspec.name, "", "*%s*" % "; ".join(facts), "", pspec.blurb + ".", ""]
    for nick, meaning in choices(pspec):
        lines.append("- `%s`: %s" % (nick, meaning[:1].lower() + meaning[1:] if meaning[1:2].islower() or meaning[1:2] == " " else meaning))
    if choices(pspec):
        lines.append("")
    for paragraph in sources.member(kind, ":", pspec.name).paragraphs:
        lines += [prose(paragraph, kind), ""]
    return lines


def signal_text(name, gtype, kind, sources):
    query = GObject.signal_query(name, gtype)
    comment = sources.member(kind, "::", name)
    types = [type_words(t) for t in query.param_types]
    parameters = comment.parameters[1:] if comment.parameters else []
    if len(parameters) != len(types):
        raise SystemExit("%s::%s has %d parameters, and %d are documented" % (kind, name, len(types), len(parameters)))
    lines = ["### `%s`" % name, ""]
    lines += ["- `%s` (%s): %s" % (p[0], t, prose(p[1])) for p, t in zip(parameters, types)]
    if query.return_type.name != "void":
        lines.append("- returns %s: %s" % (type_words(query.return_type), prose(comment.returns)))
    if len(lines) > 2:
        lines.append("")
    for paragraph in comment.paragraphs:
        lines += [prose(paragraph), ""]
    return lines


def signals(gtype, actions):
    names = GObject.signal_list_names(gtype)
    for name in sorted(names):
        query = GObject.signal_query(name, gtype)
        if bool(query.signal_flags & GObject.SignalFlags.ACTION) == actions:
            yield name


def pad_text(factory):
    lines = ["| pad | direction | presence | caps |", "|---|---|---|---|"]
    for template in sorted(factory.get_static_pad_templates(), key=lambda t: t.name_template):
        names = [s.get_name() for s in structures(template.get_caps())]
        shown = list(dict.fromkeys(names))
        lines.append("| `%s` | %s | %s | %s |" % (
            template.name_template, template.direction.value_nick, template.presence.value_nick,
            ", ".join("`%s`" % n for n in shown)))
    return lines + [""]


def structures(caps):
    return [caps.get_structure(i) for i in range(caps.get_size())]


def message_text(comment, element):
    name, _, who = comment.title[len("message "):].partition(":")
    if who.strip() not in ("(both)", "(%s)" % element):
        return []
    lines = ["### `%s`" % name, ""]
    for field, words in comment.parameters:
        kind, _, meaning = words.partition(":")
        lines.append("- `%s` (%s): %s" % (field, WORDS.get(kind, kind), prose(meaning)))
    lines.append("")
    for paragraph in comment.paragraphs:
        lines += [prose(paragraph), ""]
    return lines


# ---- the pages ----------------------------------------------------------------------


def page(name, sources):
    factory = Gst.ElementFactory.find(name)
    if factory is None:
        raise SystemExit("GStreamer does not find %s: set GST_PLUGIN_PATH, or use\n    %s" % (name, RENEW))
    element = factory.create(None)
    gtype = element.__gtype__
    kind = gtype.name
    text, examples = sources.sections[name]
    lines = [
        "<!-- Made by docs/elements/generate.py; change the comments in gst/natrelay, not this. -->", "# %s" % name, "",
        "%s. *%s, rank %d.*" % (factory.get_metadata("description"), factory.get_metadata("klass"), factory.get_rank()),
        "",
    ]
    for paragraph in text:
        lines += [paragraph, ""]
    lines += ["## Example pipelines", ""]
    for pipeline, words in examples:
        lines += [words, "", "    " + pipeline, ""]
    lines += ["Programs in C and Python that use it, with what they do on each message, are in [examples](../../examples/README.md).", ""]
    lines += ["## Pads", ""] + pad_text(factory)
    lines += ["## Properties", "",
              "What can be set, except objects and the URI itself, can be given in the URI as well: `natrelay://HOST/STREAM?NAME=VALUE&…`.",
              ""]
    for pspec in properties(element):
        lines += property_text(pspec, kind, sources)
    for title, actions in (("Signals", False), ("Actions", True)):
        names = list(signals(gtype, actions))
        if names:
            lines += ["## " + title, ""]
        for signal in names:
            lines += signal_text(signal, gtype, kind, sources)
    lines += ["## Element messages", "",
              "Posted on the bus, beside PROGRESS messages with the codes `negotiate`, `challenge` and `register`.", ""]
    for comment in sorted(sources.messages, key=lambda c: c.title):
        lines += message_text(comment, name)
    return "\n".join(lines).rstrip() + "\n"


def undocumented(sources):
    documented = {c.title[len("message "):].partition(":")[0] for c in sources.messages}
    posted = sources.posted()
    for name in sorted(posted - documented):
        print("%s is posted, and no comment \"message %s:\" in gst/natrelay tells of it" % (name, name))
    for name in sorted(documented - posted):
        print("%s is documented, and nothing posts it" % name)
    return posted != documented


def main():
    parser = argparse.ArgumentParser(description="Writes the pages of the elements.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    options = parser.parse_args()
    Gst.init(None)
    sources = Sources()
    bad = undocumented(sources)
    for name in ELEMENTS:
        path = os.path.join(HERE, name + ".md")
        new, old = page(name, sources), ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                old = file.read()
        if new == old:
            continue
        if options.check:
            bad = True
            sys.stdout.writelines(difflib.unified_diff(
                old.splitlines(True), new.splitlines(True), "docs/elements/%s.md" % name, "as it should be", n=1))
        else:
            with open(path, "w", encoding="utf-8") as file:
                file.write(new)
            print("written: docs/elements/%s.md" % name)
    if bad and options.check:
        print("To renew the pages:\n    %s" % RENEW)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
