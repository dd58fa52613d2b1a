#!/usr/bin/env python3
"""The measuring half of the demonstration.

    storm.py read FILE...      every file at once, as machines that boot; prints the seconds
    storm.py ideal FILE...     what 4 KiB deduplication can reach at best, as three numbers:
                               blocks that are not zero, different ones among them, their ratio
    storm.py ask SOCKET LINE   one command to the test datastore; prints its answer
"""

import hashlib
import mmap
import os
import random
import socket
import sys
import threading
import time

BLOCK = 4096
EXTENT = 1 << 20
ZERO = bytes(BLOCK)


def read_as_a_machine(path, failures):
    """Reads a disk whole, past the page cache, megabyte after megabyte in an order of its own."""
    try:
        order = list(range((os.path.getsize(path) + EXTENT - 1) // EXTENT))
        random.Random(os.path.basename(path)).shuffle(order)
        buffer = mmap.mmap(-1, 128 << 10)
        disk = os.open(path, os.O_RDONLY | os.O_DIRECT)
        for extent in order:
            for offset in range(extent * EXTENT, (extent + 1) * EXTENT, len(buffer)):
                if os.preadv(disk, [buffer], offset) < len(buffer):
                    break
        os.close(disk)
    except OSError as error:
        failures.append(f"{path}: {error.strerror}")


def read(paths):
    failures = []
    machines = [
        threading.Thread(target=read_as_a_machine, args=(path, failures)) for path in paths
    ]
    begin = time.monotonic()
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    if failures:
        sys.exit("storm: " + failures[0])
    print(f"{time.monotonic() - begin:.2f}")


def ideal(paths):
    total = 0
    different = set()
    for path in paths:
        with open(path, "rb", buffering=1 << 20) as disk:
            while block := disk.read(BLOCK):
                block = block.ljust(BLOCK, b"\0")
                if block != ZERO:
                    total += 1
                    different.add(hashlib.blake2b(block, digest_size=16).digest())
    print(total, len(different), f"{total / max(1, len(different)):.3f}")


def ask(path, line):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(line.encode() + b"\n")
        answer = connection.makefile().readline().strip()
    if not answer.startswith("ok"):
        sys.exit(f"storm: {line}: {answer}")
    print(answer.removeprefix("ok").strip())


def main(arguments):
    if len(arguments) >= 2 and arguments[0] == "read":
        read(arguments[1:])
    elif len(arguments) >= 2 and arguments[0] == "ideal":
        ideal(arguments[1:])
    elif len(arguments) == 3 and arguments[0] == "ask":
        ask(*arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
