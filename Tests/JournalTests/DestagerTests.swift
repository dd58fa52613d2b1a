import Devices
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import Journal

/// The destager with its threads.
@Suite struct DestagerTests {
    private struct Parts {
        let device: SimulatedLogDevice
        let journal: Journal<SimulatedLogDevice>
        let dirty: DirtyData
        let datastore: SimulatedDatastore
        let destager: Destager<Journal<SimulatedLogDevice>, SimulatedDatastore>

        init(
            size: Int = 4 << 20, delay: UInt64 = .seconds(1000),
            wait: @escaping @Sendable () -> Void = {},
            clock: @escaping @Sendable () -> UInt64 = { monotonicNanoseconds() }
        ) throws {
            device = SimulatedLogDevice(
                size: size, sector: 512, seed: 1, hasVolatileCache: false)
            let segment = LogGeometry.segmentSize(for: UInt64(size))
            try LogFormat.format(device, segmentSize: min(segment, UInt64(size) / 16))
            journal = try Journal(device)
            _ = try journal.recover { _, _, _ in }
            dirty = DirtyData(isStrict: false)
            datastore = SimulatedDatastore(seed: 2, delay: wait)
            var settings = DestageSettings()
            settings.delay = delay
            destager = Destager(journal, dirty, datastore, settings, clock: clock)
        }

        func write(_ file: UInt64, _ bytes: [UInt8], at offset: Int) throws {
            _ = dirty.begin()
            defer { dirty.end() }
            let record = JournalRecord(
                .data, file: file, offset: UInt64(offset), length: UInt64(bytes.count))
            let position = try bytes.withUnsafeBytes {
                try journal.append(record, handle: [1], payload: $0, isDurable: false)
            }
            dirty.insert(
                file: file, handle: [1], offset: UInt64(offset), length: UInt64(bytes.count),
                at: position, time: Timestamp(seconds: 7))
        }
    }

    private var soon: UInt64 { monotonicNanoseconds() + .seconds(60) }

    @Test func aFlushReturnsWhenEverythingIsHome() throws {
        let parts = try Parts()
        try parts.destager.start()
        defer { parts.destager.stop() }
        var files: [UInt64: [UInt8]] = [:]
        var generator = SplitMix64.announced()
        for file in UInt64(1)...5 {
            parts.datastore.create(file, [])
            files[file] = generator.bytes(300_000)
            for start in stride(from: 0, to: 300_000, by: 10_000) {
                try parts.write(file, Array(files[file]![start..<start + 10_000]), at: start)
            }
        }
        try parts.destager.flush(nil, until: soon)
        for (file, bytes) in files {
            #expect(parts.datastore.withState { $0.durable[file]?.bytes } == bytes)
            #expect(parts.datastore.withState { $0.files[file]?.modified.seconds } == 7)
        }
        #expect(parts.dirty.isEmpty)
        // Neighbours went together.
        let (largest, writes) = parts.datastore.withState { ($0.largestWrite, $0.writes) }
        #expect(largest >= 100_000)
        #expect(writes < 15)
    }

    @Test func severalWritesAreUnderWayWhenTheDatastoreTakesThem() throws {
        let parts = try Parts(wait: { sleep(milliseconds: 1) })
        for file in UInt64(1)...60 {
            parts.datastore.create(file, [])
            try parts.write(file, [1, 2, 3], at: 0)
        }
        try parts.destager.start()
        defer { parts.destager.stop() }
        try parts.destager.flush(nil, until: soon)
        #expect(parts.datastore.withState { $0.mostActive } > 1)
        #expect(parts.dirty.isEmpty)
    }

    @Test func whatIsOldGoesHomeByItself() throws {
        let parts = try Parts(delay: .milliseconds(20))
        parts.datastore.create(1, [])
        try parts.destager.start()
        defer { parts.destager.stop() }
        try parts.write(1, [1, 2, 3], at: 0)
        let deadline = soon
        while !parts.dirty.isEmpty, monotonicNanoseconds() < deadline { sleep(milliseconds: 5) }
        #expect(parts.datastore.withState { $0.durable[1]?.bytes } == [1, 2, 3])
    }

    @Test func aPauseHoldsDestagingUpAndNotChanges() throws {
        let parts = try Parts(delay: 0)
        parts.datastore.create(1, [])
        try parts.destager.start()
        defer { parts.destager.stop() }
        try parts.write(1, [1], at: 0)
        try parts.destager.flush(nil, until: soon)
        #expect(parts.destager.pause(until: soon))
        let calls = parts.datastore.withState { $0.calls }
        try parts.write(1, [2], at: 0)
        #expect(throws: Errno.timedOut) {
            try parts.destager.flush(nil, until: monotonicNanoseconds() + .milliseconds(50))
        }
        #expect(parts.datastore.withState { $0.calls } == calls)
        parts.destager.resume()
        try parts.destager.flush(nil, until: soon)
        #expect(parts.datastore.withState { $0.durable[1]?.bytes } == [2])
    }

    @Test func aFileThatIsNotTakenKeepsNoOtherFromGoingHome() throws {
        let parts = try Parts()
        for file in UInt64(1)...3 { parts.datastore.create(file, []) }
        parts.datastore.withState { $0.sick[2] = .noSpace }
        try parts.destager.start()
        defer { parts.destager.stop() }
        for file in UInt64(1)...3 { try parts.write(file, [1, 2], at: 0) }
        #expect(throws: Errno.noSpace) { try parts.destager.flush(nil, until: soon) }
        #expect(parts.datastore.withState { $0.durable[1]?.bytes } == [1, 2])
        #expect(parts.datastore.withState { $0.durable[3]?.bytes } == [1, 2])
        #expect(parts.dirty.troubles().map(\.file) == [2])
        try parts.destager.flush(3, until: soon)
        parts.datastore.withState { $0.sick = [:] }
        try parts.destager.flush(2, until: soon)
        #expect(parts.datastore.withState { $0.durable[2]?.bytes } == [1, 2])
        #expect(parts.dirty.isEmpty && parts.dirty.troubles().isEmpty)
    }

    @Test func aFileThatIsGoneIsSetAsideUnlessItWasRemoved() throws {
        let parts = try Parts()
        try parts.write(1, [1, 2], at: 3)
        try parts.write(2, [1, 2], at: 3)
        parts.dirty.expectRemoval(of: 2)
        parts.dirty.closeEpoch()
        for _ in 0..<10 where !parts.dirty.isEmpty { _ = parts.destager.turn() }
        #expect(parts.dirty.isEmpty)
        let state = parts.datastore.withState { $0 }
        #expect(state.asideIsComplete == [1])
        #expect(state.aside[1]?.bytes == [0, 0, 0, 1, 2])
        #expect(state.asideReasons[1] == .stale)
    }

    @Test func whatIsNotTakenForTooLongIsSetAside() throws {
        let time = Clock()
        let parts = try Parts(clock: { time.now.load(ordering: .relaxed) })
        parts.datastore.create(1, [9, 9, 9])
        parts.datastore.withState { $0.sick[1] = .io }
        try parts.write(1, [1, 2], at: 0)
        parts.dirty.closeEpoch()
        _ = parts.destager.turn()
        #expect(parts.dirty.figures.parkedFiles == 1)
        time.now.add(Limits.longestTrouble / 2, ordering: .relaxed)
        _ = parts.destager.turn()
        #expect(parts.dirty.figures.parkedFiles == 1)
        // What is newer is in another epoch, and is not lost with it.
        try parts.write(1, [7], at: 1)
        time.now.add(Limits.longestTrouble, ordering: .relaxed)
        _ = parts.destager.turn()
        #expect(parts.datastore.withState { $0.aside[1]?.bytes } == [1, 2])
        #expect(parts.dirty.dirtyBytes(of: 1) == 1)
        parts.datastore.withState { $0.sick = [:] }
        parts.dirty.closeEpoch()
        for _ in 0..<10 where !parts.dirty.isEmpty { _ = parts.destager.turn() }
        #expect(parts.datastore.withState { $0.durable[1]?.bytes } == [9, 7, 9])
    }

    private final class Clock: Sendable {
        let now = Atomic<UInt64>(1_000_000_000)
    }
}
