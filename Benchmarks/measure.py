"""Rows of figures, and the way they are taken: every system does the same, in turns, round after round, so
that what else the machine does hits all of them alike. What counts is the ratio of each pair that took
turns; its median, and the least and the greatest of them as the spread.
"""

import statistics
import time
from dataclasses import dataclass, field

from tools import Failure

OURS = "forebay"
# Turns that two systems take in a round beyond the first when the goal is close.
FURTHER_TURNS = 2


@dataclass
class Goal:
    """What is wanted: of the ratio to a peer, or of the figure itself when there is no peer."""

    peer: str | None
    kind: str  # "at least" or "at most"
    limit: float

    @property
    def is_close(self):
        """The two are about as fast: what else the machine does for half a second decides."""
        return self.peer is not None and 0.8 <= self.limit <= 1.2

    def is_reached(self, value):
        return value >= self.limit if self.kind == "at least" else value <= self.limit


@dataclass
class Row:
    """One line of the report. A figure is what `unit` says; a ratio is Forebay's figure divided by the
    peer's of the same round."""

    key: str
    title: str
    unit: str
    goals: list = field(default_factory=list)
    # The peer that stands in the table when no goal names one.
    against: str = "backing"
    figures: dict = field(default_factory=dict)
    percentiles: dict = field(default_factory=dict)
    invalid: str = ""

    def add(self, system, figure, percentiles=None):
        self.figures.setdefault(system, []).append(figure)
        if percentiles:
            self.percentiles.setdefault(system, []).append(percentiles)

    def median(self, system):
        figures = [figure for figure in self.figures.get(system, []) if figure is not None]
        return statistics.median(figures) if figures else None

    def percentile(self, system, name):
        """The median, over the rounds, of a percentile in microseconds."""
        found = [each[name] for each in self.percentiles.get(system, []) if name in each]
        return statistics.median(found) if found else None

    def ratios(self, peer):
        pairs = zip(self.figures.get(OURS, []), self.figures.get(peer, []))
        return [ours / theirs for ours, theirs in pairs if ours is not None and theirs]

    def peers(self):
        return [system for system in self.figures if system != OURS]

    def comparisons(self):
        """What the table says of this row: each goal, or else the ratio to one peer."""
        if self.goals:
            return [(goal.peer, goal) for goal in self.goals]
        return [(self.against if self.ratios(self.against) else None, None)]


@dataclass
class Workload:
    """A row and what measures it: `measure(system)` answers a figure and percentiles, or fails."""

    row: Row
    measure: object
    systems: list
    # A second row that `measure` adds to by itself.
    second: Row | None = None

    def rivals(self):
        """The systems that a close goal compares; none when there is no such goal."""
        peers = {goal.peer for goal in self.row.goals if goal.is_close}
        return [system for system in self.systems if peers and system.name in {OURS, *peers}]


class Session:
    """A run: how long it may take, how many rounds it should have, and what there is to say about it."""

    def __init__(self, is_quick, seconds, rounds, sample, shares):
        self.is_quick, self.seconds, self.wanted_rounds, self.sample = is_quick, seconds, rounds, sample
        # What each part should get of the time that is left, in relation to those that follow.
        self.shares = shares
        self.began = time.monotonic()
        self.rows, self.notes, self.peers = [], [], {}

    def say(self, text):
        if text not in self.notes:
            self.notes.append(text)
            print(f"   note: {text}", flush=True)

    def left(self):
        return self.seconds - (time.monotonic() - self.began)

    def rounds(self, title):
        """Numbers of rounds, for as long as the part's share of the time lasts, but one at least."""
        began, longest, number = time.monotonic(), 0.0, 0
        allowed = self.left() * self.shares[title] / sum(self.shares.values())
        del self.shares[title]
        while number < self.wanted_rounds:
            start = time.monotonic()
            if number and start - began + longest > allowed:
                self.say(f"{title}: {number} rounds instead of {self.wanted_rounds}, for lack of time")
                break
            yield number
            number += 1
            longest = max(longest, time.monotonic() - start)
        print(f"   {title}: {number} rounds, {time.monotonic() - began:.0f} s", flush=True)

    def take_turns(self, title, workloads):
        """Measures all workloads with all their systems; nobody is always the first."""
        for workload in workloads:
            self.rows += [workload.row, workload.second] if workload.second else [workload.row]
        failed = set()
        for number in self.rounds(title):
            for workload in workloads:
                turn = number % len(workload.systems)
                self.turn(workload, workload.systems[turn:] + workload.systems[:turn], failed)
                rivals = workload.rivals()
                for _ in range(0 if self.is_quick or len(rivals) < 2 else FURTHER_TURNS):
                    rivals.reverse()
                    self.turn(workload, rivals, failed)

    def turn(self, workload, systems, failed):
        """Measures a workload with these systems, one after the other."""
        for system in systems:
            figure, percentiles = None, None
            try:
                if (workload.row.key, system.name) not in failed:
                    figure, percentiles = workload.measure(system)
            except (Failure, OSError) as error:
                failed.add((workload.row.key, system.name))
                self.say(f"{workload.row.title}, {system.name}: {error}")
            workload.row.add(system.name, figure, percentiles)
        # Figures of one turn stand at the same place of their lists.
        for row in [workload.row, workload.second]:
            for system in workload.systems if row else []:
                if system not in systems:
                    row.add(system.name, None)
