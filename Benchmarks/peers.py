"""The systems that Forebay is compared with, all over the same kind of folder in memory: mergerfs and
bindfs, which pass requests through; zfs-fuse with dedup=on, which deduplicates and caches; and the folder
itself. One that is not there is named in the report, with the reason.
"""

import contextlib
import os
import shutil
import subprocess
import time

from tools import Failure, await_that, output, processor_seconds

ZFS_DEVICE = "1536M"
# Seconds without work after which zfs-fuse is done with what was written: it writes in the background,
# every few seconds.
REST, LONGEST_REST = 4, 40
# The same after each measurement of writes.
AFTER_WRITES, LONGEST_AFTER_WRITES = 0.4, 3
LOOK = 0.2


def version(package):
    found = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], text=True, check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return found.stdout.strip() or "unknown"


def run(*command, seconds=60):
    """Runs a command that must not hang; its words on standard error are the reason of a failure."""
    try:
        done = subprocess.run(command, text=True, timeout=seconds, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{command[0]}: did not end within {seconds} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise Failure(f"{command[0]}: {lines[-1]}")


class Peer:
    """A system with a folder of its own view of the files; `start` raises Failure when it cannot."""

    name, package = "", ""

    def __init__(self, work, backing):
        self.work, self.backing = work, backing
        self.folder = f"{work}/{self.name}"

    def start(self):
        if not shutil.which(self.name):
            raise Failure(f"not installed; scripts/install-dependencies bench installs {self.package}"
                          " where Debian has it")
        os.mkdir(self.folder)
        self.begin()

    def begin(self):
        raise NotImplementedError

    @property
    def process(self):
        """The process that serves the mount."""
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit():
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        words = file.read().split(b"\0")
                    if self.folder.encode() in words and self.name.encode() in words[0]:
                        return int(entry)
        return None

    def provide(self, name):
        """Makes a file of the backing folder readable here, warm as it gets."""

    def rest(self):
        """Waits until nothing is left to do of what was measured last."""

    def end(self):
        if os.path.ismount(self.folder):
            subprocess.run(["umount", "-l", self.folder], check=False)


class Mergerfs(Peer):
    name = package = "mergerfs"

    def begin(self):
        run("mergerfs", "-o", "allow_other,cache.files=partial,minfreespace=0", self.backing, self.folder)
        await_that(lambda: os.path.ismount(self.folder), "mergerfs mounts")


class Bindfs(Peer):
    name = package = "bindfs"

    def begin(self):
        run("bindfs", "--multithreaded", "-o", "allow_other", self.backing, self.folder)
        await_that(lambda: os.path.ismount(self.folder), "bindfs mounts")


class Backing(Peer):
    """The backing folder itself: the limit of everything that passes requests through."""

    name = "backing"

    def start(self):
        self.folder = self.backing
        probe = self.folder + "/probe"
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_RDWR | os.O_DIRECT))
        except OSError as error:
            raise Failure(f"this kernel has no O_DIRECT on tmpfs: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(probe)

    @property
    def process(self):
        return None

    def end(self):
        pass


class ZfsFuse(Peer):
    """A pool on one file in memory, dedup=on, the rest as Debian sets it, with 100 MiB of cache. Its
    daemon is one for the whole machine: one that runs already is used, with its own limits, and gets one more
    pool for the time being."""

    name = package = "zfs-fuse"
    pool = f"forebay-bench-{os.getpid()}"

    def __init__(self, work, backing):
        super().__init__(work, backing)
        self.daemon, self.has_pool, self.store = None, False, work + "/zfs-device"
        self.server = 0

    @property
    def process(self):
        return self.server

    def begin(self):
        os.mkdir(self.store)
        run("mount", "-t", "tmpfs", "-o", f"size={ZFS_DEVICE}", "bench", self.store)
        found = subprocess.run(["pgrep", "-o", "-x", "zfs-fuse"], text=True, check=False,
                               stdout=subprocess.PIPE).stdout.split()
        if found:
            self.server = int(found[0])
        else:
            self.daemon = subprocess.Popen(
                ["zfs-fuse", "--no-daemon", "--no-kstat-mount"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.server = self.daemon.pid
        device = self.store + "/device"
        with open(device, "wb") as file:
            file.truncate(1 << 30)
        time.sleep(0.5)
        run("zpool", "create", "-o", "ashift=12", "-o", "cachefile=none", "-O", "dedup=on",
            "-O", "atime=off", "-m", self.folder, self.pool, device)
        self.has_pool = True
        await_that(lambda: os.path.ismount(self.folder), "zfs-fuse mounts")

    def provide(self, name):
        run("cp", f"{self.backing}/{name}", f"{self.folder}/{name}", seconds=90)
        run("cat", f"{self.folder}/{name}")
        self.rest(REST, LONGEST_REST)
        # What was evicted meanwhile comes back.
        run("cat", f"{self.folder}/{name}")

    def rest(self, wanted=AFTER_WRITES, longest=LONGEST_AFTER_WRITES):
        """It goes on with what was written for a while, and would compete with what is measured next."""
        quiet, deadline = 0.0, time.monotonic() + longest
        while quiet < wanted and time.monotonic() < deadline:
            before = processor_seconds(self.process)
            time.sleep(LOOK)
            worked = processor_seconds(self.process) - before > LOOK / 10
            quiet = 0.0 if worked else quiet + LOOK

    def end(self):
        super().end()
        if self.has_pool:
            with contextlib.suppress(Failure):
                run("zpool", "destroy", "-f", self.pool, seconds=20)
        if self.daemon:
            self.daemon.terminate()
            try:
                self.daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        if os.path.ismount(self.store):
            subprocess.run(["umount", "-l", self.store], check=False)


KINDS = [Mergerfs, Bindfs, ZfsFuse, Backing]


@contextlib.contextmanager
def started(session, work, backing):
    """The peers that work here; the others are told of in the report."""
    running = []
    try:
        for kind in KINDS:
            peer = kind(work, backing)
            try:
                peer.start()
                running.append(peer)
                session.peers[peer.name] = version(peer.package) if peer.package else output("uname", "-r")
            except (Failure, OSError) as error:
                with contextlib.suppress(Failure, OSError):
                    peer.end()
                session.peers[kind.name] = f"not measured: {error}"
                session.say(f"{kind.name} was not measured: {error}")
        yield running
    finally:
        for peer in reversed(running):
            peer.end()
