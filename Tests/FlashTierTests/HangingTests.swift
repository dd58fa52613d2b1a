import Devices
import Policy
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import FlashTier

/// A device whose flushes do not return while it hangs.
private final class HangingDevice: BlockDevice {
    let base: SimulatedDevice
    private let isHanging = Condition(false)

    init(_ base: SimulatedDevice) { self.base = base }

    var size: UInt64 { base.size }
    var logicalBlockSize: UInt32 { base.logicalBlockSize }

    func hang(_ hangs: Bool) { isHanging.update { $0 = hangs } }

    func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
        try base.read(memory, at: offset)
    }

    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try base.write(memory, at: offset)
    }

    func flush() throws(Errno) {
        _ = isHanging.wait { $0 ? nil : true }
        try base.flush()
    }
}

@Suite struct HangingTests {
    /// A write must be told to the device before it goes on; one that does not answer is given up,
    /// and what it knows forgotten, before the write goes on without.
    @Test func aDeviceThatHangsInWritesIsGivenUp() throws {
        let device = HangingDevice(SimulatedDevice(blocks: 1024, seed: 1))
        try FlashFormat.format(device, regionBlocks: 64)
        let remembered = Mutex<[UInt64?]>([])
        let tier = try FlashTier(
            device,
            .init(owner: "test", lastInstance: nil, writesPerDay: 0) { instance in
                remembered.withLock { $0.append(instance) }
            })
        try tier.load()
        tier.startCommits()
        defer {
            device.hang(false)
            tier.close()
        }
        // Zeros need no region: the log knows of them with the next upkeep.
        let ticket = try #require(tier.ticket(1, block: 0))
        [UInt8](repeating: 0, count: 4096).withUnsafeBytes { bytes in
            _ = tier.offer(
                1, block: 0, ticket: ticket, bytes.baseAddress!, isReused: true, sample: .still)
        }
        tier.upkeep()
        #expect(tier.phase == .on)
        device.hang(true)
        let start = monotonicNanoseconds()
        let write = tier.beginWrite(1, firstBlock: 0, count: 1)
        #expect(monotonicNanoseconds() - start >= Limits.flashHang)
        #expect(tier.phase == .off)
        #expect(remembered.withLock { $0 } == [nil])
        // Nobody waits for it again.
        tier.endWrite(tier.beginWrite(1, firstBlock: 300, count: 1))
        #expect(monotonicNanoseconds() - start < 3 * Limits.flashHang)
        tier.endWrite(write)
    }
}
