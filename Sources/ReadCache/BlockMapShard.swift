/// What the block map says of a block: a content with the generation that its id had; or of 32
/// neighbouring blocks: which of them are all zero. 16 bytes.
struct BlockMapEntry: BitwiseCopyable {
    /// The spread key.
    var key: UInt64
    /// 32 bits of content id and 12 bits of generation, or 32 bits for the blocks that are zero;
    /// flags at the top. Zero: an empty place.
    var value: UInt64

    static let empty = BlockMapEntry(key: 0, value: 0)
    static let zeroFlag: UInt64 = 1 << 62
    static let keepFlag: UInt64 = 1 << 63

    static func value(content: UInt32, generation: UInt32, keep: Bool) -> UInt64 {
        UInt64(content) | UInt64(generation) << 32 | (keep ? keepFlag : 0)
    }

    @inline(__always)
    var content: UInt32 { UInt32(truncatingIfNeeded: value) }
    @inline(__always)
    var generation: UInt32 { UInt32(truncatingIfNeeded: value &>> 32) & 0xFFF }
    @inline(__always)
    var isZero: Bool { value & BlockMapEntry.zeroFlag != 0 }
    /// Which of the run's blocks are zero.
    @inline(__always)
    var zeros: UInt32 { UInt32(truncatingIfNeeded: value) }
    @inline(__always)
    var isKept: Bool { value & BlockMapEntry.keepFlag != 0 }
    @inline(__always)
    var isEmpty: Bool { value == 0 }
}

/// A part of the block map: linear probing over entries that are kept in the order of their keys.
/// An entry's home is its key scaled to the capacity, so that the order of the keys is the order of
/// the homes: a search ends at the first greater key, and a table is copied to another size in one
/// pass without hashing. The places after the last home take what is pushed over the end.
/// Under the shard's lock.
struct BlockMapShard: BitwiseCopyable {
    /// Nil until the first insertion.
    private(set) var entries: UnsafeMutablePointer<BlockMapEntry>?
    /// Homes.
    private(set) var capacity = 0
    /// Places, the last of which stays empty and ends every search.
    private(set) var places = 0
    private(set) var count = 0
    /// Entries that are for zero blocks.
    private(set) var zeroCount = 0

    /// Places beyond the homes: enough at a load of 0.92 but for once in thousands of tables.
    private static let overflow = 48
    /// Entries in a page of memory: tables are whole pages.
    static let pageEntries = 4096 / MemoryLayout<BlockMapEntry>.stride

    /// Bytes of the table.
    var bytes: Int { places * MemoryLayout<BlockMapEntry>.stride }
    /// Whether the next insertion should be preceded by a rebuild: a load above 0.92.
    var isCrowded: Bool { count * 25 >= capacity * 23 }

    /// The places of a table that `count` entries fill to 0.8.
    static func places(for count: Int) -> Int {
        let needed = count + count / 4 + overflow + 1
        return (needed + pageEntries - 1) / pageEntries * pageEntries
    }

    @inline(__always)
    func find(_ key: UInt64) -> UnsafeMutablePointer<BlockMapEntry>? {
        guard let entries else { return nil }
        var place = entries + scaled(key, capacity)
        while place.pointee.key < key && place.pointee.value != 0 { place += 1 }
        return place.pointee.key == key && place.pointee.value != 0 ? place : nil
    }

    /// Puts an entry whose key is not there. Answers false when there is no place for it.
    mutating func insert(_ entry: BlockMapEntry) -> Bool {
        guard let entries else { return false }
        var place = scaled(entry.key, capacity)
        while !entries[place].isEmpty && entries[place].key < entry.key { place += 1 }
        var end = place
        while !entries[end].isEmpty { end += 1 }
        guard end < places - 1 else { return false }
        while end > place {
            entries[end] = entries[end - 1]
            end -= 1
        }
        entries[place] = entry
        count += 1
        if entry.isZero { zeroCount += 1 }
        return true
    }

    /// Takes an entry out and moves those after it back towards their homes.
    mutating func remove(_ entry: UnsafeMutablePointer<BlockMapEntry>) {
        guard let entries else { return }
        if entry.pointee.isZero { zeroCount -= 1 }
        var hole = entry - entries
        while !entries[hole + 1].isEmpty && scaled(entries[hole + 1].key, capacity) <= hole {
            entries[hole] = entries[hole + 1]
            hole += 1
        }
        entries[hole] = .empty
        count -= 1
    }

    /// Takes out the entries that `isWanted` does not want; it may change the value of others.
    mutating func purge(_ isWanted: (inout BlockMapEntry) -> Bool) {
        guard let entries else { return }
        var next = 0
        count = 0
        zeroCount = 0
        for place in 0..<places {
            var entry = entries[place]
            if entry.isEmpty { continue }
            entries[place] = .empty
            guard isWanted(&entry) else { continue }
            // Entries only move towards their homes: never beyond the place that was just read.
            let target = max(next, scaled(entry.key, capacity))
            entries[target] = entry
            next = target + 1
            count += 1
            if entry.isZero { zeroCount += 1 }
        }
    }

    /// Moves everything to a table of so many places. Answers false when the kernel has no memory.
    mutating func resize(places newPlaces: Int) -> Bool {
        let bytes = newPlaces * MemoryLayout<BlockMapEntry>.stride
        guard let memory = Arena.map(bytes) else { return false }
        let table = memory.bindMemory(to: BlockMapEntry.self, capacity: newPlaces)
        let newCapacity = newPlaces - BlockMapShard.overflow - 1
        var next = 0
        var moved = BlockMapShard()
        if let entries {
            for place in 0..<places where !entries[place].isEmpty {
                let target = max(next, scaled(entries[place].key, newCapacity))
                // What the end has no place for is forgotten: this is a cache.
                guard target < newPlaces - 1 else { break }
                table[target] = entries[place]
                next = target + 1
                moved.count += 1
                if table[target].isZero { moved.zeroCount += 1 }
            }
            Arena.unmap(entries, self.bytes)
        }
        entries = table
        capacity = newCapacity
        places = newPlaces
        count = moved.count
        zeroCount = moved.zeroCount
        return true
    }

    /// Every entry, in place.
    func forEach(_ visit: (UnsafeMutablePointer<BlockMapEntry>) -> Void) {
        guard let entries else { return }
        for place in 0..<places where !entries[place].isEmpty { visit(entries + place) }
    }

    mutating func destroy() {
        if let entries { Arena.unmap(entries, bytes) }
        self = BlockMapShard()
    }
}
