import Devices
import Glibc
import Syscalls
import TestSupport
import Testing

@testable import FlashTier

/// How long the index of a device of 8 GiB takes to load.
@Suite(.serialized) struct LoadTests {
    private static let isLong = getenv("FOREBAY_TEST_LONG") != nil

    /// A file of which only what is not contents is written: loading reads nothing else.
    private final class Bookkeeping: BlockDevice {
        private let file: FileDevice
        private let geometry: FlashGeometry

        init(_ file: FileDevice, _ geometry: FlashGeometry) {
            (self.file, self.geometry) = (file, geometry)
        }

        var size: UInt64 { file.size }
        var logicalBlockSize: UInt32 { 4096 }

        func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
            try file.read(memory, at: offset)
        }

        func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
            let first = geometry.regionOffset(0)
            let inRegion = offset < first ? 0 : (offset - first) / 4096 % UInt64(Self.regionBlocks)
            if inRegion < UInt64(geometry.summaryBlocks) { try file.write(memory, at: offset) }
        }

        func flush() throws(Errno) {}

        static let regionBlocks = 1024
    }

    private func open(_ path: String, _ instance: UInt64?) throws -> FlashTier<Bookkeeping> {
        let file = try FileDevice(path: path)
        let geometry = try #require(
            FlashGeometry(size: file.size, regionBlocks: Bookkeeping.regionBlocks))
        return try FlashTier(
            Bookkeeping(file, geometry),
            .init(owner: "test", lastInstance: instance, writesPerDay: 0) { _ in })
    }

    @Test(.enabled(if: isLong)) func anIndexOfEightGibibytesIsLoadedInSeconds() throws {
        let space = try TemporaryFolder("flash")
        let path = space.path("device")
        try Files.write(path, "")
        try call { truncate(path, 8 << 30) }
        try FlashFormat.format(try FileDevice(path: path))
        let instance = try fill(path)
        let start = monotonicNanoseconds()
        let tier = try open(path, instance)
        let opened = monotonicNanoseconds()
        let before = processorTime()
        try tier.load()
        let end = monotonicNanoseconds()
        print(
            "opened in \(Double(opened - start) / 1e9) s, "
                + "loaded in \(Double(end - opened) / 1e9) s "
                + "(\(processorTime() - before) s of processor time)")
        #expect(tier.mayBelieve(1, .still) == true)
        #expect(tier.blocks(of: 1) > 2_000_000)
        #expect(opened - start < .milliseconds(100))
        #expect(end - opened < .seconds(30))
    }

    private func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// Fills it with contents that are all different.
    private func fill(_ path: String) throws -> UInt64 {
        let tier = try open(path, nil)
        try tier.load()
        let memory = BlockBuffer(blocks: 1)
        let base = try #require(memory.bytes.baseAddress)
        for block in 0..<UInt64(tier.statistics.slots) - 10_000 {
            base.storeBytes(of: block + 1, as: UInt64.self)
            guard let ticket = tier.ticket(1, block: block),
                case .stored = tier.offer(
                    1, block: block, ticket: ticket, base, isReused: true, sample: .still)
            else {
                Issue.record("block \(block) is not stored")
                break
            }
            if block % 100_000 == 0 { tier.upkeep() }
        }
        tier.close()
        return tier.instance
    }
}
