import Devices
import Glibc
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import FlashTier

/// Threads that read, offer, write and drop while regions are filled again: whoever reads sees what
/// was there when he asked, or what came since.
@Suite(.serialized) final class StressTests: Sendable {
    private static let isLong = getenv("FOREBAY_TEST_LONG") != nil
    private static let files: UInt64 = 4
    private static let blocks: UInt64 = 96
    private static let blocksOfDevice = 32 + 16 + 128 + 16 * 8

    /// The datastore: each write makes a block one version newer.
    private final class Datastore: Sendable {
        struct Block: ~Copyable {
            /// The newest version whose write has begun, which is there, and whose write has ended.
            let begun = Atomic<UInt64>(0)
            let current = Atomic<UInt64>(0)
            let ended = Atomic<UInt64>(0)
        }

        private let all: [Entry] = (0..<Int(files * blocks)).map { _ in Entry() }

        final class Entry: Sendable { let block = Block() }

        func entry(_ file: UInt64, _ block: UInt64) -> Entry { all[Int(file * blocks + block)] }

        /// Files have the same contents at the same version: they share slots.
        static func fill(_ bytes: UnsafeMutableRawPointer, _ block: UInt64, _ version: UInt64) {
            memset(bytes, Int32(truncatingIfNeeded: version &* 31 &+ block), 4096)
            bytes.storeBytes(of: block, as: UInt64.self)
            bytes.storeBytes(of: version, toByteOffset: 4088, as: UInt64.self)
        }

        /// The version that the bytes are of; nil when they are no content of this block.
        static func version(_ bytes: UnsafeRawPointer, _ block: UInt64) -> UInt64? {
            let version = bytes.load(fromByteOffset: 4088, as: UInt64.self)
            let expected = BlockBuffer(blocks: 1)
            guard let base = expected.bytes.baseAddress else { return nil }
            fill(base, block, version)
            return memcmp(base, bytes, 4096) == 0 ? version : nil
        }
    }

    private struct Counts {
        var hits = 0
        var stored = 0
        var shared = 0
        var writes = 0
        var wrong: [String] = []
    }

    private let tier: FlashTier<SimulatedDevice>
    private let datastore = Datastore()
    private let counts = Mutex(Counts())

    init() throws {
        let device = SimulatedDevice(blocks: Self.blocksOfDevice, seed: 1)
        try FlashFormat.format(device, regionBlocks: 8)
        tier = try FlashTier(
            device, .init(owner: "test", lastInstance: nil, writesPerDay: 0) { _ in })
        try tier.load()
    }

    @Test func whoeverReadsSeesWhatWasThereOrCameSince() throws {
        let start = monotonicNanoseconds()
        let end = start + .seconds(Self.isLong ? 120 : 60)
        try concurrently(6) { number in
            var generator = SplitMix64(seed: UInt64(number))
            while monotonicNanoseconds() < end, Self.isLong || !self.isEnough {
                self.step(number, &generator)
            }
        }
        let counts = counts.withLock { $0 }
        print(
            "hits \(counts.hits), stored \(counts.stored), shared \(counts.shared), "
                + "writes \(counts.writes), \(tier.statistics)")
        #expect(counts.wrong == [])
        #expect(isEnough)
        #expect(tier.phase == .on)
    }

    /// Everything happened often, and the device was filled many times over.
    private var isEnough: Bool {
        counts.withLock { counts in
            counts.hits > 1000 && counts.writes > 200 && counts.shared > 100
                && counts.stored > 20 * tier.geometry.slotCount
        }
    }

    private func step(_ thread: Int, _ generator: inout SplitMix64) {
        let file = UInt64.random(in: 0..<Self.files, using: &generator)
        let block = UInt64.random(in: 0..<Self.blocks, using: &generator)
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<80: readOrOffer(file, block)
        case 80..<97: if file == thread % 4 && thread < 4 { write(file, block) }
        case 97: tier.dropFile(file)
        case 98: tier.keep(file, Bool.random(using: &generator))
        // One thread does it, as in a mount.
        default: if thread == 5 { tier.upkeep() }
        }
    }

    /// Up to eight blocks at once.
    private func readOrOffer(_ file: UInt64, _ first: UInt64) {
        let most = Int(min(8, Self.blocks - first))
        let memory = BlockBuffer(blocks: most)
        guard let base = memory.bytes.baseAddress else { return }
        let before = (0..<most).map {
            datastore.entry(file, first + UInt64($0)).block.ended
                .load(ordering: .sequentiallyConsistent)
        }
        let good = withUnsafeTemporaryAllocation(of: FlashAddress.self, capacity: most) { room in
            let found = tier.lookup(file, firstBlock: first, into: room)
            return tier.read(UnsafeBufferPointer(rebasing: room[..<found]), into: base)
        }
        for index in 0..<good {
            let block = first + UInt64(index)
            let after = datastore.entry(file, block).block.begun
                .load(ordering: .sequentiallyConsistent)
            let version = Datastore.version(base + index * 4096, block)
            let isRight = version.map { $0 >= before[index] && $0 <= after } ?? false
            counts.withLock { counts in
                counts.hits += 1
                if !isRight {
                    counts.wrong.append(
                        "\(file) \(block): \(String(describing: version)), not \(before[index])"
                            + " to \(after)")
                }
            }
        }
        if good < most { offer(file, first + UInt64(good), base) }
    }

    private func offer(_ file: UInt64, _ block: UInt64, _ memory: UnsafeMutableRawPointer) {
        guard let ticket = tier.ticket(file, block: block) else { return }
        let version = datastore.entry(file, block).block.current
            .load(ordering: .sequentiallyConsistent)
        Datastore.fill(memory, block, version)
        let sample = FileSample(
            size: 1, modifiedSeconds: 0, modifiedNanoseconds: 0, changedSeconds: 0,
            changedNanoseconds: 0)
        let outcome = tier.offer(
            file, block: block, ticket: ticket, memory, isReused: true, sample: sample)
        counts.withLock { counts in
            if case .stored = outcome { counts.stored += 1 }
            if case .shared = outcome { counts.shared += 1 }
        }
    }

    private func write(_ file: UInt64, _ block: UInt64) {
        let entry = datastore.entry(file, block)
        let version = entry.block.begun.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
        let write = tier.beginWrite(file, firstBlock: block, count: 1)
        entry.block.current.store(version, ordering: .sequentiallyConsistent)
        tier.endWrite(write)
        entry.block.ended.store(version, ordering: .sequentiallyConsistent)
        counts.withLock { $0.writes += 1 }
    }
}
