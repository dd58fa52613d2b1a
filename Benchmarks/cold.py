"""Workloads over a datastore that takes some milliseconds for everything: what a miss costs, what a
sequential reader of what is not cached gets, and what a write that waits for the datastore costs; against
the datastore itself.
"""

from measure import Goal, Row, Workload
from tools import Failure, fio, made, memory, mounted, slow_datastore, timed

COLD_MEBIBYTES = 256
# Of the blocks that were read, this part must have come from the datastore.
LEAST_MISSED = 0.95


def milliseconds(run):
    return run.percentiles["p50"] / 1e3, run.percentiles


class Cold:
    """The datastore and a mount over it."""

    def __init__(self, session, datastore, forebay):
        self.session, self.datastore, self.forebay = session, datastore, forebay
        self.systems = [forebay, datastore]

    def check(self, before, blocks):
        missed = self.forebay.number("backend_read_bytes", "cold") - before
        if missed < LEAST_MISSED * blocks * 4096:
            raise Failure(f"only {missed >> 12} of {blocks} blocks came from the datastore")

    def misses(self, latency):
        """Single reads at random places, none of them twice."""
        goals = [Goal("backing", "at most", 1.10)] if latency == 1 else []
        row = Row(f"miss-{latency}ms", f"cold miss, datastore at {latency} ms", "ms", goals)

        def measure(system):
            self.datastore.takes(latency)
            self.forebay.drop()
            before = self.forebay.number("backend_read_bytes", "cold")
            run = fio(f"--filename={system.folder}/cold", "--readonly", "--rw=randread", "--bs=4k",
                      "--numjobs=1", *timed(self.session.sample))
            if system is self.forebay:
                self.check(before, run.operations)
            return milliseconds(run)
        return Workload(row, measure, self.systems)

    def sequential(self, size, mebibytes):
        """One reader from the beginning of what is not cached."""
        row = Row(f"cold-sequential-{size}", f"cold sequential read by {size}, 1 ms", "MB/s",
                  [Goal("backing", "at least", 1.0)])

        def measure(system):
            self.datastore.takes(1)
            self.forebay.drop()
            before = self.forebay.number("backend_read_bytes", "cold")
            run = fio(f"--filename={system.folder}/cold", "--readonly", "--rw=read", f"--bs={size}",
                      "--numjobs=1", f"--size={mebibytes}m")
            if system is self.forebay:
                self.check(before, mebibytes << 8)
            return run.bytes_per_second / 1e6, run.percentiles
        return Workload(row, measure, self.systems)

    def writes(self):
        """One write after the other, each acknowledged when the datastore has it."""
        row = Row("through-1ms", "4 KiB write, through, datastore at 1 ms", "ms",
                  [Goal("backing", "at most", 1.15)])

        def measure(system):
            self.datastore.takes(1)
            return milliseconds(fio(
                f"--filename={system.folder}/written-{system.name}", "--rw=randwrite", "--bs=4k",
                "--numjobs=1", "--norandommap", "--size=16m", *timed(self.session.sample)))
        return Workload(row, measure, self.systems)


def measure(session, programs, work):
    with memory(work + "/cold", "1G") as folder:
        made(folder + "/cold", COLD_MEBIBYTES)
        for system in ("forebay", "backing"):
            made(f"{folder}/written-{system}", 16)
        with slow_datastore(programs, work, folder) as datastore, \
                mounted(programs, work, datastore.folder, f"ram={COLD_MEBIBYTES * 2}M") as forebay:
            cold = Cold(session, datastore, forebay)
            latencies = [1] if session.is_quick else [0.2, 1, 5]
            part = 16 if session.is_quick else 32
            session.take_turns("datastore with latency", [
                *(cold.misses(latency) for latency in latencies),
                cold.sequential("64k", part), cold.sequential("1m", part * 4), cold.writes()])
