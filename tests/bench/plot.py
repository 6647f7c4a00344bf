# natrelay
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bars in SVG, no library: one panel under the other, the shortest bar first."""

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
    title: str
    bars: list

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
    for i, bar in enumerate(sorted(panel.bars, key=lambda b: b.value)):
        yield from _bar(bar, y + PANEL - 4 + i * (BAR + GAP), scale)


def _legend(y):
    x = 10
    for kind, text in KINDS.items():
        yield f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{COLOURS[kind]}"/>'
        yield _text(x + 18, y, text, 12)
        x += 40 + 7 * len(text)


def svg(title, panels):
    height = TITLE + sum(p.height() for p in panels) + 36
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
             f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
             f"<title>{escape(title)}</title>",
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
             _text(10, 22, title, 15, weight="bold")]
    y = TITLE
    for panel in panels:
        parts += _panel(panel, y)
        y += panel.height()
    parts += [*_legend(height - 14), "</svg>"]
    return "\n".join(parts) + "\n"
