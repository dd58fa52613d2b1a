import ReadCache
import Synchronization

/// Which block of which file has which content, in shards under locks. Files are numbered; a run is
/// 16 neighbouring blocks.
struct FlashMap: @unchecked Sendable {
    private let shards: UnsafeMutablePointer<RunShard>
    let shardCount: Int
    private let locks: LockArray
    private let used: UnsafeMutablePointer<Atomic<Int>>
    private let known: UnsafeMutablePointer<Atomic<Int>>
    private let counts = FileCounts()
    /// Bytes that all shards may take.
    let limit: Int

    /// Slots for each shard: with so few, moving what stands behind a new entry is quick.
    private static let slotsPerShard = 1024
    /// Files and blocks that fit in a key: 2^28 files, 2^34 blocks (64 TiB).
    static let fileLimit: UInt32 = 1 << 28
    static let blockLimit: UInt64 = 1 << 34
    /// Blocks of the range that one mark stands for: 1 MiB.
    static let rangeBlocks: UInt64 = 256

    static func shards(slots: Int) -> Int { max(16, slots / slotsPerShard) }

    private static func lockCount(slots: Int) -> Int { min(1024, shards(slots: slots)) }

    static func bytes(slots: Int) -> Int {
        Arena.bytes(RunShard.self, shards(slots: slots)) + LockArray.bytes(lockCount(slots: slots))
            + 2 * Arena.bytes(Atomic<Int>.self, 1)
    }

    init(_ arena: inout Arena, slots: Int, limit: Int) {
        shardCount = Self.shards(slots: slots)
        shards = arena.take(RunShard.self, shardCount)
        for index in 0..<shardCount { (shards + index).initialize(to: RunShard()) }
        locks = LockArray(&arena, Self.lockCount(slots: slots))
        used = arena.take(Atomic<Int>.self, 1)
        known = arena.take(Atomic<Int>.self, 1)
        self.limit = limit
    }

    func destroy() {
        for index in 0..<shardCount { shards[index].destroy() }
        locks.destroy()
    }

    /// Bytes of all shards now.
    var bytes: Int { used.pointee.load(ordering: .relaxed) }

    /// Blocks that are known, of all files.
    var entries: Int { known.pointee.load(ordering: .relaxed) }

    /// Blocks of a file that are known and not all zero.
    func stored(_ file: UInt32) -> Int { counts[file] }

    /// Of all files.
    var allStored: Int { counts.sum }

    static func key(_ file: UInt32, _ block: UInt64) -> UInt64 {
        UInt64(file) << 30 | block / RunShard.runBlocks
    }

    static func file(ofKey key: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: key >> 30) }
    static func run(ofKey key: UInt64) -> UInt64 { key & (1 << 30 - 1) }

    private func withShard<Result>(
        _ index: Int, _ body: (UnsafeMutablePointer<RunShard>) -> Result
    ) -> Result {
        locks.lock(index % locks.count)
        defer { locks.unlock(index % locks.count) }
        let (bytes, entries) = (shards[index].bytes, shards[index].addressCount)
        let result = body(shards + index)
        let growth = shards[index].bytes - bytes
        if growth != 0 { used.pointee.wrappingAdd(growth, ordering: .relaxed) }
        let more = shards[index].addressCount - entries
        if more != 0 { known.pointee.wrappingAdd(more, ordering: .relaxed) }
        return result
    }

    /// Changes blocks of one file; keeps count of them.
    private func withRun<Result>(
        _ key: UInt64, _ body: (UnsafeMutablePointer<RunShard>) -> Result
    ) -> Result {
        withShard(shard(key)) { shard in
            let before = shard.pointee.storedCount
            let result = body(shard)
            counts.add(shard.pointee.storedCount - before, to: Self.file(ofKey: key))
            return result
        }
    }

    private func shard(_ key: UInt64) -> Int { scaled(spread(key), shardCount) }

    func find(_ file: UInt32, _ block: UInt64) -> FlashAddress? {
        let key = Self.key(file, block)
        return withShard(shard(key)) { $0.pointee.find(key, bit: block % RunShard.runBlocks) }
    }

    /// Where the leading blocks of a run of blocks are; answers how many are known.
    func find(
        _ file: UInt32, _ firstBlock: UInt64,
        into addresses: UnsafeMutableBufferPointer<FlashAddress>
    ) -> Int {
        var found = 0
        while found < addresses.count {
            let (block, overflow) = firstBlock.addingReportingOverflow(UInt64(found))
            guard !overflow, block < Self.blockLimit else { break }
            let key = Self.key(file, block)
            let room = UnsafeMutableBufferPointer(rebasing: addresses[found...])
            let bit = block % RunShard.runBlocks
            let count = withShard(shard(key)) { $0.pointee.find(key, from: bit, into: room) }
            found += count
            if UInt64(count) < RunShard.runBlocks - bit { break }
        }
        return found
    }

    /// Enters a block if `isCurrent`, asked under the lock, agrees.
    func set(
        _ file: UInt32, _ block: UInt64, _ address: FlashAddress, _ isCurrent: () -> Bool
    ) -> Bool {
        guard file < Self.fileLimit, block < Self.blockLimit else { return false }
        let key = Self.key(file, block)
        return withRun(key) { shard in
            guard isCurrent() else { return false }
            if bytes >= limit { halve(shard) }
            return shard.pointee.set(key, bit: block % RunShard.runBlocks, address)
        }
    }

    /// The map may not take more: every other run of the shard is forgotten.
    private func halve(_ shard: UnsafeMutablePointer<RunShard>) {
        purge(shard) { key, _, _ in spread(key) & 1 == 0 }
    }

    /// Replaces a run by what the log says of it.
    func replace(
        _ file: UInt32, run: UInt64, _ addresses: [(bit: UInt64, address: FlashAddress)]
    ) {
        let key = UInt64(file) << 30 | run
        withRun(key) { shard in
            shard.pointee.clear(key, .max)
            for (bit, address) in addresses {
                _ = shard.pointee.set(key, bit: bit, address)
            }
        }
    }

    func remove(_ file: UInt32, _ blocks: Range<UInt64>) {
        let blocks = blocks.clamped(to: 0..<Self.blockLimit)
        guard !blocks.isEmpty else { return }
        // Beyond so many runs it is quicker to look at the whole map.
        if (blocks.upperBound - blocks.lowerBound) / RunShard.runBlocks > UInt64(shardCount) * 64 {
            return purge { key, block, _ in
                Self.file(ofKey: key) != file || !blocks.contains(block)
            }
        }
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            let first = block % RunShard.runBlocks
            let count = min(RunShard.runBlocks - first, blocks.upperBound - block)
            let bits = UInt16(truncatingIfNeeded: (UInt64(1) << count - 1) << first)
            let key = Self.key(file, block)
            withRun(key) { $0.pointee.clear(key, bits) }
            block += count
        }
    }

    /// Whether any block of a range of 1 MiB is known.
    func hasBlocks(_ file: UInt32, range: UInt32) -> Bool {
        let first = UInt64(range) * Self.rangeBlocks
        for block in stride(from: first, to: first + Self.rangeBlocks, by: 16) {
            let key = Self.key(file, block)
            if withShard(shard(key), { $0.pointee.mask(key) }) != 0 { return true }
        }
        return false
    }

    /// The runs of a range of 1 MiB that have known blocks.
    func runs(
        _ file: UInt32, range: UInt32, _ visit: (UInt64, UInt16, [UInt32]) -> Void
    ) {
        let first = UInt64(range) * Self.rangeBlocks
        for block in stride(from: first, to: first + Self.rangeBlocks, by: 16) {
            let key = Self.key(file, block)
            var addresses: [UInt32] = []
            let mask = withShard(shard(key)) { shard in
                let mask = shard.pointee.mask(key)
                for bit in 0..<RunShard.runBlocks where mask & 1 << bit != 0 {
                    if let found = shard.pointee.find(key, bit: bit) {
                        addresses.append(found.rawValue)
                    }
                }
                return mask
            }
            if mask != 0 { visit(key, mask, addresses) }
        }
    }

    /// Every run of a shard, under its lock.
    func forEach(
        shard index: Int, _ visit: (UInt64, UInt16, UnsafeBufferPointer<UInt32>) -> Void
    ) {
        withShard(index) { $0.pointee.forEach(visit) }
    }

    /// Keeps what is wanted of one shard; told are the key of the run, the block and the address.
    func purge(shard index: Int, _ isWanted: (UInt64, UInt64, FlashAddress) -> Bool) {
        withShard(index) { purge($0, isWanted) }
    }

    private func purge(
        _ shard: UnsafeMutablePointer<RunShard>, _ isWanted: (UInt64, UInt64, FlashAddress) -> Bool
    ) {
        var lost: [UInt32: Int] = [:]
        shard.pointee.purge { number, address in
            let key = number / RunShard.runBlocks
            let block = Self.run(ofKey: key) * RunShard.runBlocks + number % RunShard.runBlocks
            if isWanted(key, block, address) { return true }
            if !address.isZero { lost[Self.file(ofKey: key), default: 0] -= 1 }
            return false
        }
        for (file, count) in lost { counts.add(count, to: file) }
    }

    func purge(_ isWanted: (UInt64, UInt64, FlashAddress) -> Bool) {
        for index in 0..<shardCount { purge(shard: index, isWanted) }
    }

    /// Forgets everything.
    func removeAll() {
        purge { _, _, _ in false }
        for index in 0..<shardCount { withShard(index) { $0.pointee.destroy() } }
    }
}
