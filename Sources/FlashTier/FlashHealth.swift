import Devices
import Policy
import Synchronization
import Syscalls

/// Judges the device by what reads of contents take and how they end.
final class FlashHealth: Sendable {
    /// Places of reads under way; a read that finds none free is not watched.
    private struct Reads: ~Copyable {
        let starts = Mutex<[UInt64]>(Array(repeating: 0, count: 64))
    }

    private let reads = Reads()
    /// Mean nanoseconds of a read, each new one counting for a sixteenth.
    private let mean = Atomic<UInt64>(0)
    /// Reads that failed, less one for each that did not.
    private let failures = Atomic<Int>(0)
    /// When the device was last probed.
    private let probed = Atomic<UInt64>(0)

    /// A read begins; answers its place.
    func begin(_ now: UInt64) -> Int? {
        reads.starts.withLock { starts in
            guard let place = starts.firstIndex(of: 0) else { return nil }
            starts[place] = now
            return place
        }
    }

    func end(_ place: Int?) {
        if let place { reads.starts.withLock { $0[place] = 0 } }
    }

    /// Whether a read is under way for longer than any healthy device takes.
    func isHung(_ now: UInt64) -> Bool {
        reads.starts.withLock { starts in
            starts.contains { $0 != 0 && now &- min($0, now) > Limits.flashHang }
        }
    }

    /// A read has ended well after so many nanoseconds; whether they are too many on average.
    func isSlow(_ nanoseconds: UInt64) -> Bool {
        if failures.load(ordering: .relaxed) > 0 {
            failures.wrappingSubtract(1, ordering: .relaxed)
        }
        let before = mean.load(ordering: .relaxed)
        // A single read that took very long, on a busy machine, is not a slow device.
        let now = before - before / 16 + min(nanoseconds, 4 * Limits.flashSlow) / 16
        mean.store(now, ordering: .relaxed)
        return now > Limits.flashSlow
    }

    /// A read has failed; whether that happens too often.
    func isFailing() -> Bool {
        failures.wrappingAdd(4, ordering: .relaxed).newValue > Limits.flashFailures * 4
    }

    /// Whether it is time to look at a device that was given up.
    func mayProbe(_ now: UInt64) -> Bool {
        guard now &- probed.load(ordering: .relaxed) > Limits.flashProbe else { return false }
        probed.store(now, ordering: .relaxed)
        return true
    }

    /// The device is as good as new.
    func reset() {
        mean.store(0, ordering: .relaxed)
        failures.store(0, ordering: .relaxed)
    }
}

/// Taking a device back that was given up.
extension FlashTier {
    /// Looks whether the device is there, is the same and is quick; uses it again with its contents
    /// and without its maps if so.
    func probe(_ now: UInt64) {
        guard health.mayProbe(now), isWell() else { return }
        do throws(Errno) {
            try takeBack()
        } catch {
            // It is tried again.
            return
        }
        health.reset()
        useAgain()
    }

    private func isWell() -> Bool {
        let uuid = header.withLock { $0.uuid }
        // A device that has become shorter has its header still.
        let end = BlockBuffer(blocks: 1)
        guard (try? device.read(end.bytes, at: geometry.lastOffset)) != nil else { return false }
        for _ in 0..<8 {
            let start = monotonicNanoseconds()
            guard let found = try? FlashHeader.read(from: device), found.uuid == uuid else {
                return false
            }
            if monotonicNanoseconds() &- start > Limits.flashSlow { return false }
        }
        return true
    }

    private func takeBack() throws(Errno) {
        // What was in memory only is gone, and what a slot has is seen when it is read.
        filling.withLock { filling in
            openRegion.withLock { $0.region = -1 }
            for place in filling.new {
                empty(filling.region * geometry.slotsPerRegion + place)
            }
            filling.new = []
            filling.free = []
            filling.entries = []
            filling.region = -1
        }
        // Nothing of what the log has is believed.
        try withHeader { header in
            header.epoch = .random(in: 1...UInt64.max)
            header.instance = .random(in: 1...UInt64.max)
        }
        files.removeAll()
        map.removeAll()
        log.restart(
            LogStream(
                .early, epoch: header.withLock { $0.epoch }, offset: geometry.earlyOffset,
                capacity: geometry.earlyBlocks),
            slots: geometry.slotCount)
        try checkpoint()
    }
}
