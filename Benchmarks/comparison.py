"""The comparison: every group of workloads in its share of the time, then the report. Quick or full by
BENCH; see `run`.
"""

import os
import shutil
import sys
import tempfile
import time

import allocations
import cold
import hits
import report
import scenes
from measure import Session
from tools import Failure, output

# Seconds for all, rounds, seconds of each measurement.
FULL, QUICK = (585, 5, 0.5), (110, 3, 0.25)
# The share of the time of each group; the rest is for preparations and the allocations.
GROUPS = [("hits", hits, 0.58), ("cold", cold, 0.14), ("scenes", scenes, 0.16)]


def forms():
    """The session that the environment asks for."""
    form = os.environ.get("BENCH", "full")
    if form not in ("quick", "full"):
        sys.exit(f"bench: BENCH={form}: quick or full")
    seconds, rounds, sample = QUICK if form == "quick" else FULL
    return Session(form == "quick", seconds, int(os.environ.get("ROUNDS", rounds)),
                   float(os.environ.get("SAMPLE", sample)))


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
    session = forms()
    known = [name for name, _, _ in GROUPS]
    if unknown := set(names) - {*known, "allocations"}:
        sys.exit(f"bench: {', '.join(sorted(unknown))}: unknown; {', '.join(known)}, allocations")
    facts = about(session, programs)
    print(f"bench: {facts['form']}, at most {session.seconds / 60:.0f} minutes, kernel {facts['kernel']},"
          f" {facts['processors']} processors, load {facts['load_at_begin']:.1f}", flush=True)
    # In memory, so that no disk of the machine takes part.
    work = tempfile.mkdtemp(prefix="forebay-bench.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    counted = None
    try:
        for name, group, share in GROUPS:
            if not names or name in names:
                try:
                    group.measure(session, programs, work, share)
                except (Failure, OSError) as error:
                    session.say(f"{name}: {error}")
        if not names or "allocations" in names:
            counted = allocations.measure(programs, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    facts["seconds"] = round(time.monotonic() - session.began)
    facts["load_at_end"] = os.getloadavg()[0]
    if session.rows:
        report.write(folder, session, facts, counted)
    print(f"{facts['seconds']} s in all")
    if counted and not counted["reached"]:
        print(f"bench: {counted['per_read']:.3f} allocations per read, more than {counted['allowed']}",
              file=sys.stderr)
        return 1
    return 0
