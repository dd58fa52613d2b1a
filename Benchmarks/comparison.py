"""The comparison: every group of workloads in its share of the time, then the report. Quick or full by
BENCH; see `run`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import cold
import costs
import hits
import report
import scenes
from measure import Session
from tools import Failure, output

# Seconds for all, rounds, seconds of each measurement.
FULL, QUICK = (570, 5, 0.5), (105, 3, 0.25)
# Seconds beyond that after which something hangs.
GRACE = 20
# The parts of each group and their shares of the time.
GROUPS = {
    "hits": (hits, {"reads of what is cached": 43, "reads of a larger file": 6, "writes in memory": 20}),
    "cold": (cold, {"datastore with latency": 14}),
    "scenes": (scenes, {"storms and clones": 10, "backup scan": 5}),
}
# For what is prepared between the parts, and for the counts.
RESERVE = {"the rest": 7}


def session_of(names):
    """The session that the environment asks for, with time for the groups that are named."""
    form = os.environ.get("BENCH", "full")
    if form not in ("quick", "full"):
        sys.exit(f"bench: BENCH={form}: quick or full")
    seconds, rounds, sample = QUICK if form == "quick" else FULL
    shares = dict(RESERVE)
    for name in names:
        shares.update(GROUPS[name][1])
    return Session(form == "quick", seconds, int(os.environ.get("ROUNDS", rounds)),
                   float(os.environ.get("SAMPLE", sample)), shares)


class Overtime(Exception):
    """What is measured takes so much longer than it may that something hangs."""


def end_after(seconds):
    """Raises Overtime in the main thread after so long; 0 takes that back."""
    def end(*_):
        raise Overtime
    signal.signal(signal.SIGALRM, end)
    signal.alarm(round(seconds))


def groups(session, programs, work, names):
    """Measures what is named, until the time is over; answers what the gate says."""
    counted = []
    parts = {name: group.measure for name, (group, _) in GROUPS.items()}
    parts["costs"] = lambda *_: counted.append(costs.measure(programs, work))
    end_after(session.seconds + GRACE)
    try:
        for name in [name for name in parts if name in names]:
            try:
                parts[name](session, programs, work)
            except (Failure, OSError, subprocess.SubprocessError) as error:
                session.say(f"{name}: {error}")
    except Overtime:
        session.say(f"ended after {session.seconds + GRACE} s; what follows was not measured")
    finally:
        end_after(0)
    return counted[0] if counted else None


def about(session, programs):
    """What the figures depend on."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "form":
        "quick" if session.is_quick else "full", "kernel": os.uname().release,
        "processors": os.cpu_count(), "version": output(programs + "/forebay", "--version"),
        "fio": output("fio", "--version"), "sample_seconds": session.sample,
        "load_at_begin": os.getloadavg()[0]}


def measure(programs, folder, names):
    """Runs the groups that are named, or all of them; answers the exit status."""
    if unknown := set(names) - {*GROUPS, "costs"}:
        sys.exit(f"bench: {', '.join(sorted(unknown))}: unknown; {', '.join(GROUPS)}, costs")
    names = names or [*GROUPS, "costs"]
    session = session_of([name for name in GROUPS if name in names])
    facts = about(session, programs)
    print(f"bench: {facts['form']}, at most {session.seconds / 60:.0f} minutes, kernel {facts['kernel']},"
          f" {facts['processors']} processors, load {facts['load_at_begin']:.1f}", flush=True)
    # In memory, so that no disk of the machine takes part.
    work = tempfile.mkdtemp(prefix="forebay-bench.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    try:
        counted = groups(session, programs, work, names)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    facts["seconds"] = round(time.monotonic() - session.began)
    facts["load_at_end"] = os.getloadavg()[0]
    if session.rows:
        report.write(folder, session, facts, counted)
    print(f"{facts['seconds']} s in all")
    if "costs" in names and counted is None:
        print("bench: what a request costs was not counted", file=sys.stderr)
        return 1
    for text in counted["exceeded"] if counted else []:
        print(f"bench: {text}", file=sys.stderr)
    return 1 if counted and counted["exceeded"] else 0
