"""The report of a run: a table for the terminal and one in Markdown, everything as JSON, and plots.

Benchmarks/run table FILE prints the Markdown table of an earlier run's JSON.
"""

import json
import os
import statistics

import plots
from measure import OURS, Goal, Row

COLUMNS = ["mergerfs", "bindfs", "zfs-fuse", "backing"]
# Goals that other commands measure; the report says where.
ELSEWHERE = [
    "second read of an image opened read-write, VM chain: `scripts/vm/run second-read`",
    "real disk images: `make demo`; flash, journal, pauses: `make bench-flash`, `bench-journal`,"
    " `bench-pauses`",
]


def number(value, unit=""):
    """Three digits that count."""
    if value is None:
        return "–"
    if unit in ("reads", "s") and value == int(value):
        text = f"{value:,.0f}"
    elif abs(value) >= 100:
        text = f"{value:,.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}"
    return f"{text} {unit}".strip()


def line_of(row, peer, goal, is_first):
    """The cells of one line: a row has one for each goal."""
    ratios = row.ratios(peer) if peer else []
    ratio = statistics.median(ratios) if ratios else None
    judged = row.median(OURS) if peer is None else ratio
    wanted = f"{'≥' if goal.kind == 'at least' else '≤'} {goal.limit:g}" if goal else "–"
    if goal and peer is None:
        wanted = f"{wanted} {row.unit}"
    reached = "–"
    if goal:
        reached = row.invalid or ("not measured" if judged is None else
                                  "yes" if goal.is_reached(judged) else "no")
    alone = row.median("alone")
    cells = [row.title if is_first else f"  … against {peer or 'a figure'}"]
    for system in [OURS, *COLUMNS]:
        figure = alone if system == "backing" and alone is not None else row.median(system)
        cells.append(number(figure, row.unit if system == OURS else "") if is_first else "")
    return cells + [
        f"{number(ratio)} × {peer}" if ratio is not None else "–",
        f"{number(min(ratios))}–{number(max(ratios))}" if ratios else "–",
        str(len(ratios) or len(row.figures.get(OURS, []))), wanted, reached]


HEAD = ["what", "Forebay", *COLUMNS, "ratio", "spread", "pairs", "wanted", "reached"]


def lines(rows):
    found = []
    for row in rows:
        for place, (peer, goal) in enumerate(row.comparisons()):
            found.append(line_of(row, peer, goal, place == 0))
    return found


def text_table(head, body):
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]

    def show(line):
        return "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width)
                         for place, (cell, width) in enumerate(zip(line, widths))).rstrip()
    return "\n".join([show(head), "  ".join("-" * width for width in widths), *map(show, body)])


def markdown_table(head, body):
    def show(cells):
        return "| " + " | ".join(cell.strip() for cell in cells) + " |"
    return "\n".join([show(head), show(["---"] * len(head)), *map(show, body)])


def percentile_lines(rows):
    """What is waited for: Forebay and the peer that the row is compared with, in microseconds."""
    found = []
    for row in rows:
        if not row.percentiles.get(OURS):
            continue
        for system in [OURS, *(peer for peer in row.peers() if row.percentiles.get(peer))]:
            found.append([row.title if system == OURS else "", system] + [
                number(row.percentile(system, name)) for name in ("p50", "p99", "p99.9")])
    return found


PERCENTILE_HEAD = ["latency, µs", "", "p50", "p99", "p99.9"]


def document(session, about, costs):
    """What is written as JSON."""
    rows = []
    for row in session.rows:
        rows.append({
            "key": row.key, "title": row.title.strip(), "unit": row.unit, "against": row.against,
            "figures": row.figures, "percentiles": row.percentiles, "invalid": row.invalid,
            "goals": [vars(goal) for goal in row.goals],
            "medians": {system: row.median(system) for system in row.figures},
            "ratios": {peer: {"median": statistics.median(found), "least": min(found),
                              "greatest": max(found), "pairs": len(found)}
                       for peer in row.peers() if (found := row.ratios(peer))}})
    return {**about, "peers": session.peers, "rows": rows, "notes": session.notes,
            "elsewhere": ELSEWHERE, "costs": costs}


def rows_of(found):
    """The rows of a document."""
    return [Row(each["key"], each["title"], each["unit"], [Goal(**goal) for goal in each["goals"]],
                each["against"], each["figures"], each["percentiles"], each["invalid"])
            for each in found["rows"]]


def markdown(found):
    rows = rows_of(found)
    parts = [markdown_table(HEAD, lines(rows)), markdown_table(PERCENTILE_HEAD, percentile_lines(rows)),
             "\n".join(f"- {name}: {text}" for name, text in found["peers"].items()),
             "\n".join(f"- {note}" for note in found["notes"] + found["elsewhere"])]
    return "\n\n".join(parts) + "\n"


def write(folder, session, about, costs):
    """Prints the tables, writes bench.json, table.md and the plots."""
    os.makedirs(folder, exist_ok=True)
    found = document(session, about, costs)
    print("\n" + text_table(HEAD, lines(session.rows)))
    print("\n" + text_table(PERCENTILE_HEAD, percentile_lines(session.rows)))
    print("\nratio: Forebay divided by the peer, median of the pairs; spread: the least and the greatest;"
          " latencies (µs, ms) are medians of each run.")
    for name, text in session.peers.items():
        print(f"{name}: {text}")
    for note in session.notes + [f"not measured here: {text}" for text in ELSEWHERE]:
        print(f"note: {note}")
    with open(folder + "/bench.json", "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
    with open(folder + "/table.md", "w", encoding="utf-8") as file:
        file.write(markdown(found))
    names = plots.draw(folder, session.rows)
    print(f"\n{folder}: bench.json, table.md, {', '.join(names)}")
