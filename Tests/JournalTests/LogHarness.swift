import Devices
import Glibc
import Journal
import Syscalls
import TestSupport

/// A log on a simulated device beside a model of what must be in it. Everything follows from the
/// seed; what is wrong is collected, so that a test can ask that something is.
final class LogHarness {
    struct Kept {
        var record: JournalRecord
        var payload: [UInt8]
        var handle: [UInt8]
        /// Nil for one whose `append` failed: it may be there.
        var position: LogPosition?
        var isDurable = false
    }

    let device: SimulatedLogDevice
    private(set) var journal: Journal<SimulatedLogDevice>
    private(set) var wrong: [String] = []
    /// What is in the log, in order.
    private(set) var kept: [Kept] = []
    /// Positions before which everything was released: for certain, and perhaps.
    private var released: LogPosition = 0
    private var maybeReleased: LogPosition = 0
    private var generator: SplitMix64
    private(set) var crashes = 0
    private(set) var cutRecords = 0
    private(set) var appended = 0
    private(set) var fullMoments = 0
    private let largest: Int

    static let segmentSize: UInt64 = 32 << 10
    /// Of files 0 to 5.
    private static let handles: [[UInt8]] = (0..<6).map { file in
        (0..<file * 20).map { UInt8($0 + file) }
    }

    init(
        seed: UInt64, sector: UInt32 = 512, segments: Int = 8, largest: Int = 1200,
        hasVolatileCache: Bool = true, ignoresFlushes: Bool = false
    ) throws {
        generator = SplitMix64(seed: seed)
        self.largest = largest
        device = SimulatedLogDevice(
            size: 128 << 10 + segments * Int(Self.segmentSize), sector: sector, seed: seed ^ 77,
            hasVolatileCache: hasVolatileCache, ignoresFlushes: ignoresFlushes)
        try LogFormat.format(device, segmentSize: Self.segmentSize)
        device.withState { $0.durable = $0.current }
        journal = try Journal(device)
        _ = try journal.recover { _, _, _ in }
    }

    func random(_ range: Range<Int>) -> Int { Int.random(in: range, using: &generator) }

    func report(_ text: String) { wrong.append(text) }

    // MARK: - Operations

    /// One operation; false when the device has crashed meanwhile.
    func step() -> Bool {
        switch random(0..<20) {
        case 0: return flush()
        case 1, 2: return release()
        default: return append(isDurable: random(0..<5) == 0)
        }
    }

    func append(isDurable: Bool) -> Bool {
        let file = UInt64(random(1..<6))
        var kept = Kept(
            record: JournalRecord(.data, file: file), payload: [],
            handle: Self.handles[Int(file)])
        kept.record.offset = UInt64(random(0..<1 << 30))
        kept.record.time = Timestamp(
            seconds: Int64(random(-5..<2_000_000)), nanoseconds: UInt32(random(0..<1_000_000_000)))
        if random(0..<6) == 0 {
            kept.record.kind = .zero
            kept.record.length = UInt64(random(0..<1 << 40))
        } else {
            kept.payload = generator.bytes(random(0..<largest))
            kept.record.length = UInt64(kept.payload.count)
        }
        do {
            kept.position = try kept.payload.withUnsafeBytes { bytes in
                try journal.append(
                    kept.record, handle: kept.handle, payload: bytes, isDurable: isDurable)
            }
        } catch let error as Errno where error == .noSpace {
            fullMoments += 1
            return release(all: true)
        } catch {
            self.kept.append(kept)
            return failed()
        }
        appended += 1
        self.kept.append(kept)
        if isDurable { allAreDurable() }
        return true
    }

    private func allAreDurable() {
        for index in kept.indices { kept[index].isDurable = true }
    }

    func flush() -> Bool {
        do {
            try journal.flush()
            allAreDurable()
            return true
        } catch {
            return failed()
        }
    }

    func release(all: Bool = false) -> Bool {
        guard !kept.isEmpty else { return true }
        let index = all ? kept.count : random(0..<kept.count + 1)
        let place = index < kept.count ? kept[index].position : journal.head
        guard let place else { return true }
        maybeReleased = place
        do {
            try journal.release(upTo: place)
            released = place
            kept.removeFirst(index)
            return true
        } catch {
            return failed()
        }
    }

    private func failed() -> Bool {
        if !device.withState({ $0.isCrashed }) { report("a call failed") }
        if !journal.isPoisoned { report("not poisoned") }
        return false
    }

    // MARK: - Crashes

    /// Opens the device again after a crash and compares. A crash may happen again meanwhile.
    func recover(_ crash: SimulatedLogDevice.Crash, latePoint: Int) {
        crashes += 1
        while true {
            device.restart()
            if latePoint == 0 { device.letLateWriteArrive() }
            if random(0..<8) == 0 { device.crash(crash, after: random(1..<6)) }
            do {
                let fresh = try Journal(device)
                var found: [(JournalRecord, LogPosition, [UInt8])] = []
                let report = try fresh.recover { found.append(($0, $1, $2)) }
                if !report.damage.isEmpty { self.report("damage: \(report.damage)") }
                if report.records != UInt64(found.count) { self.report("miscounted") }
                journal = fresh
                device.withState { $0.crashAt = .max }
                compare(found, crash)
                if latePoint == 1 { device.letLateWriteArrive() }
                device.withState { $0.late = nil }
                return
            } catch {
                guard device.withState({ $0.isCrashed }) else {
                    return report("not recovered: \(error)")
                }
            }
        }
    }

    private func compare(
        _ found: [(JournalRecord, LogPosition, [UInt8])], _ crash: SimulatedLogDevice.Crash
    ) {
        // A release that failed may count.
        var expected = kept
        if let first = found.first?.1, first >= maybeReleased, maybeReleased > released {
            expected = kept.filter { ($0.position ?? .max) >= maybeReleased }
        } else if found.isEmpty, maybeReleased > released {
            expected = kept.filter { ($0.position ?? .max) >= maybeReleased }
        }
        let certain = expected.lastIndex { one in
            one.position != nil && (crash == .kill || one.isDurable)
        }
        if found.count < (certain ?? -1) + 1 {
            report("\(found.count) of \((certain ?? -1) + 1) records are there")
        }
        guard found.count <= expected.count else {
            return report("\(found.count) records of \(expected.count)")
        }
        for (index, one) in found.enumerated() {
            let wanted = expected[index]
            if one.0 != wanted.record { report("another record at \(index)") }
            if one.2 != wanted.handle { report("another handle at \(index)") }
            if let position = wanted.position, position != one.1 { report("elsewhere") }
            expected[index].position = one.1
            expected[index].isDurable = true
        }
        cutRecords += expected.count - found.count
        kept = Array(expected.prefix(found.count))
        released = max(released, journal.tail)
        maybeReleased = released
        readAll()
    }

    /// Without optimisation `==` compares byte by byte.
    private func isEqual(_ bytes: [UInt8], _ other: ArraySlice<UInt8>) -> Bool {
        bytes.withUnsafeBytes { bytes in
            other.withUnsafeBytes { other in
                bytes.count == other.count
                    && memcmp(bytes.baseAddress!, other.baseAddress!, bytes.count) == 0
            }
        }
    }

    /// Reads every payload in the log, whole and a part.
    func readAll() {
        for one in kept where !one.payload.isEmpty {
            guard let position = one.position else { continue }
            let skip = random(0..<one.payload.count)
            for (from, count) in [(0, one.payload.count), (skip, one.payload.count - skip)] {
                var bytes = [UInt8](repeating: 0, count: count)
                do {
                    try bytes.withUnsafeMutableBytes { memory in
                        try journal.read(position, skip: from, into: memory)
                    }
                    if !isEqual(bytes, one.payload[from...]) { report("wrong bytes") }
                } catch {
                    report("not read: \(error)")
                }
            }
        }
    }
}
