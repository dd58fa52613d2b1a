"""The memory that a server takes beyond `ram=`, and what the kernel's page cache holds above a mount; both as
`forebay status` tells them.

A datastore in memory has 10,000 sparse files of 1 TiB in all; 16 random pieces of 16 KiB of each are data.
All of them are looked at, opened and read through the mount, past the page cache: holes first, then the
data, which is more than `ram=` takes. Then files that all have the same contents are read, in stages: what
each stage adds to the tables is what a block costs that is mapped and has no contents of its own. Flash
files of several sizes are filled. What 1 TiB of either would take is told by the slope (least squares) of
these stages, not by the size of an entry. At last four images that share most of their blocks are read
through the page cache, as programs and knfsd do.

    Benchmarks/run memory       about 3 minutes; 4 GiB of memory, and 512 MiB of the disk that FOLDER is on
    PARTS="files maps flash pages" FILES=10000 RAM=256M
"""

import json
import mmap
import os
import random
import shutil
import subprocess
import sys
import tempfile

from tools import Failure, await_that, fio, made, memory, mounted, output, timed

FOLDER = os.environ.get("FOLDER", "/var/tmp")
PARTS = os.environ.get("PARTS", "files maps flash pages").split()
FILES = int(os.environ.get("FILES", "10000"))
RAM = os.environ.get("RAM", "256M")
BLOCK = 4096
TEBIBYTE = 1 << 40
PIECES, PIECE = 16, 16 << 10
# Copies of one file, and how many have been read at the end of each stage.
COPIES, COPY_MEBIBYTES, STAGES = 48, 16, [8, 16, 24, 32, 40, 48]
FLASH_MEBIBYTES = [128, 256, 512]
IMAGES, IMAGE_MEBIBYTES, SHARED = 4, 64, 0.7


class Table:
    """Rows that are printed as they are found, and Markdown at the end."""

    def __init__(self):
        self.rows = []

    def add(self, what, figure):
        self.rows.append((what, figure))
        print(f"{what:72} {figure}", flush=True)

    def markdown(self):
        lines = ["| what | measured |", "| --- | --- |"]
        return "\n".join(lines + [f"| {what} | {figure} |" for what, figure in self.rows])


def mebibytes(count):
    return f"{count / (1 << 20):.1f} MiB" if count < 1 << 30 else f"{count / (1 << 30):.2f} GiB"


def status(forebay, *options):
    return json.loads(output(forebay.program, "status", forebay.folder, "--json", *options))


def slope(points):
    """How much y grows with x, by least squares."""
    middle = [sum(column) / len(points) for column in zip(*points)]
    above = sum((x - middle[0]) * (y - middle[1]) for x, y in points)
    return above / sum((x - middle[0]) ** 2 for x, _ in points)


def make_files(folder):
    """10,000 sparse files of 1 TiB in all; answers their paths below the folder, and the places of data."""
    size = -(-TEBIBYTE // FILES // PIECE) * PIECE
    shuffle, files = random.Random(1), []
    for number in range(FILES):
        place = f"{number // 100}"
        if number % 100 == 0:
            os.mkdir(f"{folder}/{place}")
        data = sorted(shuffle.sample(range(size // PIECE), PIECES))
        with open(f"{folder}/{place}/{number}", "wb", buffering=0) as file:
            for piece in data:
                os.pwrite(file.fileno(), os.urandom(PIECE), piece * PIECE)
            file.truncate(size)
        files.append((f"{place}/{number}", data, size))
    return files


class Direct:
    """Reads past the page cache."""

    def __init__(self):
        self.buffer = mmap.mmap(-1, 1 << 20)

    def read(self, path, places):
        """Reads pieces at (offset, length) of a file; answers bytes read."""
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            return sum(os.preadv(file, [memoryview(self.buffer)[:length]], offset)
                       for offset, length in places)
        finally:
            os.close(file)


def rested(forebay):
    """The status once what was read has entered the cache: twice the same."""
    last = None

    def is_same():
        nonlocal last
        now = status(forebay)
        same = last is not None and all(
            now[name] == last[name] for name in ("cached_bytes", "unique_bytes", "backend_reads"))
        last = now
        return same

    await_that(is_same, "the cache does not come to rest", seconds=60)
    return last


def measure_files(programs, work, table):
    direct, shuffle = Direct(), random.Random(2)
    with memory(work + "/files", "3G") as place:
        os.mkdir(place + "/backing")
        files = make_files(place + "/backing")
        with mounted(programs, work, place + "/backing", f"ram={RAM}") as forebay:
            first = rested(forebay)
            table.add("resident, mounted", mebibytes(first["server_resident_bytes"]))
            table.add("… of it and of what a successor gets, beyond the RAM tier",
                      mebibytes(first["server_beyond_ram_bytes"]))
            for path, _, _ in files:
                os.stat(f"{forebay.folder}/{path}")
            known = rested(forebay)
            if known["inodes"] < FILES:
                raise Failure(f"only {known['inodes']} of {FILES} files are known")
            grown = known["server_beyond_ram_bytes"] - first["server_beyond_ram_bytes"]
            table.add(f"{FILES} files of 1 TiB looked at: for each file", f"{grown / FILES:.0f} B")
            for path, data, size in files:
                free = [piece for piece in shuffle.sample(range(size // PIECE), 4) if piece not in data]
                direct.read(f"{forebay.folder}/{path}", [(piece * PIECE, BLOCK) for piece in free])
            holes = rested(forebay)
            grown = holes["server_beyond_ram_bytes"] - first["server_beyond_ram_bytes"]
            table.add("… opened, and random blocks of holes read: for each file", f"{grown / FILES:.0f} B")
            for path, data, _ in files:
                direct.read(f"{forebay.folder}/{path}", [(piece * PIECE, PIECE) for piece in data])
            full = rested(forebay)
            budget = full["ram_budget_bytes"]
            if not full["evictions"]:
                raise Failure("the RAM tier was not filled")
            table.add(f"resident, data read until ram={RAM} was full",
                      mebibytes(full["server_resident_bytes"]))
            table.add("… the RAM tier's pages, of ram=", f"{full['ram_resident_bytes'] / budget:.3f}")
            table.add("… beyond the RAM tier", mebibytes(full["server_beyond_ram_bytes"]))
            table.add("… tables in the RAM tier, for each cached block of 4 KiB",
                      f"{full['ram_bookkeeping_bytes'] / (full['cached_bytes'] / BLOCK):.1f} B")


def measure_maps(programs, work, table):
    """Blocks that are mapped and have no contents of their own: copies."""
    direct = Direct()
    with memory(work + "/maps", "2G") as place:
        os.mkdir(place + "/backing")
        one = made(place + "/backing/0", COPY_MEBIBYTES)
        for number in range(1, COPIES):
            shutil.copyfile(one, f"{place}/backing/{number}")
        with mounted(programs, work, place + "/backing", f"ram={RAM}") as forebay:
            points, done = [], 0
            for stage in STAGES:
                for number in range(done, stage):
                    direct.read(f"{forebay.folder}/{number}",
                                [(offset << 20, 1 << 20) for offset in range(COPY_MEBIBYTES)])
                done = stage
                now = rested(forebay)
                points.append((now["cached_bytes"] / BLOCK, now["ram_bookkeeping_bytes"]))
            if now["cached_bytes"] != COPIES * COPY_MEBIBYTES << 20:
                raise Failure("not all of the copies are mapped")
            bytes_each = slope(points)
            table.add(f"copies, {points[0][0]:.0f} to {points[-1][0]:.0f} blocks of one content mapped:"
                      " for each block, in ram=", f"{bytes_each:.1f} B")
            table.add("… by that slope, 1 TiB mapped", mebibytes(bytes_each * TEBIBYTE / BLOCK))


def measure_flash(programs, work, table):
    """The index of flash. Its slope is that of the tables as the server counts them: what the process has
    grows and shrinks by more for the threads that fill flash than small devices have of index."""
    direct, points = Direct(), []
    disk = tempfile.mkdtemp(prefix="forebay-memory.", dir=FOLDER)
    try:
        with memory(work + "/flash", "2G") as place:
            os.mkdir(place + "/backing")
            size = max(FLASH_MEBIBYTES) * 9 // 8
            made(place + "/backing/disk", size)
            for capacity in FLASH_MEBIBYTES:
                flash = f"{disk}/{capacity}"
                with open(flash, "wb") as file:
                    file.truncate(capacity << 20)
                subprocess.run([programs + "/forebay", "format", "--flash", flash], check=True,
                               stdout=subprocess.DEVNULL)
                with mounted(programs, work, place + "/backing",
                             f"ram=64M,flash={flash},flash_dwpd=0") as forebay:
                    empty, stored = rested(forebay), -1
                    while (now := rested(forebay))["unique_bytes_flash"] > stored:
                        stored = now["unique_bytes_flash"]
                        direct.read(forebay.folder + "/disk",
                                    [(offset << 20, 1 << 20) for offset in range(capacity * 9 // 8)])
                    if stored < 0.8 * (capacity << 20):
                        raise Failure(f"{stored >> 20} MiB of {capacity} were stored in flash")
                    points.append((stored / BLOCK, now["flash_index_bytes"]))
                os.unlink(flash)
    finally:
        shutil.rmtree(disk, ignore_errors=True)
    each = slope(points)
    table.add(f"flash of {capacity} MiB, empty: beyond the RAM tier",
              mebibytes(empty["server_beyond_ram_bytes"]))
    table.add("… full", mebibytes(now["server_beyond_ram_bytes"]))
    table.add(f"index of {points[0][0]:.0f} to {points[-1][0]:.0f} blocks in flash: for each block",
              f"{slope(points):.1f} B")
    table.add("… by that slope, 1 TiB of flash", mebibytes(slope(points) * TEBIBYTE / BLOCK))


def buffered(path):
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def measure_pages(programs, work, table):
    shuffle = random.Random(3)
    with memory(work + "/pages", "1G") as place:
        os.mkdir(place + "/backing")
        pieces = IMAGE_MEBIBYTES << 4
        shared = [os.urandom(64 << 10) for _ in range(round(pieces * SHARED))]
        for number in range(IMAGES):
            parts = shared + [os.urandom(64 << 10) for _ in range(pieces - len(shared))]
            shuffle.shuffle(parts)
            with open(f"{place}/backing/{number}", "wb") as file:
                file.writelines(parts)
        with mounted(programs, work, place + "/backing", f"ram={RAM}") as forebay:
            for number in range(IMAGES):
                buffered(f"{forebay.folder}/{number}")
            rested(forebay)
            first = status(forebay, "--page-cache")
            for number in range(IMAGES):
                buffered(f"{forebay.folder}/{number}")
            second = status(forebay, "--page-cache")
            table.add(f"{IMAGES} images of {IMAGE_MEBIBYTES} MiB, {SHARED:.0%} shared, read once:"
                      " in the page cache", mebibytes(first["page_cache_bytes"]))
            table.add("… in the RAM tier", mebibytes(first["unique_bytes_ram"]))
            table.add("… page cache for each byte of the RAM tier",
                      f"{first['page_cache_bytes'] / first['unique_bytes_ram']:.2f}")
            table.add("… read again: requests that reach the server, of the first time's",
                      f"{second['reads'] - first['reads']} of {first['reads']}")
            options = [f"--filename={forebay.folder}/0", "--readonly", "--rw=randread", "--bs=4k",
                       "--norandommap", *timed(3)]
            pages = fio("--direct=0", "--invalidate=0", *options)
            tier = fio(*options)
            table.add("… 4 KiB random reads from the page cache, median",
                      f"{pages.percentiles['p50']:.1f} µs")
            table.add("… from the RAM tier (O_DIRECT)", f"{tier.percentiles['p50']:.1f} µs")


def measure(programs, work):
    table = Table()
    parts = {"files": measure_files, "maps": measure_maps, "flash": measure_flash, "pages": measure_pages}
    if not set(PARTS) <= set(parts):
        sys.exit(f"bench: PARTS are of: {' '.join(parts)}")
    for name in PARTS:
        parts[name](programs, work, table)
    print("\n" + table.markdown())
    return 0
