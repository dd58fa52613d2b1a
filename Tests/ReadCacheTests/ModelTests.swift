import ReadCache
import Synchronization
import Syscalls
import Testing

/// Threads fill, write and read at random against a model of what each block holds. A reader notes
/// the block's version before it looks: what it finds must be that version or a newer one.
@Suite struct ModelTests {
    private static let files = 6
    private static let blocks: UInt64 = 600

    /// The "datastore": the version of every block. Contents repeat among the files.
    private final class Model: Sendable {
        let versions: [Cell]
        let wrong = Atomic<Int>(0)
        let hits = Atomic<Int>(0)

        final class Cell: Sendable {
            let version = Atomic<UInt64>(0)
        }

        init() {
            versions = (0..<(ModelTests.files * Int(ModelTests.blocks))).map { _ in Cell() }
        }

        func version(_ file: Int, _ block: UInt64) -> UInt64 {
            cell(file, block).version.load(ordering: .sequentiallyConsistent)
        }

        func cell(_ file: Int, _ block: UInt64) -> Cell {
            versions[file * Int(ModelTests.blocks) + Int(block)]
        }

        /// Version 0 is the same in all files, every eighth block zero.
        static func number(_ file: Int, _ block: UInt64, _ version: UInt64) -> UInt64 {
            if version == 0 { return block % 8 == 7 ? 0 : block + 1 }
            return (UInt64(file + 1) << 56) | (block << 32) | version
        }

        static func written(_ number: UInt64, _ file: Int, _ block: UInt64) -> UInt64? {
            if number == Model.number(file, block, 0) { return 0 }
            let version = number & 0xFFFF_FFFF
            return number == Model.number(file, block, version) ? version : nil
        }
    }

    /// With four generations, ids come to name other contents all the time.
    @Test(arguments: [(UInt64(1), MemoryTier.mostGenerations), (2, 4), (3, 5)])
    func neverReturnsAStaleOrWrongByte(seed: UInt64, generations: UInt32) throws {
        try run(
            seed: seed, generations: generations, files: ModelTests.files,
            blocks: ModelTests.blocks, steps: 4000)
    }

    /// All threads at the same four blocks: writes fall between the steps of fills.
    @Test func neverReturnsAStaleByteOfAContendedBlock() throws {
        try run(seed: 4, generations: MemoryTier.mostGenerations, files: 1, blocks: 4, steps: 20000)
    }

    private func run(
        seed: UInt64, generations: UInt32, files: Int, blocks: UInt64, steps: Int
    ) throws {
        // About 480 frames for 3,600 blocks.
        let harness = try TierHarness(mebibytes: 2, generations: generations)
        let model = Model()
        let ids = (0..<ModelTests.files).map { _ in harness.tier.newFile() }
        let threads = try (0..<4 as Range<UInt64>).map { index in
            try Thread(name: "model-\(index)") {
                var generator = SeededGenerator(state: seed &* 1000 &+ index)
                for _ in 0..<steps {
                    let file = Int.random(in: 0..<files, using: &generator)
                    let count = UInt64.random(in: 1...min(24, blocks), using: &generator)
                    let first = UInt64.random(in: 0...(blocks - count), using: &generator)
                    switch generator.next() % 8 {
                    case 0: write(harness, model, ids[file], file, first, count)
                    case 1...4: read(harness, model, ids[file], file, first, count)
                    default: fill(harness, model, ids[file], file, first, count)
                    }
                }
            }
        }
        for thread in threads { thread.join() }
        #expect(model.wrong.load(ordering: .relaxed) == 0)
        #expect(model.hits.load(ordering: .relaxed) > 1000)
        let statistics = harness.tier.statistics
        #expect(statistics.framesInUse <= statistics.frameCapacity)
        #expect(statistics.uniqueBlocks <= statistics.framesInUse)
    }

    private func write(
        _ harness: TierHarness, _ model: Model, _ id: CacheID, _ file: Int, _ first: UInt64,
        _ count: UInt64
    ) {
        let ticket = harness.tier.beginWrite(id, firstBlock: first, count: count)
        for block in first..<(first + count) {
            model.cell(file, block).version.wrappingAdd(1, ordering: .sequentiallyConsistent)
        }
        harness.tier.endWrite(ticket)
    }

    private func fill(
        _ harness: TierHarness, _ model: Model, _ id: CacheID, _ file: Int, _ first: UInt64,
        _ count: UInt64
    ) {
        let ticket = harness.tier.beginFill(id, firstBlock: first, count: Int(count))
        let numbers = (first..<(first + count)).map {
            Model.number(file, $0, model.version(file, $0))
        }
        harness.endFill(ticket, numbers, pinned: first % 16 == 0)
    }

    private func read(
        _ harness: TierHarness, _ model: Model, _ id: CacheID, _ file: Int, _ first: UInt64,
        _ count: UInt64
    ) {
        let before = (first..<(first + count)).map { model.version(file, $0) }
        var lease = ReadLease()
        var zeros = 0
        let found = harness.tier.lookup(
            id, firstBlock: first, count: Int(count), into: &lease, zeros: &zeros)
        for index in 0..<found {
            let block = first + UInt64(index)
            let number = TierHarness.number(lease.address(index))
            let version = Model.written(number, file, block)
            let after = model.version(file, block)
            if let version, version >= before[index], version <= after { continue }
            model.wrong.wrappingAdd(1, ordering: .relaxed)
        }
        model.hits.wrappingAdd(found, ordering: .relaxed)
    }
}
