# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Prometheus' text format, read as strictly as promtool does: a wrong line is an error, and so is what its linter
would complain of. problems() says what is wrong; families() what is there."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(r"(%s)(?:\{((?:%s)(?:,%s)*)?\})? (\S+)" % (NAME, LABEL, LABEL))
TYPES = ("counter", "gauge", "histogram", "summary", "untyped")
# Units that are not base units, and abbreviations of units (promtool's lists).
WRONG_UNITS = (
    "milliseconds microseconds nanoseconds minutes hours days weeks milligrams grams kilograms bits "
    "kilobytes megabytes gigabytes kibibytes mebibytes celsius fahrenheit percent percentage"
).split()
ABBREVIATIONS = "s ms us ns sec b kb mb gb tb pb m h d".split()


class Family:
    def __init__(self, name):
        self.name, self.help, self.type = name, None, None
        self.samples = []  # (name, {label: value}, number)


def family_name(name, known):
    """natrelay_x_bucket belongs to the histogram natrelay_x."""
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and base in known and known[base].type in ("histogram", "summary"):
            return base
    return name


def parse(text):
    """({name: Family}, what is wrong with the lines)."""
    known, wrong, last = {}, [], None
    if not text.endswith("\n"):
        wrong.append("the last line does not end")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        comment = re.fullmatch(r"# (HELP|TYPE) (%s) (.*)" % NAME, line)
        if comment:
            kind, name, rest = comment.groups()
            family = known.setdefault(name, Family(name))
            if family.samples:
                wrong.append("%d: %s of %s after its samples" % (number, kind, name))
            if getattr(family, kind.lower()) is not None:
                wrong.append("%d: a second %s of %s" % (number, kind, name))
            if kind == "TYPE" and rest not in TYPES:
                wrong.append("%d: %s has type %s" % (number, name, rest))
            setattr(family, kind.lower(), rest)
            last = name
            continue
        found = SAMPLE.fullmatch(line)
        if not found:
            wrong.append("%d: cannot be read: %s" % (number, line))
            continue
        name, labels, value = found.group(1), dict(re.findall(LABEL, found.group(2) or "")), found.groups()[-1]
        if len(labels) != len(re.findall(LABEL, found.group(2) or "")):
            wrong.append("%d: a label stands there twice" % number)
        family = family_name(name, known)
        if family != last:
            wrong.append("%d: %s stands apart from its family" % (number, name))
        try:
            known.setdefault(family, Family(family)).samples.append((name, labels, float(value)))
        except ValueError:
            wrong.append("%d: %s is no number" % (number, value))
    return known, wrong


def names_are_right(family):
    name, words = family.name, family.name.split("_")
    if (family.type == "counter") != name.endswith("_total"):
        yield "%s is a %s" % (name, family.type)
    if re.search("[A-Z:]", name):
        yield "%s has capitals or colons" % name
    for word in words:
        if word in WRONG_UNITS or word in ABBREVIATIONS:
            yield "%s: %s is no base unit" % (name, word)
        if word in ("counter", "gauge", "histogram", "summary", "metric"):
            yield "%s names its type" % name
    for unit in ("bytes", "seconds"):
        if unit in words and not name.removesuffix("_total").endswith("_" + unit):
            yield "%s: the unit is to stand last" % name
    if family.type not in ("histogram", "summary"):
        if name.endswith(("_bucket", "_sum", "_count")):
            yield "%s looks like a histogram's" % name
        if any("le" in labels or "quantile" in labels for _, labels, _ in family.samples):
            yield "%s has a histogram's label" % name


def histogram_is_right(family):
    groups = {}
    for name, labels, value in family.samples:
        rest = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        groups.setdefault(rest, {"bucket": [], "sum": None, "count": None})
        kind = name.rpartition("_")[2]
        if kind == "bucket":
            groups[rest]["bucket"].append((float(labels["le"].replace("+Inf", "inf")), value))
        else:
            groups[rest][kind] = value
    for group in groups.values():
        bounds, counts = zip(*group["bucket"]) if group["bucket"] else ((), ())
        if list(bounds) != sorted(set(bounds)) or not bounds or bounds[-1] != float("inf"):
            yield "%s: buckets out of order or without +Inf" % family.name
        elif list(counts) != sorted(counts):
            yield "%s: buckets do not hold those below" % family.name
        elif group["count"] != counts[-1] or group["sum"] is None:
            yield "%s: count or sum do not fit" % family.name


def problems(text, labels):
    """labels: {name: how many values it may have at most}; others may not be there."""
    known, wrong = parse(text)
    values = {}
    for family in known.values():
        if not family.help or not family.type:
            wrong.append("%s has no HELP or no TYPE" % family.name)
            continue
        if not family.samples:
            continue  # as client libraries do where no label has come up yet
        wrong += names_are_right(family)
        if family.type == "histogram":
            wrong += histogram_is_right(family)
        seen = [(name, tuple(sorted(found.items()))) for name, found, _ in family.samples]
        if len(seen) != len(set(seen)):
            wrong.append("%s has a sample twice" % family.name)
        if family.type == "counter" and any(v < 0 for _, _, v in family.samples):
            wrong.append("%s is below zero" % family.name)
        for _, found, _ in family.samples:
            for label, value in found.items():
                values.setdefault(label, set()).add(value)
    for label, found in values.items():
        if label not in labels:
            wrong.append("label %s is not expected" % label)
        elif len(found) > labels[label]:
            wrong.append("label %s has %d values" % (label, len(found)))
    return wrong


def families(text):
    return parse(text)[0]
