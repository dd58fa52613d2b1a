"""4 KiB random reads of what is in flash and not in memory, through a mount, against reads of the flash
file itself, in turns: fio with libaio and O_DIRECT at several depths. Prints medians, their ratios, and
what part of the mount's reads came from flash.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

# Where the datastore and the flash file are made: on a disk, not in memory.
FOLDER = os.environ.get("FOLDER", "/var/tmp")
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("DURATION", "4"))
GIBIBYTES = int(os.environ.get("GIBIBYTES", "2"))
DEPTHS = [1, 8, 32]
RAM = "64M"
# Of the reads of the mount: the rest is what the little memory has, and what was never stored.
LEAST_FROM_FLASH = 0.9
WANTED_RATIO = 0.8


def output(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def fio(path, *options):
    text = output(
        "fio", "--name=read", f"--filename={path}", "--direct=1", "--ioengine=libaio", "--readonly",
        "--norandommap", "--randrepeat=0", "--output-format=json", *options)
    return json.loads(text[text.index("{"):])["jobs"][0]["read"]


def random_reads(path, depth):
    """Reads for each second, and their mean latency in microseconds."""
    result = fio(path, "--rw=randread", "--bs=4k", f"--iodepth={depth}", f"--size={GIBIBYTES}g",
                 "--time_based", f"--runtime={SECONDS}")
    return result["iops"], result["clat_ns"]["mean"] / 1e3


class Mount:
    def __init__(self, programs, work):
        self.program = programs + "/forebay"
        self.path = work + "/mount"
        self.flash = work + "/flash"
        os.mkdir(self.path)
        with open(self.flash, "wb") as file:
            file.truncate(GIBIBYTES * 1280 << 20)
        subprocess.run([self.program, "format", "--flash", self.flash], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(
            [self.program, "mount", work + "/backing", self.path, "-o",
             f"name=bench-{os.getpid()},state={work}/state,ram={RAM},"
             f"flash={self.flash}"], check=True)

    def number(self, name):
        return int(os.getxattr(self.path, "user.forebay." + name))

    def fill(self):
        """Reads all of the file until flash takes no more of it."""
        stored = -1
        while stored < self.number("unique_bytes_flash"):
            stored = self.number("unique_bytes_flash")
            fio(self.path + "/disk", "--rw=read", "--bs=1m", "--iodepth=1")
            # What was read is stored behind the reads.
            before = -1
            while before < self.number("unique_bytes_flash"):
                before = self.number("unique_bytes_flash")
                time.sleep(1)
        if stored < LEAST_FROM_FLASH * (GIBIBYTES << 30):
            sys.exit(f"bench: only {stored >> 20} MiB were stored in flash")
        return stored

    def end(self):
        subprocess.run([self.program, "unmount", self.path], check=True)


def compare(mount):
    ratios = []
    print(f"{'depth':>5} {'flash file':>21} {'mount':>21} {'ratio':>6} {'from flash':>11}")
    for depth in DEPTHS:
        raw, ours = [], []
        reads, hits = mount.number("reads"), mount.number("hits_flash")
        for _ in range(ROUNDS):
            raw.append(random_reads(mount.flash, depth))
            ours.append(random_reads(mount.path + "/disk", depth))
        part = (mount.number("hits_flash") - hits) / max(mount.number("reads") - reads, 1)
        figures = [[statistics.median(column) for column in zip(*runs)] for runs in (raw, ours)]
        ratio = figures[1][0] / figures[0][0]
        ratios.append(ratio)
        cells = [f"{reads / 1e3:6.1f} k/s {latency:7.0f} µs" for reads, latency in figures]
        print(f"{depth:5} {cells[0]:>21} {cells[1]:>21} {ratio:6.2f} {part:11.3f}", flush=True)
        if part < LEAST_FROM_FLASH:
            sys.exit("bench: too little came from flash; the figures are not of it")
    return ratios


def measure(programs):
    work = tempfile.mkdtemp(prefix="forebay-flash.", dir=FOLDER)
    try:
        os.mkdir(work + "/backing")
        with open(work + "/backing/disk", "wb") as file:
            for _ in range(GIBIBYTES << 10):
                file.write(os.urandom(1 << 20))
        mount = Mount(programs, work)
        try:
            begin = time.monotonic()
            stored = mount.fill()
            print(f"{stored >> 20} MiB of a file of {GIBIBYTES} GiB in flash after"
                  f" {time.monotonic() - begin:.0f} s; {ROUNDS} rounds of {SECONDS} s, medians,"
                  f" ram={RAM}\n")
            ratios = compare(mount)
        finally:
            mount.end()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if min(ratios) < WANTED_RATIO:
        print(f"\nWanted: {WANTED_RATIO} at each depth.")
