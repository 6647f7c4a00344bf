# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bars and marks in SVG, no library."""

import dataclasses
from xml.sax.saxutils import escape

WIDTH, LABELS, VALUES = 760, 150, 60
BAR, GAP, TITLE, PANEL = 18, 6, 30, 34
COLOURS = {"natrelay": "#1b7f5c", "raw": "#9aa5b1", "rival": "#c2703d"}
KINDS = {"natrelay": "natrelay", "rival": "other relays", "raw": "raw loops, no relay at all"}


@dataclasses.dataclass
class Bar:
    name: str
    value: float
    kind: str


@dataclasses.dataclass
class Panel:
    """The shortest bar first, unless they are in order."""
    title: str
    bars: list
    in_order: bool = False

    def height(self):
        return PANEL + len(self.bars) * (BAR + GAP)


def _text(x, y, text, size=13, anchor="start", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(text)}</text>')


def _bar(bar, y, scale):
    length = max(bar.value * scale, 1)
    colour = COLOURS.get(bar.kind, "#777777")
    yield _text(LABELS - 8, y + BAR - 5, bar.name, anchor="end",
                weight="bold" if bar.kind == "natrelay" else "normal")
    yield f'<rect x="{LABELS}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>'
    yield _text(LABELS + length + 6, y + BAR - 5, f"{bar.value:.2f}", 12)


def _panel(panel, y):
    scale = (WIDTH - LABELS - VALUES) / max(b.value for b in panel.bars)
    yield _text(10, y + 20, panel.title, 13, weight="bold")
    bars = panel.bars if panel.in_order else sorted(panel.bars, key=lambda b: b.value)
    for i, bar in enumerate(bars):
        yield from _bar(bar, y + PANEL - 4 + i * (BAR + GAP), scale)


def _legend(y):
    x = 10
    for kind, text in KINDS.items():
        yield f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLOURS[kind]}"/>'
        yield _text(x + 18, y, text, 12)
        x += 40 + 7 * len(text)


def _page(title, height):
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            _text(10, 22, title, 15, weight="bold")]


@dataclasses.dataclass
class Mark:
    name: str
    against: str
    value: float                # 1 is the bar


MARK_LABELS, MARK_ROW = 400, 22


def marks(title, found):
    """A line for each, and one down the page where 1 is."""
    height = TITLE + MARK_ROW * len(found) + 40
    most = max(1.25, *(m.value for m in found))
    scale = (WIDTH - MARK_LABELS - VALUES) / most
    bar = MARK_LABELS + scale
    parts = _page(title, height)
    for i, m in enumerate(found):
        y, x = TITLE + 22 + i * MARK_ROW, MARK_LABELS + m.value * scale
        colour = COLOURS["natrelay"] if m.value <= 1 else "#b3261e"
        parts += [_text(10, y + 4, f"{m.name}, against {m.against}", 12),
                  f'<line x1="{MARK_LABELS}" y1="{y}" x2="{x:.1f}" y2="{y}" stroke="{colour}" '
                  'stroke-width="6"/>', _text(x + 6, y + 4, f"{m.value:.2f}", 12)]
    parts += [f'<line x1="{bar:.1f}" y1="{TITLE + 6}" x2="{bar:.1f}" y2="{height - 24}" '
              'stroke="#222222" stroke-dasharray="4 3"/>',
              _text(bar, height - 8, "the bar", 12, anchor="middle"), "</svg>"]
    return "\n".join(parts) + "\n"


def svg(title, panels):
    """One panel under the other."""
    height = TITLE + sum(p.height() for p in panels) + 36
    parts = _page(title, height)
    y = TITLE
    for panel in panels:
        parts += _panel(panel, y)
        y += panel.height()
    parts += [*_legend(height - 14), "</svg>"]
    return "\n".join(parts) + "\n"
