#!/usr/bin/env python3
"""Leaves a device as a power cut would: with what was flushed, and with some of what was not.

    power_cut.py LOG DEVICE BASE [SEED|forgetful]
                                            LOG is the log of a dm-log-writes device that has ended, DEVICE what
                                            lay below it, BASE a copy of DEVICE from before; afterwards both are
                                            equal again. Prints one line.

A write that no flush followed and that was not one with forced unit access is there, is not there, or is there
in parts: a drive keeps the order of sectors for flushes only.

With "forgetful" it is left as if nothing had been flushed since the last mark (dmsetup message DEVICE 0 mark NAME):
what a program that forgets to flush would find, by which the tests themselves are tested.
"""

import os
import random
import struct
import sys

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class Entry:
    """A write: where, how many sectors, its flags, and where its data begins in the log; or a mark with its name."""

    def __init__(self, header, data, size):
        sector, count, self.flags, length = struct.unpack_from("<QQQQ", header)
        self.place, self.length, self.data, self.sector = sector * size, count * size, data, size
        self.name = header[32:32 + length]


def entries(log):
    """All that is in the log, in the order in which writes became durable, and how much of it the last mark follows."""
    magic, version, count, size = struct.unpack_from("<QQQI", log.read(4096))
    if (magic, version) != (MAGIC, VERSION):
        sys.exit("power_cut: the log has another form than this script knows")
    place, found, marked = size, [], 0
    for _ in range(count):
        log.seek(place)
        entry = Entry(log.read(size), place + size, size)
        place += size
        if entry.flags & MARK:
            # The kernel makes one of its own when the device is removed.
            if entry.name.rstrip(b"\0") != b"dm-log-writes-end":
                marked = len(found)
            continue
        if not entry.flags & DISCARD:
            place += entry.length
        found.append(entry)
    return found, marked


def parts(entry, chance):
    """The ranges of a write that are durable: all of it, unless chance decides."""
    if chance is None:
        return [(0, entry.length)]
    fate = chance.random()
    if fate < 0.4:
        return []
    if fate < 0.7:
        return [(0, entry.length)]
    sectors = range(0, entry.length, entry.sector)
    return [(start, start + entry.sector) for start in sectors if chance.random() < 0.5]


def main(log, device, base, option):
    forgets = option == "forgetful"
    chance = random.Random(None if forgets or option is None else int(option))
    with open(log, "rb") as log, open(device, "r+b") as device, open(base, "r+b") as base:
        found, marked = entries(log)
        if forgets:
            for entry in found[marked:]:
                entry.flags &= ~(FLUSH | FUA)
        flushed = max((place for place, entry in enumerate(found) if entry.flags & FLUSH), default=0)
        pending = 0
        for place, entry in enumerate(found):
            if entry.flags & DISCARD or not entry.length:
                continue
            is_durable = place < flushed or entry.flags & FUA
            pending += not is_durable
            log.seek(entry.data)
            data = log.read(entry.length)
            for start, end in parts(entry, None if is_durable else chance):
                base.seek(entry.place + start)
                base.write(data[start:end])
        base.flush()
        for entry in found:
            base.seek(entry.place)
            device.seek(entry.place)
            device.write(base.read(entry.length))
        for file in (base, device):
            file.flush()
            os.fsync(file.fileno())
    writes = sum(entry.length > 0 for entry in found)
    print(f"a power cut after {writes} writes, {pending} of them after the last flush")
    if not writes:
        sys.exit("power_cut: nothing was written, so nothing is proven")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:4], sys.argv[4] if len(sys.argv) == 5 else None)
