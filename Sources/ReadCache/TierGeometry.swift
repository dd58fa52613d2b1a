import Policy

/// How a budget is divided. The bookkeeping of a frame of distinct contents is, in bytes:
/// for each of its 1.1 contents (a tenth are ghosts) 32 of content table, 2 of index and a map
/// entry of 16 at a load of 0.75 to 0.92; 0.4 of ring; 1 of notes of files. In all 58 to 63.
struct TierGeometry: Sendable {
    let budget: Int
    let frames: Int
    let ghosts: Int
    let shards: Int
    let stripes: Int
    let indexLocks: Int
    /// Evictions after which the next map shard is purged.
    let purgeInterval: UInt64
    /// Generations that an id goes through before it starts again; at least 4.
    let generations: UInt32

    /// Bytes of bookkeeping that a frame has from the start, and of map that it will have.
    private static let frameBookkeeping = 62

    /// Nil for a budget below 1 MiB or beyond what 32-bit ids can name.
    init?(budget: Int, generations: UInt32) {
        guard budget >= Limits.smallestTier, budget <= 1 << 43 else { return nil }
        guard 4...ContentWord.generations ~= generations else { return nil }
        self.budget = budget
        self.generations = generations
        let fixed = 24576
        frames = (budget - fixed) / (4096 + TierGeometry.frameBookkeeping)
        ghosts = max(frames / Limits.framesPerGhost, 64)
        shards = TierGeometry.powerOfTwo(frames / 8192, 1...1024)
        stripes = TierGeometry.powerOfTwo(frames / 64, 64...4096)
        indexLocks = TierGeometry.powerOfTwo(frames / 1024, 4...1024)
        purgeInterval = max(UInt64(generations) / 2 * UInt64(ghosts) / UInt64(shards), 1)
    }

    /// The highest content id.
    var contents: Int { frames + ghosts }

    /// Bytes that the block map may take.
    var tableLimit: Int { budget / Limits.blockMapDivisor }

    /// Bytes for the notes of files.
    var notesBytes: Int { max(budget / Limits.fileNotesDivisor, 4096) & ~63 }

    /// Bytes of the bookkeeping that goes with the server.
    var privateBytes: Int {
        4096 + ContentTable.bytes(contents)
            + FingerprintIndex.bytes(contents: contents, locks: indexLocks)
            + 2 * WriteStripes.bytes(stripes) + BlockMap.bytes(shards: shards)
            + LockArray.bytes(MemoryTier.globalLocks) + Arena.bytes(UInt32.self, ghosts)
    }

    /// Bytes of all bookkeeping of fixed size.
    var fixedBytes: Int {
        privateBytes + TierHeader.size + ContentTable.sharedBytes(contents)
            + Arena.bytes(UInt64.self, shards) + notesBytes
    }

    /// Frames that the budget has room for beside the block map.
    func frames(withMap mapBytes: Int) -> Int {
        min(frames, max((budget - fixedBytes - mapBytes) / 4096, 0))
    }

    /// The greatest power of two that is not above `number`, within a range.
    private static func powerOfTwo(_ number: Int, _ range: ClosedRange<Int>) -> Int {
        var result = range.lowerBound
        while result * 2 <= min(number, range.upperBound) { result *= 2 }
        return result
    }
}
