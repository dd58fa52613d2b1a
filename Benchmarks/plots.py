"""Plots of a run as SVG, with nothing but the standard library: the ratios with their spread and what is
wanted, small reads by depth, and what is waited for.
"""

import math
import statistics
from html import escape

from measure import OURS

COLOURS = {OURS: "#06c", "mergerfs": "#c60", "bindfs": "#393", "zfs-fuse": "#939", "backing": "#777"}


class Picture:
    """Shapes of an SVG file."""

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.shapes = ['<rect width="100%" height="100%" fill="white"/>']

    def line(self, x1, y1, x2, y2, colour="black", width=1.0, dashes=""):
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.shapes.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
                           f' stroke="{colour}" stroke-width="{width}"{dash}/>')

    def bar(self, x, y, width, height, colour):
        self.shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}"'
                           f' height="{height:.1f}" fill="{colour}"/>')

    def dot(self, x, y, colour):
        self.shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')

    def text(self, x, y, text, anchor="start", colour="black"):
        self.shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
                           f"{escape(text)}</text>")

    def write(self, path):
        begin = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}"'
                 ' font-family="sans-serif" font-size="12">')
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([begin, *self.shapes, "</svg>"]) + "\n")


class Scale:
    """Places on a logarithmic axis, with a mark at each power of ten and at 2 and 5 times it."""

    def __init__(self, values, start, end):
        values = [value for value in values if value > 0]
        self.low, self.high = math.log10(min(values) * 0.8), math.log10(max(values) * 1.25)
        self.start, self.end = start, end

    def place(self, value):
        part = (math.log10(max(value, 1e-9)) - self.low) / (self.high - self.low)
        return self.start + min(max(part, 0), 1) * (self.end - self.start)

    def marks(self):
        steps = (1, 2, 5) if self.high - self.low < 2.5 else (1,)
        for power in range(math.floor(self.low), math.ceil(self.high) + 1):
            for step in steps:
                if self.low <= math.log10(step) + power <= self.high:
                    yield step * 10.0 ** power


def ratios(path, rows):
    """A bar for each ratio of the table, its spread, and what is wanted."""
    found = []
    for row in rows:
        for peer, goal in row.comparisons():
            each = [ratio for ratio in row.ratios(peer) if ratio > 0] if peer else []
            if each:
                found.append((f"{row.title.strip()} / {peer}", each, goal))
    if not found:
        return False
    picture = Picture(860, 50 + 22 * len(found))
    bottom = picture.height - 30
    every = [ratio for _, each, _ in found for ratio in each]
    scale = Scale([*every, 1.0, *(goal.limit for _, _, goal in found if goal)], 350, 840)
    for mark in scale.marks():
        picture.line(scale.place(mark), 10, scale.place(mark), bottom, "#ddd")
        picture.text(scale.place(mark), bottom + 16, f"{mark:g}", "middle")
    picture.line(scale.place(1), 10, scale.place(1), bottom, "black")
    for place, (title, each, goal) in enumerate(found):
        y = 12 + 22 * place
        middle = statistics.median(each)
        colour = "#777" if not goal else "#393" if goal.is_reached(middle) else "#c33"
        left, right = sorted([scale.place(1), scale.place(middle)])
        picture.text(342, y + 12, title, "end")
        picture.bar(left, y + 3, right - left, 11, colour)
        picture.line(scale.place(min(each)), y + 8, scale.place(max(each)), y + 8, "black", 1.5)
        if goal:
            picture.line(scale.place(goal.limit), y, scale.place(goal.limit), y + 17, "#06c", 2.5)
    picture.text(10, bottom + 16, "Forebay / peer; line: spread; blue: wanted")
    picture.write(path)
    return True


def depths(path, rows):
    """Thousands of small reads a second by depth, for each system."""
    by_key = {row.key: row for row in rows}
    picture = Picture(860, 300)
    drawn = False
    for column, size in enumerate(("4k", "512")):
        series = {}
        for depth in (1, 8, 32):
            row = by_key.get(f"{size}-depth-{depth}")
            for system in row.figures if row else []:
                figure = row.median(system)
                if figure:
                    # At depth 1 the figure is a latency in microseconds.
                    rate = 1e3 / figure if row.unit == "µs" else figure
                    series.setdefault(system, []).append((depth, rate))
        if not series:
            continue
        drawn = True
        scale = Scale([rate for points in series.values() for _, rate in points], 260, 30)
        left = 50 + column * 430
        for mark in scale.marks():
            picture.line(left, scale.place(mark), left + 300, scale.place(mark), "#ddd")
            picture.text(left - 4, scale.place(mark) + 4, f"{mark:g}", "end")
        picture.text(left, 18, f"{size} random reads, thousands a second")
        across = {1: left + 20, 8: left + 150, 32: left + 280}
        for depth, x in across.items():
            picture.text(x, 280, str(depth), "middle")
        for place, (system, points) in enumerate(series.items()):
            colour = COLOURS.get(system, "black")
            for (depth, rate), (deeper, more) in zip(points, points[1:]):
                picture.line(across[depth], scale.place(rate), across[deeper], scale.place(more),
                             colour, 2)
            for depth, rate in points:
                picture.dot(across[depth], scale.place(rate), colour)
            picture.text(left + 308, 60 + 18 * place, system, colour=colour)
    if drawn:
        picture.write(path)
    return drawn


def percentiles(path, rows):
    """p50, p99 and p99.9 of what was waited for, as a line for each system."""
    found = [(row, system) for row in rows for system in row.figures
             if row.percentile(system, "p50") and system in COLOURS]
    if not found:
        return False
    names = ("p50", "p99", "p99.9")
    values = [row.percentile(system, name) or 1 for row, system in found for name in names]
    picture = Picture(860, 50 + 15 * len(found))
    bottom = picture.height - 30
    scale = Scale(values, 350, 840)
    for mark in scale.marks():
        picture.line(scale.place(mark), 10, scale.place(mark), bottom, "#ddd")
        picture.text(scale.place(mark), bottom + 16, f"{mark:g}", "middle")
    last = None
    for place, (row, system) in enumerate(found):
        y, colour = 18 + 15 * place, COLOURS[system]
        places = [scale.place(row.percentile(system, name) or 1) for name in names]
        picture.line(places[0], y, places[-1], y, colour, 2)
        for x in places:
            picture.dot(x, y, colour)
        if row is not last:
            picture.text(270, y + 4, row.title.strip(), "end")
        picture.text(280, y + 4, system, colour=colour)
        last = row
    picture.text(10, bottom + 16, "µs; dots: p50, p99, p99.9")
    picture.write(path)
    return True


def draw(folder, rows):
    """Draws what there are figures for; answers the names of the files."""
    kinds = {"ratios.svg": ratios, "depths.svg": depths, "percentiles.svg": percentiles}
    return [name for name, plot in kinds.items() if plot(f"{folder}/{name}", rows)]
