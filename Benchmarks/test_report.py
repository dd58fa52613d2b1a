"""What the harness makes of figures: python3 -m unittest discover -s Benchmarks

No mounts, no measurements; less than a second.
"""

import json
import os
import tempfile
import time
import types
import unittest
import xml.dom.minidom

import plots
import report
from measure import OURS, Goal, Row, Session, Workload
from tools import Failure


def session(rounds=5, seconds=60.0):
    return Session(True, seconds, rounds, 0.1, {"part": 1, "the rest": 1})


def row(ours, theirs, *goals, unit="k/s"):
    made = Row("4k-depth-8", "4 KiB", unit, list(goals), against="mergerfs")
    for figure, other in zip(ours, theirs):
        made.add(OURS, figure, {"p50": 10.0, "p99": 20.0, "p99.9": 30.0})
        made.add("mergerfs", other)
    return made


class Ratios(unittest.TestCase):
    def test_they_are_of_pairs_and_not_of_medians(self):
        line = report.lines([row([10, 40, 90], [10, 20, 30])])[0]
        self.assertEqual(line[report.HEAD.index("ratio")], "2.00 × mergerfs")
        self.assertEqual(line[report.HEAD.index("spread")], "1.00–3.00")
        self.assertEqual(line[report.HEAD.index("pairs")], "3")

    def test_a_round_without_a_figure_is_no_pair(self):
        self.assertEqual(row([10, None, 30], [10, 20, None]).ratios("mergerfs"), [1.0])

    def test_no_peer_gives_no_ratio(self):
        self.assertEqual(row([10], [10]).ratios("bindfs"), [])


class Goals(unittest.TestCase):
    def reached(self, made):
        return [line[report.HEAD.index("reached")] for line in report.lines([made])]

    def test_more_is_wanted(self):
        self.assertEqual(self.reached(row([11], [10], Goal("mergerfs", "at least", 1.1))), ["yes"])
        self.assertEqual(self.reached(row([10], [10], Goal("mergerfs", "at least", 1.1))), ["no"])

    def test_less_is_wanted(self):
        self.assertEqual(self.reached(row([10], [10], Goal("mergerfs", "at most", 1.0))), ["yes"])
        self.assertEqual(self.reached(row([11], [10], Goal("mergerfs", "at most", 1.0))), ["no"])

    def test_a_figure_itself_is_wanted(self):
        goals = [Goal(None, "at least", 40), Goal("mergerfs", "at least", 2)]
        self.assertEqual(self.reached(row([41], [40], *goals)), ["yes", "no"])

    def test_what_was_not_measured_is_not_reached(self):
        self.assertEqual(self.reached(row([11], [10], Goal("zfs-fuse", "at least", 8))),
                         ["not measured"])

    def test_what_does_not_show_the_cache_is_not_reached(self):
        made = row([11], [10], Goal("mergerfs", "at least", 1))
        made.invalid = "not all was cached"
        self.assertEqual(self.reached(made), ["not all was cached"])


class Rounds(unittest.TestCase):
    systems = [types.SimpleNamespace(name=name) for name in (OURS, "mergerfs")]

    def test_the_systems_take_turns_and_nobody_is_always_first(self):
        order = []

        def measure(system):
            order.append(system.name)
            return 1.0, None
        session(rounds=2).take_turns("part", [Workload(row([], []), measure, self.systems)])
        self.assertEqual(order, [OURS, "mergerfs", "mergerfs", OURS])

    def test_those_with_a_close_goal_take_more_turns(self):
        order = []

        def measure(system):
            order.append(system.name)
            return float(len(order)), None
        made = row([], [], Goal("mergerfs", "at least", 1.1))
        systems = [*self.systems, types.SimpleNamespace(name="bindfs")]
        run = session(rounds=1)
        run.is_quick = False
        run.take_turns("part", [Workload(made, measure, systems)])
        self.assertEqual(order, [OURS, "mergerfs", "bindfs", "mergerfs", OURS, OURS, "mergerfs"])
        self.assertEqual(made.ratios("mergerfs"), [1 / 2, 5 / 4, 6 / 7])
        self.assertEqual(made.ratios("bindfs"), [1 / 3])

    def test_they_end_with_the_time_and_say_so(self):
        run = session(seconds=0.1)

        def measure(_):
            time.sleep(0.03)
            return 1.0, None
        made = row([], [])
        run.take_turns("part", [Workload(made, measure, self.systems)])
        self.assertEqual(len(made.ratios("mergerfs")), 1)
        self.assertEqual(run.notes, ["part: 1 rounds instead of 5, for lack of time"])

    def test_a_system_that_fails_is_told_of_and_the_others_go_on(self):
        run = session()

        def measure(system):
            if system.name == "mergerfs":
                raise Failure("it cannot")
            return 1.0, None
        made = row([], [])
        run.take_turns("part", [Workload(made, measure, self.systems)])
        self.assertEqual(made.median(OURS), 1.0)
        self.assertEqual(made.median("mergerfs"), None)
        self.assertEqual(run.notes, ["4 KiB, mergerfs: it cannot"])


class Reports(unittest.TestCase):
    def test_the_tables_of_the_file_are_those_of_the_run(self):
        run = session()
        run.rows = [row([11], [10], Goal("mergerfs", "at least", 1.1))]
        run.peers, run.notes = {"mergerfs": "2.33"}, ["a note"]
        found = json.loads(json.dumps(report.document(run, {"form": "quick"}, None)))
        self.assertEqual(report.lines(report.rows_of(found)), report.lines(run.rows))
        for text in ("1.10 × mergerfs", "- mergerfs: 2.33", "- a note", "| 10.0 | 20.0 | 30.0 |"):
            self.assertIn(text, report.markdown(found))

    def test_plots_are_well_formed_and_left_out_without_figures(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(plots.draw(folder, []), [])
            names = plots.draw(folder, [row([11, 12], [10, 10], Goal("mergerfs", "at least", 3))])
            self.assertEqual(sorted(names), sorted(os.listdir(folder)))
            self.assertEqual(len(names), 3)
            for name in names:
                xml.dom.minidom.parse(f"{folder}/{name}")


if __name__ == "__main__":
    unittest.main()
