"""What a client sees when the server of a mount is ended: the longest that one call took around each
death, of a process each that reads what is cached, writes, and asks for the sizes of the file system.
Prints the median, the nine in ten and the longest for each situation.
"""

import contextlib
import json
import mmap
import multiprocessing
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scripts"))
import killer  # noqa: E402

KILLS = int(os.environ.get("KILLS", "30"))
# Between two deaths: long enough for the server to come to rest, and not a multiple of its intervals.
BETWEEN = 0.53
FILES = 100_000
CACHED = 64 << 20


def read_call(mount):
    file = os.open(mount + "/cached", os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    places = iter(range(1 << 60))
    return lambda: os.preadv(file, [buffer], next(places) * 4096 % CACHED)


def write_call(mount):
    file = os.open(mount + "/written", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4096)
    return lambda: os.pwritev(file, [buffer], 0)


def size_call(mount):
    return lambda: os.statvfs(mount)


def probe(make, mount, report, stop):
    """Makes one call after the other; reports the times of those that took longer than 2 ms."""
    call, slow = make(mount), []
    while not stop.is_set():
        begin = time.monotonic()
        call()
        end = time.monotonic()
        if end - begin > 0.002:
            slow.append((begin, end))
        # Clients are not always at it; this also leaves processors to the successor.
        time.sleep(0.0005)
    report.send(slow)


def pauses(mount, control, kills, number=signal.SIGKILL):
    """Ends the server so often; answers the pauses in seconds, sorted."""
    stop = multiprocessing.Event()
    probes = []
    for make in (read_call, write_call, size_call):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=probe, args=(make, mount, sender, stop))
        process.start()
        probes.append((process, receiver))
    victims = killer.Killer(control)
    moments = []
    time.sleep(1)
    for _ in range(kills):
        restarts = victims.slots.counter(killer.Slots.RESTARTS)
        moments.append(time.monotonic())
        victims.kill(number)
        victims.await_successor(restarts)
        time.sleep(BETWEEN)
    stop.set()
    calls = []
    for process, receiver in probes:
        calls += receiver.recv()
        process.join()
        if process.exitcode:
            sys.exit("pauses: a client had an error")
    if victims.slots.is_bypassed():
        sys.exit("pauses: the server ran without its cache")
    moments.append(float("inf"))
    found = []
    for begin, end in zip(moments, moments[1:]):
        found.append(max((call[1] - max(call[0], begin) for call in calls
                          if call[1] > begin and call[0] < min(begin + 30, end)), default=0))
    if sum(pause > 0 for pause in found) * 10 < len(found) * 9:
        sys.exit(f"pauses: most deaths were not seen by any client: {found}")
    return sorted(found)


class Mount:
    """A mount over `backing` with a file of 64 MiB that is cached."""

    def __init__(self, programs, work, backing, folder, options):
        self.programs, self.path = programs, work + "/mount"
        name = f"pauses-{os.getpid()}"
        self.control = f"/run/forebay/{name}.sock"
        os.makedirs(self.path, exist_ok=True)
        with open(folder + "/cached", "wb") as file:
            file.write(os.urandom(CACHED))
        subprocess.run(["rm", "-rf", work + "/state"], check=True)
        subprocess.run([programs + "/forebay", "mount", backing, self.path, "-o",
                        f"name={name},state={work}/state,{options}"], check=True)
        self.read("cached")

    def read(self, name):
        file, buffer = os.open(f"{self.path}/{name}", os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, 1 << 20)
        place = 0
        while got := os.preadv(file, [buffer], place):
            place += got
        os.close(file)

    def end(self):
        subprocess.run([self.programs + "/forebay", "unmount", self.path], check=True)


@contextlib.contextmanager
def load(mount):
    """fio with eight jobs that read and write."""
    process = subprocess.Popen(
        ["fio", "--name=load", f"--directory={mount.path}", "--rw=randrw", "--bs=16k", "--size=32M",
         "--numjobs=8", "--time_based", "--runtime=3600", "--output-format=json",
         "--group_reporting"], stdout=subprocess.PIPE, text=True)
    time.sleep(3)
    try:
        yield
    finally:
        process.terminate()
        report = process.communicate()[0]
    if json.loads(report[report.index("{"):])["jobs"][0]["error"]:
        sys.exit("pauses: fio had an error")


def know_files(mount, folder):
    """Makes many files behind the mount and lets the mount know them."""
    for number in range(FILES):
        if number % 1000 == 0:
            os.mkdir(f"{folder}/{number // 1000}")
        os.close(os.open(f"{folder}/{number // 1000}/{number}", os.O_CREAT | os.O_WRONLY, 0o644))
    found = 0
    for _, _, names in os.walk(mount.path):
        found += len(names)
    if found < FILES:
        sys.exit(f"pauses: only {found} files are seen")


def fill(mount, folder, size):
    """Fills the cache with so many bytes."""
    with open(folder + "/large", "wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    mount.read("large")
    held = int(os.getxattr(mount.path, "user.forebay.cached_bytes"))
    if held < size * 8 // 10:
        sys.exit(f"pauses: only {held} bytes are cached")


@contextlib.contextmanager
def plain(folder):
    """A local folder as the datastore."""
    yield folder


@contextlib.contextmanager
def slow_datastore(programs, work, folder):
    """A datastore over `folder` that takes 20 ms for everything; answers its mountpoint."""
    path, control = work + "/slow", work + "/slow.control"
    os.makedirs(path, exist_ok=True)
    process = subprocess.Popen([programs + "/test-datastore", folder, path, "--control", control,
                                "--foreground", "--latency", "all=20000"])
    try:
        while not os.path.ismount(path):
            time.sleep(0.01)
        yield path
    finally:
        process.terminate()
        process.wait()


def measure(programs, work, wanted):
    """Prints the table; `wanted` are titles of situations, none for all of the usual ones."""
    folder = work + "/datastore"

    def situation(title, options="ram=256M", kills=KILLS, number=signal.SIGKILL, is_long=False,
                  datastore=plain, before=None, under=contextlib.nullcontext):
        if title not in wanted if wanted else is_long:
            return
        os.makedirs(folder)
        with datastore(folder) as backing:
            mount = Mount(programs, work, backing, folder, options)
            try:
                if before:
                    before(mount, folder)
                with under(mount):
                    found = pauses(mount.path, mount.control, kills, number)
            finally:
                mount.end()
        subprocess.run(["rm", "-rf", folder], check=True)
        columns = [found[len(found) // 2], found[len(found) * 9 // 10], found[-1]]
        print(f"{title:20} {kills:6} " + " ".join(f"{column * 1e3:7.0f} ms" for column in columns),
              flush=True)

    print(f"{'':20} {'deaths':>6} {'median':>10} {'9 of 10':>10} {'longest':>10}", flush=True)
    situation("idle")
    situation("loaded", under=load)
    situation("many files", before=know_files)
    situation("slow datastore", datastore=lambda folder: slow_datastore(programs, work, folder))
    situation("hung", kills=max(3, KILLS // 6), number=signal.SIGSTOP)
    situation("full memory", options="ram=8G", is_long=not os.environ.get("FOREBAY_TEST_LONG"),
              before=lambda mount, folder: fill(mount, folder, 7 << 30))
