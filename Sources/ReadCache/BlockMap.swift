import Synchronization

/// Which content each block of each file has. Neighbouring blocks are in the same shard, so that
/// a request takes few locks. Entries are not taken out when their content goes: a generation that
/// does not match makes them worth nothing, and the next rebuild of the shard drops them.
struct BlockMap: BitwiseCopyable, @unchecked Sendable {
    private let contents: ContentTable
    let shards: UnsafeMutablePointer<BlockMapShard>
    let shardCount: Int
    private let locks: LockArray
    private let dead: DeadFiles
    /// The maps of an earlier server that are still somebody's.
    private let survivors: UnsafeMutablePointer<Set<UInt32>>
    /// Bytes of all tables.
    private let tableBytes: UnsafeMutablePointer<Atomic<Int>>
    /// Bytes that the tables may take.
    private let tableLimit: Int
    /// Makes the order of the keys unknown to those who choose block numbers.
    let secret: UInt64
    /// Entries for zero blocks that a shard keeps, as many as for contents: they have no frame
    /// whose eviction would make them go.
    private let zeroLimit: Int

    /// Blocks of a file that are in the same shard.
    static let runBlocks: UInt64 = 32

    static func bytes(shards: Int) -> Int {
        Arena.bytes(BlockMapShard.self, shards) + LockArray.bytes(shards)
            + Arena.bytes(Atomic<Int>.self, 1) + DeadFiles.bytes
    }

    /// `memory`: all that outlives the server. What is in it is believed shard by shard, when each
    /// is used first.
    init(
        _ arena: inout Arena, memory: UnsafeMutableRawPointer, geometry: TierGeometry,
        contents: ContentTable, secret: UInt64, survivors: Set<UInt32>
    ) {
        self.contents = contents
        shardCount = geometry.shards
        shards = arena.take(BlockMapShard.self, shardCount)
        locks = LockArray(&arena, shardCount)
        tableBytes = arena.take(Atomic<Int>.self, 1)
        dead = DeadFiles(&arena)
        tableLimit = geometry.tableLimit
        self.secret = secret
        zeroLimit = contents.count / shardCount
        self.survivors = .allocate(capacity: 1)
        self.survivors.initialize(to: survivors)
        let layout = TierLayout(geometry)
        let words = (memory + layout.tables).bindMemory(
            to: Atomic<UInt64>.self, capacity: shardCount)
        for index in 0..<shardCount {
            let tables = memory + layout.shardTables + 2 * index * layout.tableSize
            let shard = BlockMapShard(
                tables: tables, tableSize: layout.tableSize, published: words + index)
            (shards + index).initialize(to: shard)
            tableBytes.pointee.wrappingAdd(shard.bytes, ordering: .relaxed)
        }
    }

    func destroy() {
        survivors.deinitialize(count: 1)
        survivors.deallocate()
        locks.destroy()
    }

    /// Bytes of all tables now.
    var bytes: Int { tableBytes.pointee.load(ordering: .relaxed) }

    /// Whether the map can hold a block of this file at all.
    @inline(__always)
    static func holds(_ file: CacheID, _ block: UInt64) -> Bool {
        file.rawValue < CacheID.limit && block < BlockKey.blockLimit
    }

    @inline(__always)
    func shard(_ file: CacheID, _ block: UInt64) -> Int {
        let run = UInt64(file.rawValue) &<< 29 | block / BlockMap.runBlocks
        return Int(truncatingIfNeeded: spread(run ^ secret)) & (shardCount &- 1)
    }

    /// Locks a shard, whose table then is this server's.
    @inline(__always)
    func lock(_ index: Int) {
        locks.lock(index)
        if !shards[index].isTrusted { adopt(index) }
    }

    @inline(__always)
    func unlock(_ index: Int) { locks.unlock(index) }

    private func adopt(_ index: Int) {
        let before = shards[index].bytes
        shards[index].adopt { entry in
            let file = BlockKey.file(of: entry.key, secret: secret)
            guard survivors.pointee.contains(file.rawValue) else { return false }
            if entry.isZero { return true }
            let isContent = entry.content > 0 && entry.content <= contents.count
            guard isContent, isKnown(entry) else { return false }
            if entry.isKept {
                contents.setKept(entry.content, generation: entry.generation, true)
            }
            return true
        }
        tableBytes.pointee.wrappingAdd(shards[index].bytes - before, ordering: .relaxed)
    }

    /// Makes the tables of all shards this server's.
    func adoptAll() {
        for index in 0..<shardCount {
            lock(index)
            unlock(index)
        }
    }

    @inline(__always)
    private func run(_ block: UInt64, _ count: Int) -> Int {
        min(count, Int(truncatingIfNeeded: BlockMap.runBlocks - block % BlockMap.runBlocks))
    }

    // MARK: - Looking up

    /// Pins the leading found blocks into the lease; answers how many. `unproven` is the content
    /// of the first that is not among them, when all it lacks is a look at its frame.
    func pin(
        _ file: CacheID, _ firstBlock: UInt64, _ count: Int, _ lease: inout ReadLease,
        _ zeros: inout Int, unproven: inout UnprovenContent?
    ) -> Int {
        var found = 0
        while found < count {
            let block = firstBlock &+ UInt64(truncatingIfNeeded: found)
            let run = run(block, count &- found)
            let shard = shard(file, block)
            lock(shard)
            let pinned = pinRun(
                shards + shard, file, block, run, &lease, &zeros, &unproven)
            unlock(shard)
            found &+= pinned
            if pinned < run { break }
        }
        return found
    }

    @inline(__always)
    private func pinRun(
        _ shard: UnsafeMutablePointer<BlockMapShard>, _ file: CacheID, _ firstBlock: UInt64,
        _ count: Int, _ lease: inout ReadLease, _ zeros: inout Int,
        _ unproven: inout UnprovenContent?
    ) -> Int {
        let known = knownZeros(shard, file, firstBlock)
        for index in 0..<count {
            let block = firstBlock &+ UInt64(truncatingIfNeeded: index)
            if known & BlockMap.bit(block) != 0 {
                lease.appendZero()
                zeros &+= 1
                continue
            }
            let key = BlockKey(file, block, secret: secret).spreadValue
            guard let place = shard.pointee.find(key) else { return index }
            let entry = place.pointee
            let id = entry.content
            guard contents.pin(id, generation: entry.generation) else {
                unproven = contents.unproven(id, generation: entry.generation)
                return index
            }
            lease.append(id, frame: contents.frames[Int(id)])
        }
        return count
    }

    /// Whether a lookup would find the block. Does not count as a hit.
    func contains(_ file: CacheID, _ block: UInt64) -> Bool {
        let shard = shard(file, block)
        lock(shard)
        defer { unlock(shard) }
        if knownZeros(shards + shard, file, block) & BlockMap.bit(block) != 0 { return true }
        let key = BlockKey(file, block, secret: secret).spreadValue
        guard let entry = shards[shard].find(key)?.pointee else { return false }
        return isLive(entry)
    }

    private func isLive(_ entry: BlockMapEntry) -> Bool {
        let word = contents.word(entry.content)
        return word.generation == entry.generation && word.isCached
    }

    private func isKnown(_ entry: BlockMapEntry) -> Bool {
        if entry.isZero { return true }
        let word = contents.word(entry.content)
        return word.generation == entry.generation && word.isKnown
    }

    // MARK: - Changing

    /// Puts what a block has if `isCurrent`, asked under the shard's lock, still says so. The
    /// content is pinned by the caller.
    func insert(
        _ file: CacheID, _ block: UInt64, content: UInt32, keep: Bool, _ isCurrent: () -> Bool
    ) -> Bool {
        let index = shard(file, block)
        lock(index)
        defer { unlock(index) }
        guard isCurrent() else { return false }
        let entry = BlockMapEntry(
            key: BlockKey(file, block, secret: secret).spreadValue, content: content,
            generation: contents.word(content).generation, keep: keep)
        let shard = shards + index
        clearZeros(shard, file, block, BlockMap.bit(block))
        // A server that dies here must not leave both.
        atomicMemoryFence(ordering: .acquiringAndReleasing)
        if let place = shard.pointee.find(entry.key) {
            forgetKept(place.pointee)
            place.pointee = entry
            return true
        }
        return add(entry, to: shard)
    }

    /// Makes room for a new entry if there is none. Answers false when that is impossible.
    func add(_ entry: BlockMapEntry, to shard: UnsafeMutablePointer<BlockMapShard>) -> Bool {
        if shard.pointee.isCrowded { rebuild(shard) }
        if shard.pointee.insert(entry) { return true }
        rebuild(shard)
        return shard.pointee.insert(entry)
    }

    /// A content is no longer kept for the sake of this entry.
    func forgetKept(_ entry: BlockMapEntry) {
        if entry.isKept {
            contents.setKept(entry.content, generation: entry.generation, false)
        }
    }

    /// Takes out a range of blocks, which may reach beyond everything (`count` of UInt64.max).
    func remove(_ file: CacheID, _ firstBlock: UInt64, _ count: UInt64) {
        guard BlockMap.holds(file, firstBlock) else { return }
        let end = firstBlock + min(count, BlockKey.blockLimit - firstBlock)
        // Beyond so many blocks it is quicker to look at the whole map.
        if end - firstBlock > UInt64(bytes / 256 + 1024) {
            return removeScanning(file, firstBlock..<end)
        }
        var block = firstBlock
        while block < end {
            let run = run(block, Int(min(end - block, BlockMap.runBlocks)))
            let index = shard(file, block)
            lock(index)
            clearZeros(shards + index, file, block, BlockMap.bits(block, run))
            for _ in 0..<run {
                let key = BlockKey(file, block, secret: secret).spreadValue
                if let place = shards[index].find(key) {
                    forgetKept(place.pointee)
                    shards[index].remove(place)
                }
                block += 1
            }
            unlock(index)
        }
    }

    private func removeScanning(_ file: CacheID, _ range: Range<UInt64>) {
        purgeAll { entry in
            guard BlockKey.file(of: entry.key, secret: secret) == file else { return true }
            if entry.isZero { return clearZeros(&entry, in: range) }
            let block = BlockKey.block(of: entry.key, secret: secret)
            guard range.contains(block) else { return true }
            forgetKept(entry)
            return false
        }
    }

    private func purgeAll(_ isWanted: (inout BlockMapEntry) -> Bool) {
        for index in 0..<shardCount {
            lock(index)
            shards[index].purge(isWanted)
            unlock(index)
        }
    }

    /// Nothing will be looked up under this id any more. One caller at a time.
    func drop(_ file: CacheID) {
        guard BlockMap.holds(file, 0) else { return }
        if dead.isFull { sweep() }
        dead.add(file)
    }

    /// Drops the entries of all files that were dropped. One caller at a time, and not while
    /// another drops a file.
    func sweep() {
        purgeAll { isWanted($0) }
        dead.removeAll()
    }

    // MARK: - Making room

    /// Drops a shard's entries that are worth nothing.
    func purge(shard index: Int) {
        lock(index)
        shards[index].purge { isWanted($0) }
        unlock(index)
    }

    private func isWanted(_ entry: BlockMapEntry) -> Bool {
        guard isKnown(entry) else { return false }
        if dead.isEmpty { return true }
        guard dead.contains(BlockKey.file(of: entry.key, secret: secret)) else { return true }
        forgetKept(entry)
        return false
    }

    /// Drops what is worth nothing, then finds the size at which a fifth is empty.
    private func rebuild(_ shard: UnsafeMutablePointer<BlockMapShard>) {
        shard.pointee.purge { isWanted($0) }
        if shard.pointee.zeroCount > zeroLimit { halve(shard) { $0.isZero } }
        let places = BlockMapShard.places(for: shard.pointee.count + 1)
        let growth = (places - shard.pointee.places) * MemoryLayout<BlockMapEntry>.stride
        if growth > 0 && bytes + growth > tableLimit {
            // The map may not take more: blocks at random are forgotten.
            if shard.pointee.isCrowded { halve(shard) { _ in true } }
            return
        }
        let isRoomy = shard.pointee.count * 4 < shard.pointee.capacity * 3
        if growth > 0 || (growth < 0 && isRoomy) {
            let before = shard.pointee.bytes
            guard shard.pointee.resize(places: places) else { return }
            tableBytes.pointee.wrappingAdd(shard.pointee.bytes - before, ordering: .relaxed)
        }
    }

    /// Drops every other entry of a kind.
    private func halve(
        _ shard: UnsafeMutablePointer<BlockMapShard>, _ isCandidate: (BlockMapEntry) -> Bool
    ) {
        var turn = false
        shard.pointee.purge { entry in
            guard isCandidate(entry) else { return true }
            turn.toggle()
            if !turn { forgetKept(entry) }
            return turn
        }
    }

    // MARK: - Counting

    /// Every entry that means something now, under its shard's lock.
    func forEach(_ visit: (CacheID, BlockMapEntry) -> Void) {
        for index in 0..<shardCount {
            lock(index)
            shards[index].forEach { place in
                let entry = place.pointee
                guard entry.isZero || isLive(entry) else { return }
                let file = BlockKey.file(of: entry.key, secret: secret)
                if dead.isEmpty || !dead.contains(file) { visit(file, entry) }
            }
            unlock(index)
        }
    }
}
