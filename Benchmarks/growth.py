"""What a cached read costs when there is more of everything: more cached, more files, more machines that read.
Random reads of 4 KiB past the page cache, all of them cached; the cases of a part take turns, and what counts
is the ratio to the first of them in the same round.

    Benchmarks/run growth       about 4 minutes; 14 GiB of memory
    ROUNDS=5 SAMPLE=1 PARTS="cache files machines"
"""

import contextlib
import mmap
import os
import random
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field

from tools import Failure, fio, made, memory, mounted, processor_seconds, timed

ROUNDS, SAMPLE = int(os.environ.get("ROUNDS", "5")), float(os.environ.get("SAMPLE", "1"))
PARTS = os.environ.get("PARTS", "cache files machines").split()
READERS, BLOCK = 8, 4096
CACHED_MEBIBYTES = [64, 512, 4096]
# Files that are read at random, 64 MiB of them in all.
FILES, ALL_FILES_MEBIBYTES = [1, 100, 10_000], 64
MACHINES, DISK_MEBIBYTES = [1, 2, 4, 8, 16, 32, 64], 16


@dataclass
class Case:
    """Reads of one size of something, and what was measured of them, round after round. `read` answers how
    many there were, how many a second, and their median latency in microseconds."""

    title: str
    read: object
    rates: list = field(default_factory=list)
    latencies: list = field(default_factory=list)
    costs: list = field(default_factory=list)

    def measure(self, server):
        before = processor_seconds(server)
        operations, rate, latency = self.read()
        self.rates.append(rate)
        self.latencies.append(latency)
        self.costs.append((processor_seconds(server) - before) * 1e6 / operations)

    def cells(self, first):
        median = statistics.median
        growth = median(mine / theirs for mine, theirs in zip(self.costs, first.costs))
        return [self.title, f"{median(self.rates) / 1e3:.1f} k/s", f"{median(self.latencies):.1f} µs",
                f"{median(self.costs):.1f} µs", f"{growth:.2f}"]


def by_fio(*options):
    """Reads by one or several processes."""
    def read():
        run = fio("--readonly", "--rw=randread", "--bs=4k", "--norandommap", *options, *timed(SAMPLE))
        return run.operations, run.operations_per_second, run.percentiles["p50"]
    return read


def in_open_files(files):
    """Reads by this process, of files that are open: their descriptors."""
    blocks = os.fstat(files[0]).st_size // BLOCK
    buffer = [memoryview(mmap.mmap(-1, BLOCK))]

    def read():
        latencies, now = [], time.perf_counter()
        end = now + SAMPLE
        while now < end:
            file, offset = random.choice(files), random.randrange(blocks) * BLOCK
            began = time.perf_counter()
            os.preadv(file, buffer, offset)
            now = time.perf_counter()
            latencies.append(now - began)
        return len(latencies), len(latencies) / SAMPLE, statistics.median(latencies) * 1e6
    return read


def take_turns(table, forebay, cases):
    """Measures the cases in turns; nobody is always the first."""
    server, misses = forebay.server(), forebay.number("misses")
    for number in range(ROUNDS):
        turn = number % len(cases)
        for case in cases[turn:] + cases[:turn]:
            case.measure(server)
    if missed := forebay.number("misses") - misses:
        raise Failure(f"{missed} blocks were not cached")
    for case in cases:
        cells = case.cells(cases[0])
        table.append(cells)
        print("{:56} {:>12} {:>10} {:>10} {:>8}".format(*cells), flush=True)


def measure_cache(programs, work, table):
    """One file, ever larger, in a cache that has all of them."""
    with memory(work + "/cache", "6G") as backing:
        for size in CACHED_MEBIBYTES:
            made(f"{backing}/{size}", size)
        with mounted(programs, work, backing, f"ram={sum(CACHED_MEBIBYTES) * 5 // 4}M") as forebay:
            for size in CACHED_MEBIBYTES:
                forebay.fill(str(size))
            take_turns(table, forebay, [
                Case(f"{READERS} readers, all of one file cached, MiB: {size}",
                     by_fio(f"--filename={forebay.folder}/{size}", f"--numjobs={READERS}"))
                for size in CACHED_MEBIBYTES])


def measure_files(programs, work, table):
    """64 MiB in one file, in many, and in very many."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with memory(work + "/files", "1G") as backing:
        for count in FILES:
            os.mkdir(f"{backing}/{count}")
            for number in range(count):
                with open(f"{backing}/{count}/{number}", "wb") as file:
                    file.write(os.urandom((ALL_FILES_MEBIBYTES << 20) // count // BLOCK * BLOCK))
        with mounted(programs, work, backing, "ram=1G") as forebay, contextlib.ExitStack() as to_close:
            cases = []
            for count in FILES:
                files = []
                for number in range(count):
                    path = f"{forebay.folder}/{count}/{number}"
                    with open(path, "rb") as file:
                        file.read()
                    files.append(os.open(path, os.O_RDONLY | os.O_DIRECT))
                    to_close.callback(os.close, files[-1])
                cases.append(Case(f"{ALL_FILES_MEBIBYTES} MiB, one reader, number of files: {count}",
                                  in_open_files(files)))
            take_turns(table, forebay, cases)


def measure_machines(programs, work, table):
    """Ever more readers, with a disk of their own each."""
    with memory(work + "/machines", "2G") as backing:
        for number in range(max(MACHINES)):
            made(f"{backing}/disk.{number}", DISK_MEBIBYTES)
        with mounted(programs, work, backing, "ram=2G") as forebay:
            for number in range(max(MACHINES)):
                forebay.fill(f"disk.{number}")
            take_turns(table, forebay, [
                Case(f"{DISK_MEBIBYTES} MiB for each reader, number of readers: {count}",
                     by_fio(f"--directory={forebay.folder}", "--filename_format=disk.$jobnum",
                            f"--size={DISK_MEBIBYTES}m", f"--numjobs={count}"))
                for count in MACHINES])


def measure(programs, work):
    parts = {"cache": measure_cache, "files": measure_files, "machines": measure_machines}
    if not set(PARTS) <= set(parts):
        sys.exit(f"bench: PARTS are of: {' '.join(parts)}")
    table = []
    for name in PARTS:
        parts[name](programs, work, table)
    head = ["what", "reads", "median latency", "server's processor time for each", "ratio to the first"]
    print("\n" + "\n".join("| " + " | ".join(cells) + " |"
                           for cells in [head, ["---"] * len(head), *table]))
    return 0
