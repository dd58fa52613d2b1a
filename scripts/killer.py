#!/usr/bin/env python3
"""Ends the servers of a mount, and tells what they had under way and how long the mount stood still.

    killer.py SOCKET KILLS LEAST MOST     SOCKET is the mount's control socket; between two deaths pass
                                          LEAST to MOST seconds. Prints one line; ends with exit status 1
                                          when the deaths proved nothing.
"""

import json
import mmap
import os
import random
import signal
import socket
import struct
import sys
import time


class Slots:
    """The request slots of a mount: Sources/FuseServer/Transport/SlotLayout.swift."""

    MAGIC, VERSION = 0x3153544F4C534246, 2
    COUNTERS, SLOTS = 4096, 32768
    STRIDES = (4096 + (1 << 20) + 4096, 4096 + (64 << 10) + 4096, 1408 + 1280)
    RECEIVED, APPLIED = 2, 3
    RESTARTS, LAST_PAUSE, POISONED = 128, 130, 133

    def __init__(self, keeper):
        folder = f"/proc/{keeper}/fd"
        for name in os.listdir(folder):
            if os.readlink(f"{folder}/{name}").startswith("/memfd:forebay-slots"):
                with open(f"{folder}/{name}", "rb") as file:
                    self.memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        counts = [self.word(16 + 8 * index) for index in range(3)]
        size = self.SLOTS + sum(count * stride for count, stride in zip(counts, self.STRIDES))
        if self.word(0) != self.MAGIC or self.word(8) != self.VERSION or size != len(self.memory):
            sys.exit("killer: the request slots have another form than this script knows")
        self.places, place = [], self.SLOTS
        for count, stride in zip(counts, self.STRIDES):
            self.places += range(place, place + count * stride, stride)
            place += count * stride

    def word(self, offset):
        return struct.unpack_from("<Q", self.memory, offset)[0]

    def counter(self, number):
        return self.word(self.COUNTERS + 8 * number)

    def under_way(self):
        """Requests that have come and have not been answered."""
        return sum(self.word(place) in (self.RECEIVED, self.APPLIED) for place in self.places)

    def is_bypassed(self):
        return self.word(96) != 0


class Killer:
    """Ends the servers of one mount."""

    def __init__(self, path):
        self.path = path
        self.keeper = self.status()["keeper_pid"]
        self.slots = Slots(self.keeper)
        self.kills = self.busy = self.requests = 0

    def status(self):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.path)
            connection.sendall(b"status\n")
            connection.shutdown(socket.SHUT_WR)
            return json.loads(connection.makefile().read())

    def server(self):
        """The process that serves, the youngest child of the keeper."""
        with open(f"/proc/{self.keeper}/task/{self.keeper}/children") as file:
            children = file.read().split()
        return int(children[-1]) if children else None

    def kill(self, number=signal.SIGKILL):
        """Stops the server, counts what it has under way and ends it. With SIGSTOP it hangs."""
        victim = self.server()
        if victim is None:
            sys.exit("killer: nobody serves the mount")
        os.kill(victim, signal.SIGSTOP)
        under_way = self.slots.under_way()
        self.kills += 1
        self.busy += under_way > 0
        self.requests += under_way
        if number != signal.SIGSTOP:
            os.kill(victim, number)

    def await_successor(self, restarts, seconds=120):
        """Waits until more servers than `restarts` have taken over."""
        until = time.monotonic() + seconds
        while self.slots.counter(Slots.RESTARTS) <= restarts:
            if time.monotonic() > until:
                sys.exit(f"killer: no successor after {seconds} s")
            time.sleep(0.002)

    def check(self):
        """Ends the program when the deaths proved nothing."""
        if self.busy * 2 < self.kills:
            sys.exit(f"killer: only {self.busy} of {self.kills} servers had requests under way")
        if self.slots.is_bypassed():
            sys.exit("killer: the server ran without its cache")
        if self.slots.counter(Slots.POISONED):
            sys.exit("killer: a request was ended because two servers had died of it")


def main(path, kills, least, most):
    killer = Killer(path)
    pauses = []
    for _ in range(int(kills)):
        time.sleep(random.uniform(float(least), float(most)))
        restarts = killer.slots.counter(Slots.RESTARTS)
        killer.kill()
        killer.await_successor(restarts)
        pauses.append(killer.slots.counter(Slots.LAST_PAUSE) / 1e6)
    killer.check()
    pauses.sort()
    print(f"{killer.kills} kills, {killer.busy} with {killer.requests} requests under way, a successor"
          f" within {pauses[len(pauses) // 2]:.0f} ms (median), {pauses[-1]:.0f} ms (longest)")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
