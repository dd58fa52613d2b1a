#!/usr/bin/env python3
"""What a request costs the server, counted and not timed: allocations, locks, changes of reference counts,
wakes of other threads, calls of futex(2). The counts do not depend on the machine, so they are a gate.

    Benchmarks/costs.py            prints a table; exit status 1 when a figure is above costs.json
    PROGRAMS=DIR                   other programs than those of the release build

A library preloaded into the server counts (count-calls.c), while fio makes one request at a time on a
datastore in memory: blocks of 4 KiB that are in memory, 1 MiB of them, blocks that are not, writes with
`write=through`, and writes with `write=back`. Locks are those of pthread_mutex_lock(3); Swift's own cost an
instruction when nobody else has them, and a futex(2) otherwise, which is counted.
"""

import contextlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

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


def output(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def fio(path, *options):
    subprocess.run(
        ["fio", "--name=costs", f"--filename={path}", "--direct=1", "--ioengine=psync",
         f"--size={FILE_MEBIBYTES}m", *options],
        check=True, stdout=subprocess.DEVNULL)


def hooks(server):
    """Where the runtime's hooks are in the program, as count-calls.c wants it."""
    found = {}
    for line in output("nm", server).splitlines():
        fields = line.split()
        if fields[-1] in HOOKS:
            found[fields[-1]] = fields[0]
    if len(found) != len(HOOKS):
        sys.exit("costs: the Swift runtime in forebay-server has no hooks: was it built with"
                 " --static-swift-stdlib?")
    return " ".join(found[name] for name in HOOKS)


@contextlib.contextmanager
def mounted(programs, work, options, environment):
    """A mount over work/backing; answers its folder."""
    mount = work + "/mount"
    os.makedirs(mount, exist_ok=True)
    subprocess.run(
        [programs + "/forebay", "mount", work + "/backing", mount, "-o",
         f"name=costs-{os.getpid()},{options}state={work}/state,ram=256M"],
        check=True, env={**os.environ, **environment})
    try:
        yield mount
    finally:
        subprocess.run([programs + "/forebay", "unmount", mount], check=True)


def measure_one(programs, work, environment, options, is_cached, fio_options, requests_name):
    """Figures for each request, by kind."""
    with mounted(programs, work, options.format(work=work), environment) as mount:
        path = mount + "/disk"
        if is_cached:
            # Twice, so that what is worked out behind the first reads is done.
            for _ in range(2):
                fio(path, "--rw=read", "--bs=1m", "--readonly")
        status = json.loads(output(programs + "/forebay", "status", mount, "--json"))
        counts = f"{environment['CALL_COUNTS']}/{status['server_pid']}"

        def look():
            with open(counts, "rb") as file:
                figures = struct.unpack(f"{len(KINDS)}Q", file.read(8 * len(KINDS)))
            return int(os.getxattr(mount, "user.forebay." + requests_name)), figures

        requests, before = look()
        fio(path, *fio_options)
        now, after = look()
        requests = now - requests
    if requests < 2000:
        sys.exit(f"costs: only {requests} requests were counted: nothing can be said")
    if after[KINDS.index("retains")] == 0:
        sys.exit("costs: no change of a reference count was seen: the hooks do not work")
    return {kind: round((after[index] - before[index]) / requests, 3)
            for index, kind in enumerate(KINDS)}


def measure(programs, work):
    """Prints the table; answers whether everything is within costs.json."""
    with open(HERE + "/costs.json", encoding="utf-8") as file:
        allowed = json.load(file)
    library = work + "/count-calls.so"
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-o", library, HERE + "/count-calls.c"], check=True)
    os.mkdir(work + "/counts")
    environment = {"LD_PRELOAD": library, "CALL_COUNTS": work + "/counts",
                   "CALL_COUNTS_HOOKS": hooks(programs + "/forebay-server")}
    print("\nfor each request" + "".join(f"{kind:>13}" for kind in KINDS))
    exceeded = []
    for name, *situation in SITUATIONS:
        figures = measure_one(programs, work, environment, *situation)
        row = f"{name:16}"
        for kind in KINDS:
            is_over = figures[kind] > allowed[name][kind]
            if is_over:
                exceeded.append(f"{name}: {figures[kind]} {kind}, allowed {allowed[name][kind]}")
            row += f"{figures[kind]:12.3f}{'!' if is_over else ' '}"
        print(row, flush=True)
    for text in exceeded:
        print(f"costs: {text}", file=sys.stderr)
    return not exceeded


def main():
    if os.geteuid() != 0:
        sys.exit("costs: must be root: it mounts file systems")
    programs = os.environ.get("PROGRAMS") or output(
        "swift", "build", "-c", "release", "--show-bin-path", "--package-path", HERE + "/..")
    work = tempfile.mkdtemp(prefix="forebay-costs.")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512M", "costs", work], check=True)
        os.mkdir(work + "/backing")
        with open(work + "/backing/disk", "wb") as file:
            for _ in range(FILE_MEBIBYTES):
                file.write(os.urandom(1 << 20))
        return 0 if measure(programs, work) else 1
    finally:
        subprocess.run(["umount", "-l", work], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
