"""What the benchmarks share: commands, fio, folders in memory, mounts of Forebay, and a datastore that is
as slow as one says.
"""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
from collections import namedtuple

# What a run of fio found: reads and writes together. The percentiles are {"p50": …, "p99": …,
# "p99.9": …} in microseconds, of what there was more of.
Run = namedtuple("Run", "operations_per_second bytes_per_second percentiles operations")

PERCENTILES = {"p50": "50.000000", "p99": "99.000000", "p99.9": "99.900000"}
# A run that takes longer than this hangs.
PATIENCE = 120


class Failure(Exception):
    """A measurement that could not be made; the text says why."""


def output(*command, **options):
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout.strip()


def fio(*options):
    """Runs fio past the page cache; answers a Run."""
    command = ["fio", "--name=bench", "--direct=1", "--ioengine=psync", "--group_reporting",
               "--randrepeat=0", "--percentile_list=50:99:99.9", "--output-format=json", *options]
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"fio did not end within {PATIENCE} s") from error
    text = done.stdout
    if done.returncode or "{" not in text:
        lines = [line for line in (done.stderr + text).splitlines() if "fio:" in line]
        raise Failure(lines[0] if lines else f"fio ended with {done.returncode}")
    job = json.loads(text[text.index("{"):])["jobs"][0]
    sides = [job[side] for side in ("read", "write") if job[side]["total_ios"]]
    if job["error"] or not sides:
        raise Failure(f"fio: error {job['error']}")
    most = max(sides, key=lambda side: side["total_ios"])
    found = most["clat_ns"].get("percentile", {})
    return Run(
        sum(side["iops"] for side in sides), sum(side["bw_bytes"] for side in sides),
        {name: found[key] / 1e3 for name, key in PERCENTILES.items() if key in found},
        sum(side["total_ios"] for side in sides))


def timed(seconds):
    """fio's options for a run of so long."""
    return ["--time_based", f"--runtime={round(seconds * 1000)}ms"]


def made(path, mebibytes):
    """A file of random data that has all its blocks."""
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
    return path


def processor_seconds(process):
    """What a process has had of the processors so far, in user space and in the kernel."""
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def memory(path, size):
    """A folder in memory; `size` as for mount(8)."""
    os.makedirs(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "bench", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=False)


class Forebay:
    """A mount over a folder; `options` as for `forebay mount -o`, name and state are given."""

    name = "forebay"
    count = 0

    def __init__(self, programs, work, backing, options, environment=None):
        Forebay.count += 1
        self.program = programs + "/forebay"
        self.folder = f"{work}/forebay-{Forebay.count}"
        os.makedirs(self.folder)
        subprocess.run(
            [self.program, "mount", backing, self.folder, "-o",
             f"name=bench-{os.getpid()}-{Forebay.count},state={self.folder}.state,{options}"],
            check=True, env={**os.environ, **(environment or {})})

    def number(self, name, path=""):
        """A number of the whole mount, or of a file below it."""
        return int(os.getxattr(f"{self.folder}/{path}", "user.forebay." + name))

    def drop(self, path=""):
        """Forgets what is cached."""
        os.setxattr(f"{self.folder}/{path}", "user.forebay.drop", b"1")

    def server(self):
        return json.loads(output(self.program, "status", self.folder, "--json"))["server_pid"]

    @property
    def process(self):
        return self.server()

    def rest(self):
        """Nothing is left to do: what was written is on the datastore."""

    def fill(self, name):
        """Reads a file twice, so that what is worked out behind the first reads is done."""
        for _ in range(2):
            fio(f"--filename={self.folder}/{name}", "--readonly", "--rw=read", "--bs=1m")

    def end(self):
        subprocess.run([self.program, "unmount", self.folder], check=True)


@contextlib.contextmanager
def mounted(*arguments, **options):
    mount = Forebay(*arguments, **options)
    try:
        yield mount
    finally:
        mount.end()


class Datastore:
    """The test datastore over a folder: each operation takes as long as one says, which stands for the
    way to a filer. It believes attributes for as long as NFS clients do."""

    name = "backing"

    def __init__(self, programs, work, folder):
        self.folder = tempfile.mkdtemp(prefix="slow.", dir=work)
        self.control = self.folder + ".control"
        subprocess.run([programs + "/test-datastore", folder, self.folder, "--control", self.control,
                        "--timeout", "3"], check=True)

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self.control)
            line.sendall(text.encode() + b"\n")
            answer = line.makefile().readline().strip()
        if not answer.startswith("ok"):
            raise Failure(f"test datastore: {text}: {answer}")
        return answer.removeprefix("ok").strip()

    def takes(self, milliseconds):
        """From now on each operation takes so long."""
        self.command(f"latency all {round(milliseconds * 1000)}")

    def reads(self):
        """Reads that it has had to answer."""
        return json.loads(self.command("counts"))["read"]

    def end(self):
        self.command("heal")
        subprocess.run(["umount", self.folder], check=False)
        if os.path.ismount(self.folder):
            subprocess.run(["umount", "-l", self.folder], check=False)


@contextlib.contextmanager
def slow_datastore(programs, work, folder):
    datastore = Datastore(programs, work, folder)
    try:
        yield datastore
    finally:
        datastore.end()


def await_that(condition, what, seconds=20):
    """Waits until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.02)
