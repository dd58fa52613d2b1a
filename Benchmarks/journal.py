"""What the journal gives and costs: stable writes through a mount against such writes to a file beside the log, in
turns; many writers at once; small writes with a log in memory; a burst of more than the datastore takes; the steady
state once the log is full; and recovery. Prints ratios, and all figures as one JSON object at the end.
"""

import contextlib
import json
import mmap
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# Where the datastore, the log and the file beside it are made: on a disk, not in memory.
FOLDER = os.environ.get("FOLDER", "/var/tmp")
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("DURATION", "4"))
# Of the log for the burst and for recovery; how much is dirty at the death of everything.
LOG_MEBIBYTES = int(os.environ.get("LOG_MEBIBYTES", "2048"))
DIRTY_MEBIBYTES = int(os.environ.get("DIRTY_MEBIBYTES", "1024"))
# What the slow datastore takes in a second.
BANDWIDTH = int(os.environ.get("BANDWIDTH", "20")) << 20
BURST_SECONDS = 10
# Guests that write at once where it is about throughput.
WRITERS = 4
SAMPLE = 0.5
STEADY_LOG_MEBIBYTES = 128
# A DDRdrive X1, in 2009.
SEED_WRITES = 38_491

WANTED = {
    "latency_ratio": ("at most", 1.5), "group_commit": ("at least", 4),
    "small_writes_per_second": ("at least", SEED_WRITES), "burst_latency_ratio": ("at most", 2),
    "destage_variation": ("at most", 0.3), "steady_ratio": ("at least", 0.9),
    "first_read_seconds": ("at most", 1),
}


def output(*command):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def plot(path, rates, burst):
    """Draws what guests wrote and what the datastore was given over time, as SVG."""
    width, height, left, bottom = 640, 240, 60, 30
    top = max(burst, *rates) * 1.1
    across = (width - left - 10) / len(rates)

    def point(index, rate):
        return f"{left + index * across:.1f},{height - bottom - rate / top * (height - bottom - 10):.1f}"

    ended = BURST_SECONDS / SAMPLE
    guests = [point(0, 0), point(0, burst), point(ended, burst), point(ended, 0)]
    given = [point(index, rate) for index, rate in enumerate(rates)]
    seconds = len(rates) * SAMPLE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        ' font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
        f'<polyline points="{" ".join(guests)}" fill="none" stroke="#c60" stroke-width="2"/>',
        f'<polyline points="{" ".join(given)}" fill="none" stroke="#06c" stroke-width="2"/>',
        f'<line x1="{left}" y1="{height - bottom}" x2="{width - 10}" y2="{height - bottom}" stroke="black"/>',
        f'<text x="{left + ended * across + 6:.0f}" y="24" fill="#c60">guests write {burst / 1e6:.0f} MB/s</text>',
        f'<text x="{width - 220}" y="{height - bottom - 8}" fill="#06c">the datastore is given</text>',
        f'<text x="4" y="{height - bottom}">0 MB/s</text><text x="4" y="20">{top / 1e6:.0f}</text>',
        f'<text x="{left}" y="{height - 8}">0</text>',
        f'<text x="{width - 60}" y="{height - 8}">{seconds:.0f} s</text>', "</svg>"]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def fio(name, *options):
    """Stable writes that bypass the page cache; the result's part about writes."""
    text = output(
        "fio", f"--name={name}", "--direct=1", "--sync=1", "--ioengine=psync", "--group_reporting",
        "--norandommap", "--randrepeat=0", "--output-format=json", *options)
    return json.loads(text[text.index("{"):])["jobs"][0]["write"]


def microseconds(result):
    return result["lat_ns"]["mean"] / 1e3


def made(path, mebibytes):
    """A file that has all its blocks, so that writes to it allocate nothing."""
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
        os.fsync(file.fileno())
    return path


class Mount:
    """A mount with a journal and write=back, over a folder."""

    def __init__(self, programs, work, backing, log, mebibytes=None, options=""):
        self.program, self.backing, self.log = programs + "/forebay", backing, log
        self.path = tempfile.mkdtemp(prefix="mount.", dir=work)
        self.options = (f"name=bench-{os.getpid()},state={self.path}.state,ram=64M,log={log},"
                        f"write=back{options}")
        if mebibytes:
            made(log, mebibytes)
        subprocess.run([self.program, "format", "--log", log, "--force"], check=True,
                       stdout=subprocess.DEVNULL)
        self.mount()

    def mount(self):
        subprocess.run([self.program, "mount", self.backing, self.path, "-o", self.options],
                       check=True)

    def number(self, name):
        return int(os.getxattr(self.path, "user.forebay." + name))

    def processes(self):
        status = json.loads(output(self.program, "status", self.path, "--json"))
        return [status["keeper_pid"], status["server_pid"]]

    def dies(self):
        """Keeper and server at once, as in a power cut; the mount goes with them."""
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        subprocess.run(["umount", "-l", self.path], check=True)

    def comes_home(self):
        subprocess.run([self.program, "flush", self.path], check=True)

    def end(self):
        subprocess.run([self.program, "unmount", self.path, "--timeout", "600"], check=True)


@contextlib.contextmanager
def mounted(*arguments, **options):
    mount = Mount(*arguments, **options)
    try:
        yield mount
    finally:
        mount.end()


class SlowDatastore:
    """The test datastore over a folder, which takes BANDWIDTH bytes in a second."""

    def __init__(self, programs, work):
        folder = tempfile.mkdtemp(prefix="folder.", dir=work)
        self.path = tempfile.mkdtemp(prefix="slow.", dir=work)
        self.control = self.path + ".control"
        subprocess.run(
            [programs + "/test-datastore", folder, self.path, "--control", self.control,
             "--bandwidth", str(BANDWIDTH)], check=True)

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(self.control)
            line.sendall(text.encode() + b"\n")
            return line.makefile().readline()

    def written(self):
        answer = self.command("counts")
        return json.loads(answer[answer.index("{"):])["write_bytes"]

    def end(self):
        subprocess.run(["umount", "-l", self.path], check=True)


def latency(programs, work, figures):
    """Depth 1, and 32 files at once, against the same on a file beside the log."""
    backing = tempfile.mkdtemp(prefix="backing.", dir=work)
    beside = made(work + "/beside", 256)
    one = ["--rw=randwrite", "--bs=4k", "--time_based", f"--runtime={SECONDS}", "--size=64m"]
    with mounted(programs, work, backing, work + "/log", LOG_MEBIBYTES) as mount:
        raw, ours, alone, many = [], [], [], []
        for _ in range(ROUNDS):
            raw.append(microseconds(fio("raw", f"--filename={beside}", *one)))
            result = fio("ours", f"--filename={mount.path}/disk", *one)
            ours.append(microseconds(result))
            alone.append(result["iops"])
            many.append(fio("many", f"--directory={mount.path}", "--numjobs=32",
                            "--rw=randwrite", "--bs=4k", "--time_based", f"--runtime={SECONDS}",
                            "--size=4m")["iops"])
        figures["device_microseconds"] = statistics.median(raw)
        figures["mount_microseconds"] = statistics.median(ours)
        figures["latency_ratio"] = figures["mount_microseconds"] / figures["device_microseconds"]
        figures["one_file_writes_per_second"] = statistics.median(alone)
        figures["many_files_writes_per_second"] = statistics.median(many)
        figures["group_commit"] = statistics.median(many) / statistics.median(alone)


@contextlib.contextmanager
def memory_device(work):
    """A block device over memory."""
    folder = tempfile.mkdtemp(prefix="memory.", dir=work)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200M", "bench", folder], check=True)
    device = None
    try:
        file = made(folder + "/log", 1024)
        device = output("losetup", "--find", "--show", file)
        yield device
    finally:
        if device:
            subprocess.run(["losetup", "--detach", device], check=False)
        subprocess.run(["umount", "-l", folder], check=False)


def small_writes(programs, work, figures):
    """512 bytes at random places of 8 files, the log in memory."""
    backing = tempfile.mkdtemp(prefix="backing.", dir=work)
    with memory_device(work) as device, mounted(programs, work, backing, device) as mount:
        counts = [fio("small", f"--directory={mount.path}", "--numjobs=8", "--rw=randwrite",
                      "--bs=512", "--size=16m", "--time_based", f"--runtime={SECONDS}")["iops"]
                  for _ in range(ROUNDS)]
    figures["small_writes_per_second"] = statistics.median(counts)


class Sampler:
    """How much the datastore was written, every half second."""

    def __init__(self, datastore):
        self.datastore, self.stopped, self.rates = datastore, threading.Event(), []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        before, began = self.datastore.written(), time.monotonic()
        while not self.stopped.wait(SAMPLE):
            now, at = self.datastore.written(), time.monotonic()
            self.rates.append((now - before) / (at - began))
            before, began = now, at

    def stop(self):
        self.stopped.set()
        self.thread.join()
        return self.rates


def burst(programs, work, figures):
    """Three times what the datastore takes, for 10 s; then nothing until all is home."""
    datastore = SlowDatastore(programs, work)
    try:
        with mounted(programs, work, datastore.path, work + "/log-burst", LOG_MEBIBYTES,
                     options=",destage_delay=1") as mount:
            def load(name, rate, seconds):
                return fio(name, f"--directory={mount.path}", f"--numjobs={WRITERS}",
                           "--rw=randwrite", "--bs=64k", f"--rate={rate // WRITERS}",
                           "--size=256m", "--time_based", f"--runtime={seconds}")

            normal = load("normal", BANDWIDTH // 4, 5)
            mount.comes_home()
            sampler = Sampler(datastore)
            during = load("burst", 3 * BANDWIDTH, BURST_SECONDS)
            while mount.number("dirty_bytes"):
                time.sleep(SAMPLE)
            rates = sampler.stop()
    finally:
        datastore.end()
    if during["bw_bytes"] < 2 * BANDWIDTH:
        print(f"bench: no burst: {during['bw_bytes']} bytes a second; give a smaller BANDWIDTH")
    busy = [place for place, rate in enumerate(rates) if rate > BANDWIDTH / 20]
    # The first and the last sample are of seconds that it worked for a part of.
    flat = rates[busy[0] + 1:busy[-1]] if len(busy) > 4 else []
    if len(flat) < 10:
        sys.exit(f"bench: the datastore was written for too short a time: {rates}")
    figures["burst_bytes_per_second"] = during["bw_bytes"]
    figures["normal_microseconds"] = microseconds(normal)
    figures["burst_microseconds"] = microseconds(during)
    figures["burst_longest_microseconds"] = during["lat_ns"]["max"] / 1e3
    figures["burst_latency_ratio"] = microseconds(during) / microseconds(normal)
    figures["destage_bytes_per_second"] = statistics.mean(flat)
    figures["destage_variation"] = statistics.pstdev(flat) / statistics.mean(flat)
    figures["destage_samples"] = [round(rate) for rate in rates]
    if "PLOT" in os.environ:
        plot(os.environ["PLOT"], rates, figures["burst_bytes_per_second"])


def steady(programs, work, figures):
    """A log that is full: as fast as the datastore itself."""
    datastore = SlowDatastore(programs, work)
    load = [f"--numjobs={WRITERS}", "--rw=write", "--bs=64k", "--size=256m", "--time_based"]
    try:
        own = fio("own", f"--directory={datastore.path}", *load, "--runtime=8")["bw_bytes"]
        with mounted(programs, work, datastore.path, work + "/log-steady", STEADY_LOG_MEBIBYTES
                     ) as mount:
            target = f"--directory={mount.path}"
            filled = fio("fill", target, *load, "--runtime=15")["bw_bytes"]
            full = mount.number("log_used_bytes") / (STEADY_LOG_MEBIBYTES << 20)
            kept = fio("full", target, *load, "--runtime=15")["bw_bytes"]
    finally:
        datastore.end()
    if full < 0.5:
        sys.exit(f"bench: the log was not full: {full:.2f} of it; figures of it say nothing")
    figures["datastore_bytes_per_second"] = own
    figures["filling_bytes_per_second"] = filled
    figures["steady_bytes_per_second"] = kept
    figures["steady_ratio"] = kept / own


def recovery(programs, work, figures):
    """Much dirty data and the death of everything: the first read, and when all is home."""
    datastore = SlowDatastore(programs, work)
    # So slow that next to nothing is home at the death.
    datastore.command(f"bandwidth {1 << 20}")
    try:
        with mounted(programs, work, datastore.path, work + "/log-recovery", LOG_MEBIBYTES,
                     options=",destage_delay=600") as mount:
            recover(mount, datastore, figures)
    finally:
        datastore.end()


def recover(mount, datastore, figures):
    fio("dirty", f"--filename={mount.path}/disk", "--rw=write", "--bs=256k",
        f"--size={DIRTY_MEBIBYTES}m")
    dirty = mount.number("dirty_bytes")
    if dirty < DIRTY_MEBIBYTES << 19:
        sys.exit(f"bench: only {dirty} bytes were dirty; recovery would say nothing")
    mount.dies()
    datastore.command("bandwidth 0")
    subprocess.run(["sh", "-c", "echo 3 >/proc/sys/vm/drop_caches"], check=True)
    began = time.monotonic()
    mount.mount()
    served = time.monotonic()
    file = os.open(mount.path + "/disk", os.O_RDONLY | os.O_DIRECT)
    os.preadv(file, [mmap.mmap(-1, 4096)], (DIRTY_MEBIBYTES << 19) & ~4095)
    read = time.monotonic()
    os.close(file)
    mount.comes_home()
    home = time.monotonic()
    figures["dirty_bytes"] = dirty
    figures["mount_seconds"] = served - began
    figures["first_read_seconds"] = read - began
    figures["home_seconds"] = home - began


PARTS = {"latency": latency, "small": small_writes, "burst": burst, "steady": steady,
         "recovery": recovery}


def measure(programs, names):
    unknown = set(names) - set(PARTS)
    if unknown:
        sys.exit(f"bench: {', '.join(sorted(unknown))}: unknown; {', '.join(PARTS)}")
    figures = {}
    for name in names or PARTS:
        work = tempfile.mkdtemp(prefix="forebay-journal.", dir=FOLDER)
        before = set(figures)
        try:
            PARTS[name](programs, work, figures)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        for key in [key for key in figures if key not in before]:
            if isinstance(figures[key], list):
                continue
            kind, limit = WANTED.get(key, ("", None))
            wanted = f"   wanted: {kind} {limit:,}" if limit else ""
            print(f"{key.replace('_', ' '):32} {figures[key]:16,.2f}{wanted}", flush=True)
    print(json.dumps(figures))
    missed = [key for key, (kind, limit) in WANTED.items() if key in figures
              and (figures[key] > limit if kind == "at most" else figures[key] < limit)]
    if missed:
        print(f"\nNot reached: {', '.join(key.replace('_', ' ') for key in missed)}.")
