"""What a request costs the server, counted and not timed: allocations, locks, changes of reference counts,
wakes of other threads, calls of futex(2). The counts do not depend on the machine, so they are a gate:
costs.json has what is allowed.

A library preloaded into the server counts (count-calls.c), while fio makes one request at a time on a
datastore in memory: blocks of 4 KiB that are in memory, 1 MiB of them, blocks that are not, writes with
`write=through`, and writes with `write=back`. Locks are those of pthread_mutex_lock(3); Swift's own cost an
instruction when nobody else has them, and a futex(2) otherwise, which is counted.
"""

import json
import os
import struct
import subprocess

from tools import Failure, fio, made, memory, mounted, output

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = ["allocations", "locks", "futexes", "wakes", "retains", "releases"]
# Of the Swift runtime, for instruments: count-calls.c.
HOOKS = ["_swift_enableSwizzlingOfAllocationAndRefCountingFunctions_forInstrumentsOnly",
         "_ZL21_swift_retain_adapter", "__swift_retain_",
         "_ZL22_swift_release_adapterPN5swift10HeapObjectE", "__swift_release_"]
FILE_MEBIBYTES = 64

SITUATIONS = [
    # name, options of the mount, cached before, options of fio, the counter of requests
    ("hit, 4 KiB", "", True, ["--rw=randread", "--bs=4k", "--io_size=200m"], "reads"),
    ("hit, 1 MiB", "", True, ["--rw=read", "--bs=1m", "--io_size=2g"], "reads"),
    ("miss, 4 KiB", "", False, ["--rw=randread", "--bs=4k", "--randseed=1"], "reads"),
    ("write, through", "", True, ["--rw=randwrite", "--bs=4k", "--io_size=40m"], "writes"),
    ("write, journalled", "log={work}/log:256M,write=back,", True,
     ["--rw=randwrite", "--bs=4k", "--io_size=40m"], "writes"),
]


def hooks(server):
    """Where the runtime's hooks are in the program, as count-calls.c wants it."""
    found = {}
    for line in output("nm", server).splitlines():
        fields = line.split()
        if fields[-1] in HOOKS:
            found[fields[-1]] = fields[0]
    if len(found) != len(HOOKS):
        raise Failure("the Swift runtime in forebay-server has no hooks: was it built with"
                      " --static-swift-stdlib?")
    return " ".join(found[name] for name in HOOKS)


def measure_one(programs, work, backing, environment, options, is_cached, fio_options, requests_name):
    """Figures for each request, by kind."""
    with mounted(programs, work, backing, options.format(work=work) + "ram=256M", environment) as forebay:
        if is_cached:
            forebay.fill("disk")
        counts = f"{environment['CALL_COUNTS']}/{forebay.server()}"

        def look():
            with open(counts, "rb") as file:
                figures = struct.unpack(f"{len(KINDS)}Q", file.read(8 * len(KINDS)))
            return forebay.number(requests_name), figures

        requests, before = look()
        fio(f"--filename={forebay.folder}/disk", f"--size={FILE_MEBIBYTES}m", *fio_options)
        now, after = look()
        requests = now - requests
    if requests < 2000:
        raise Failure(f"only {requests} requests were counted: nothing can be said")
    if after[KINDS.index("retains")] == 0:
        raise Failure("no change of a reference count was seen: the hooks do not work")
    return {kind: round((after[index] - before[index]) / requests, 3)
            for index, kind in enumerate(KINDS)}


def measure(programs, work):
    """Prints the table; answers the figures of each situation, and which are above what is allowed."""
    with open(HERE + "/costs.json", encoding="utf-8") as file:
        allowed = json.load(file)
    library = work + "/count-calls.so"
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-o", library, HERE + "/count-calls.c"], check=True)
    os.mkdir(work + "/counts")
    environment = {"LD_PRELOAD": library, "CALL_COUNTS": work + "/counts",
                   "CALL_COUNTS_HOOKS": hooks(programs + "/forebay-server")}
    print("\nfor each request" + "".join(f"{kind:>13}" for kind in KINDS))
    found, exceeded = {}, []
    with memory(work + "/counted", "512M") as place:
        os.mkdir(place + "/backing")
        made(place + "/backing/disk", FILE_MEBIBYTES)
        for name, *situation in SITUATIONS:
            figures = found[name] = measure_one(
                programs, place, place + "/backing", environment, *situation)
            row = f"{name:16}"
            for kind in KINDS:
                is_over = figures[kind] > allowed[name][kind]
                if is_over:
                    exceeded.append(f"{name}: {figures[kind]} {kind}, allowed {allowed[name][kind]}")
                row += f"{figures[kind]:12.3f}{'!' if is_over else ' '}"
            print(row, flush=True)
    return {"figures": found, "allowed": allowed, "exceeded": exceeded}
