"""What machines do: boot at once, are cloned, and are backed up while others work; over a datastore that
takes its time, against that datastore.

The images are generated: 70 % of their 64 KiB pieces are the same in all of them, at other places in each,
which is what machines with the same distribution and different packages have. `make demo` does the storm
with real ones.
"""

import os
import random
import sys
import threading
import time

from measure import OURS, Goal, Row
from tools import Failure, fio, made, memory, mounted, output, slow_datastore, timed

STORM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts", "storm.py")
IMAGES = 4
SHARED = 0.7
PIECE = 64 << 10
STORM_LATENCY = 5
# A file that is much larger than the memory that is left beside the hot set.
HOT_MEBIBYTES, SCAN_MEBIBYTES, SCAN_RAM = 32, 256, "64M"


def make_images(folder, mebibytes):
    """The same in every run but for the bytes, which are random."""
    shuffle = random.Random(1)
    pieces = (mebibytes << 20) // PIECE
    shared = [os.urandom(PIECE) for _ in range(round(pieces * SHARED))]
    for number in range(IMAGES):
        order = list(range(pieces))
        shuffle.shuffle(order)
        with open(f"{folder}/image-{number}", "wb") as file:
            for piece in order:
                file.write(shared[piece] if piece < len(shared) else os.urandom(PIECE))


def storm(folder, names):
    """Seconds that it takes to read all of the files at once."""
    return float(output(sys.executable, STORM, "read", *(f"{folder}/{name}" for name in names)))


def copy(source, target):
    """As cp(1) without the help of the datastore."""
    with open(source, "rb", buffering=0) as old, open(target, "wb", buffering=0) as new:
        while data := old.read(1 << 20):
            new.write(data)
        os.fsync(new.fileno())


class Storms:
    """Rows of a boot storm: nothing cached, and again."""

    def __init__(self, session, datastore, forebay):
        self.session, self.datastore, self.forebay = session, datastore, forebay
        self.names = [f"image-{number}" for number in range(IMAGES)]
        self.first = Row("storm-first", f"boot storm of {IMAGES}, {STORM_LATENCY} ms, first", "s")
        self.again = Row("storm-second", f"boot storm of {IMAGES}, {STORM_LATENCY} ms, second", "s",
                         [Goal("backing", "at most", 1 / 20)])
        self.first_reads = Row("storm-first-reads", "  datastore reads of the first", "reads")
        self.reads = Row("storm-second-reads", "  datastore reads of the second", "reads",
                         [Goal(None, "at most", 0)])
        session.rows += [self.first, self.first_reads, self.again, self.reads]

    def one(self, folder):
        before = self.datastore.reads()
        return storm(folder, self.names), self.datastore.reads() - before

    def round(self):
        self.datastore.takes(STORM_LATENCY)
        self.forebay.drop()
        seconds, count = self.one(self.datastore.folder)
        for row, figure in ((self.first, seconds), (self.again, seconds), (self.first_reads, count),
                            (self.reads, count)):
            row.add("backing", figure)
        for row, counts in ((self.first, self.first_reads), (self.again, self.reads)):
            seconds, count = self.one(self.forebay.folder)
            row.add(OURS, seconds)
            counts.add(OURS, count)


class Clones:
    """Rows of a machine that is copied while its image is cached, and of its copy's first start."""

    def __init__(self, session, datastore, forebay):
        self.datastore, self.forebay = datastore, forebay
        self.copying = Row("clone-copy", "clone: copy of a cached image, 1 ms", "s")
        self.start = Row("clone-start", "clone: first read of the copy, 1 ms", "s")
        self.reads = Row("clone-reads", "  datastore reads of it", "reads")
        self.added = Row("clone-memory", "  memory that the copy adds, of its size", "×", against="")
        session.rows += [self.copying, self.start, self.reads, self.added]

    def round(self):
        self.datastore.takes(1)
        storm(self.forebay.folder, ["image-0"])
        size = os.path.getsize(self.datastore.folder + "/image-0")
        for system in (self.forebay, self.datastore):
            name = "copy-" + system.name
            before = self.forebay.number("unique_bytes_ram")
            self.copying.add(system.name, self.time(
                lambda folder=system.folder, name=name: copy(f"{folder}/image-0", f"{folder}/{name}")))
            reads = self.datastore.reads()
            self.start.add(system.name, storm(system.folder, [name]))
            self.reads.add(system.name, self.datastore.reads() - reads)
            if system is self.forebay:
                self.added.add(OURS, max(0, self.forebay.number("unique_bytes_ram") - before) / size)
            os.unlink(f"{system.folder}/{name}")

    @staticmethod
    def time(work):
        begin = time.monotonic()
        work()
        return time.monotonic() - begin


class Scans:
    """Rows of machines that read a hot set at random while a backup reads a large file once."""

    def __init__(self, session, forebay):
        self.session, self.forebay = session, forebay
        self.ratio = Row("scan-hit-ratio", "backup scan: hot set's hit ratio, with/without", "ratio",
                         against="alone")
        self.speed = Row("scan-speed", "backup scan: hot set's reads, with/without", "k/s",
                         against="alone")
        session.rows += [self.ratio, self.speed]

    def hot(self):
        """Reads of the hot set; answers thousands a second and the part that were hits."""
        def counts():
            return [sum(self.forebay.number(name, "hot") for name in names)
                    for names in (("hits_ram", "hits_zero"), ("misses",))]

        before = counts()
        run = fio(f"--filename={self.forebay.folder}/hot", "--readonly", "--norandommap",
                  "--rw=randread", "--bs=4k", "--numjobs=4", *timed(self.session.sample * 2))
        hits, misses = (after - earlier for after, earlier in zip(counts(), before))
        return run.operations_per_second / 1e3, hits / max(hits + misses, 1)

    def scan(self, scanned):
        """The large file once."""
        scanned.append(fio(f"--filename={self.forebay.folder}/scanned", "--readonly", "--rw=read",
                           "--bs=1m", "--numjobs=1").operations)

    def round(self):
        speed, ratio = self.hot()
        self.ratio.add("alone", ratio)
        self.speed.add("alone", speed)
        scanned = []
        thread = threading.Thread(target=self.scan, args=(scanned,))
        thread.start()
        try:
            speed, ratio = self.hot()
        finally:
            thread.join()
        if scanned != [SCAN_MEBIBYTES]:
            raise Failure("the large file was not scanned beside the hot set")
        self.ratio.add(OURS, ratio)
        self.speed.add(OURS, speed)


def measure(session, programs, work):
    mebibytes = 16 if session.is_quick else 48
    with memory(work + "/scenes", "1500M") as folder:
        make_images(folder, mebibytes)
        made(folder + "/hot", HOT_MEBIBYTES)
        made(folder + "/scanned", SCAN_MEBIBYTES)
        session.say(f"images: {IMAGES} generated ones of {mebibytes} MiB that share {SHARED:.0%};"
                    " make demo has real ones")
        with slow_datastore(programs, work, folder) as datastore:
            with mounted(programs, work, datastore.folder, f"ram={mebibytes * 8 + 64}M") as forebay:
                scenes = [Storms(session, datastore, forebay), Clones(session, datastore, forebay)]
                for _ in session.rounds("storms and clones"):
                    for scene in scenes:
                        scene.round()
            with mounted(programs, work, datastore.folder, f"ram={SCAN_RAM}") as forebay:
                scans = Scans(session, forebay)
                datastore.takes(0.2)
                forebay.fill("hot")
                for _ in session.rounds("backup scan"):
                    scans.round()
