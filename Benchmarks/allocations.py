"""Allocations of the server for each cached read: a library preloaded into it counts malloc(3) and its kin.
Deterministic, so it is a gate.
"""

import os
import struct
import subprocess

from tools import Failure, fio, made, memory, mounted

COUNTED_READS = 100_000
# libfuse's own allocation for each request, and a little for what runs beside.
ALLOWED = 1.05
# What runs beside only adds, and more of it on a busy machine: the least of so many counts decides.
COUNTS = 3


def count(programs, work):
    """Allocations for each read of 4 KiB, and the number of reads."""
    library = work + "/count-allocations.so"
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "count-allocations.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    counts = work + "/counts"
    os.mkdir(counts)
    with memory(work + "/counted", "256M") as backing:
        made(backing + "/disk", 64)
        with mounted(programs, work, backing, "ram=256M",
                     {"LD_PRELOAD": library, "ALLOCATION_COUNTS": counts}) as forebay:
            forebay.fill("disk")
            path = f"{counts}/{forebay.server()}"

            def allocations():
                with open(path, "rb") as file:
                    return struct.unpack("Q", file.read(8))[0]

            least = None
            for _ in range(COUNTS):
                reads, before = forebay.number("reads"), allocations()
                fio(f"--filename={forebay.folder}/disk", "--readonly", "--norandommap",
                    "--rw=randread", "--bs=4k", f"--io_size={COUNTED_READS * 4}k")
                after = allocations()
                reads = forebay.number("reads") - reads
                if reads < COUNTED_READS:
                    raise Failure(f"only {reads} reads were counted: that says nothing")
                each = (after - before) / reads
                least = each if least is None else min(least, each)
                if least <= ALLOWED:
                    break
    return least, reads


def measure(programs, work):
    """Prints the count; answers it and whether it is allowed."""
    each, reads = count(programs, work)
    print(f"\nallocations per cached 4 KiB read: {each:.3f} over {reads} reads"
          f" (libfuse makes 1 for each request; allowed {ALLOWED})")
    return {"per_read": each, "reads": reads, "allowed": ALLOWED, "reached": each <= ALLOWED}
