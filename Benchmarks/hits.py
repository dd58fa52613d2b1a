"""Workloads in memory: reads of what is cached, a mix of reads and writes, and stable writes with
`write=through`; against all peers, over one folder in memory.
"""

import os

from measure import Goal, Row, Workload
from peers import started
from tools import Failure, fio, made, memory, mounted, processor_seconds, timed

# More than zfs-fuse caches as Debian sets it.
LARGE_MEBIBYTES = 256
# Of the guests that write: a file each, because the kernel has writes to one file wait for each other.
WRITERS = 8
WRITER_MEBIBYTES = 8
# The seed of the project published this many reads of 512 bytes a second.
SEED_READS = 40.42


def thousands(run):
    return run.operations_per_second / 1e3, run.percentiles


def microseconds(run):
    """The median: a mean tells of what else the machine did."""
    return run.percentiles["p50"], run.percentiles


def gigabytes(run):
    return run.bytes_per_second / 1e9, run.percentiles


def reads(session):
    """(row, fio's options, what to take of the result); the depth is the number of jobs."""
    def row(key, title, unit, *goals):
        return Row(key, title, unit, list(goals), against="mergerfs")

    all_of_them = [
        (row("4k-depth-1", "4 KiB random read, depth 1", "µs", Goal("mergerfs", "at most", 1.0)),
         ["--rw=randread", "--bs=4k", "--numjobs=1"], microseconds),
        (row("4k-depth-8", "4 KiB random read, depth 8", "k/s", Goal("mergerfs", "at least", 1.1),
             Goal("zfs-fuse", "at least", 8)),
         ["--rw=randread", "--bs=4k", "--numjobs=8"], thousands),
        (row("4k-depth-32", "4 KiB random read, depth 32", "k/s"),
         ["--rw=randread", "--bs=4k", "--numjobs=32"], thousands),
        (row("512-depth-1", "512 B random read, depth 1", "µs"),
         ["--rw=randread", "--bs=512", "--numjobs=1"], microseconds),
        (row("512-depth-8", "512 B random read, depth 8", "k/s", Goal("mergerfs", "at least", 1.1),
             Goal(None, "at least", SEED_READS)),
         ["--rw=randread", "--bs=512", "--numjobs=8"], thousands),
        (row("512-depth-32", "512 B random read, depth 32", "k/s"),
         ["--rw=randread", "--bs=512", "--numjobs=32"], thousands),
        (row("64k-sequential", "64 KiB sequential read", "GB/s"),
         ["--rw=read", "--bs=64k", "--numjobs=1"], gigabytes),
        (row("1m-sequential", "1 MiB sequential read", "GB/s", Goal("mergerfs", "at least", 3)),
         ["--rw=read", "--bs=1m", "--numjobs=1"], gigabytes),
    ]
    short = {"4k-depth-1", "4k-depth-8", "512-depth-8", "1m-sequential"}
    return [each for each in all_of_them if not session.is_quick or each[0].key in short]


def writes(session):
    def row(key, title, *goals):
        return Row(key, title, "k/s", list(goals), against="mergerfs")

    stable = ["--rw=randwrite", "--bs=4k", "--sync=1"]
    all_of_them = [
        (row("mix", "4 KiB random, 70 % reads, 8 files"),
         ["--rw=randrw", "--rwmixread=70", "--bs=4k"]),
        (row("sync-writes", "4 KiB sync writes, through, 8 files", Goal("mergerfs", "at least", 1.0)),
         stable),
        (row("writes", "4 KiB writes, through, 8 files"), ["--rw=randwrite", "--bs=4k"]),
    ]
    return all_of_them[:2] if session.is_quick else all_of_them


def prepare_writers(systems):
    """A folder for each system, so that nobody writes behind another one's back."""
    for system in systems:
        folder = f"{system.folder}/of-{system.name}"
        os.mkdir(folder)
        for number in range(WRITERS):
            made(f"{folder}/bench.{number}.0", WRITER_MEBIBYTES)
        system.rest()


def cost(row):
    """The row of what the server's process had of the processors for each operation of another row."""
    return Row(row.key + "-processor", "  server's processor time for each", "µs", against="mergerfs")


def counted(row, system, work):
    """Does the work, and adds to the row what it cost the server."""
    process = system.process
    before = processor_seconds(process) if process else 0
    run = work()
    if row and process:
        row.add(system.name, (processor_seconds(process) - before) * 1e6 / run.operations)
    return run


def read_workload(session, systems, row, options, take, name="disk"):
    second = cost(row) if row.key in ("4k-depth-8", "1m-sequential") else None

    def measure(system):
        return take(counted(second, system, lambda: fio(
            f"--filename={system.folder}/{name}", "--readonly", "--norandommap", *options,
            *timed(session.sample))))
    return Workload(row, measure, systems, second)


def write_workload(session, systems, row, options):
    second = cost(row) if row.key == "sync-writes" else None

    def measure(system):
        run = thousands(counted(second, system, lambda: fio(
            f"--directory={system.folder}/of-{system.name}", f"--numjobs={WRITERS}",
            f"--size={WRITER_MEBIBYTES}m", "--norandommap", *options, *timed(session.sample))))
        system.rest()
        return run
    return Workload(row, measure, systems, second)


def with_the_file(session, peers, name):
    """The peers that could take the file that is read."""
    able = []
    for peer in peers:
        try:
            peer.provide(name)
            able.append(peer)
        except (Failure, OSError) as error:
            session.peers[peer.name] = f"not measured: {error}"
            session.say(f"{peer.name} was not measured: {error}")
    return able


def cached_reads(session, forebay, title, workloads):
    """Takes turns, and marks the rows if Forebay had not cached everything."""
    misses = forebay.number("misses")
    session.take_turns(title, workloads)
    missed = forebay.number("misses") - misses
    if missed:
        session.say(f"{title}: {missed} blocks were not cached: the reads do not show the cache")
        for workload in workloads:
            workload.row.invalid = "not all was cached"


def read_larger(session, forebay, systems, backing):
    """The same reads of a file that is too large for the cache that Debian gives zfs-fuse."""
    made(backing + "/large", LARGE_MEBIBYTES)
    forebay.fill("large")
    row = Row("4k-large", f"4 KiB random read of {LARGE_MEBIBYTES} MiB, depth 8", "k/s",
              [Goal("zfs-fuse", "at least", 8)])
    able = [forebay, *with_the_file(session, [each for each in systems if each is not forebay], "large")]
    cached_reads(session, forebay, "reads of a larger file", [read_workload(
        session, able, row, ["--rw=randread", "--bs=4k", "--numjobs=8"], thousands, "large")])


def measure(session, programs, work):
    # What fits into the cache of zfs-fuse as Debian sets it.
    mebibytes = 32 if session.is_quick else 64
    with memory(work + "/backing", "3G") as backing:
        made(backing + "/disk", mebibytes)
        with started(session, work, backing) as peers, \
                mounted(programs, work, backing, f"ram={mebibytes * 4 + 256}M") as forebay:
            forebay.fill("disk")
            systems = [forebay, *with_the_file(session, peers, "disk")]
            session.say(f"in memory: a file of {mebibytes} MiB, O_DIRECT, {session.sample} s each")
            cached_reads(session, forebay, "reads of what is cached", [
                read_workload(session, systems, *each) for each in reads(session)])
            if not session.is_quick:
                read_larger(session, forebay, systems, backing)
            prepare_writers(systems)
            rows = [write_workload(session, systems, *each) for each in writes(session)]
            session.take_turns("writes in memory", rows)
