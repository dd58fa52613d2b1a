import Glibc
import Synchronization

/// A part of the block map: linear probing over entries that are kept in the order of their keys.
/// An entry's home is its key scaled to the capacity, so that the order of the keys is the order of
/// the homes: a search ends at the first greater key, and a table is copied to another size in one
/// pass without hashing. The places after the last home take what is pushed over the end.
/// Under the shard's lock.
struct BlockMapShard: BitwiseCopyable {
    /// Room for two tables, in the memory that outlives the server; one is in use.
    private let tables: UnsafeMutableRawPointer
    private let tableSize: Int
    /// Which one, for the next server: a `TableWord`.
    private let published: UnsafeMutablePointer<Atomic<UInt64>>
    /// Nil until the first insertion.
    private(set) var entries: UnsafeMutablePointer<BlockMapEntry>?
    /// False while the table is as an earlier server left it.
    private(set) var isTrusted: Bool
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

    /// `tables`: twice `tableSize` bytes.
    init(
        tables: UnsafeMutableRawPointer, tableSize: Int,
        published: UnsafeMutablePointer<Atomic<UInt64>>
    ) {
        self.tables = tables
        self.tableSize = tableSize
        self.published = published
        let word = TableWord(bits: published.pointee.load(ordering: .acquiring))
        isTrusted = word.bits == 0
        if word.isWhole(tableSize: tableSize) { use(word) }
    }

    private func table(_ index: Int) -> UnsafeMutableRawPointer { tables + index * tableSize }

    private mutating func use(_ word: TableWord) {
        entries = table(word.table).bindMemory(to: BlockMapEntry.self, capacity: word.places)
        places = word.places
        capacity = word.places - BlockMapShard.overflow - 1
    }

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

    /// Makes the table of an earlier server this one's: keeps what is whole, in order, and wanted.
    /// A server that died while it moved entries has left some twice.
    mutating func adopt(_ isWanted: (BlockMapEntry) -> Bool) {
        isTrusted = true
        let current = TableWord(bits: published.pointee.load(ordering: .relaxed))
        guard let entries else {
            clear(0)
            clear(1)
            return published.pointee.store(0, ordering: .releasing)
        }
        clear(1 - current.table)
        var next = 0
        var last: UInt64?
        for place in 0..<places {
            let entry = entries[place]
            entries[place] = .empty
            let home = scaled(entry.key, capacity)
            guard !entry.isEmpty, entry.isWhole, home <= place, place < places - 1 else { continue }
            if let last, entry.key <= last { continue }
            guard isWanted(entry) else { continue }
            last = entry.key
            let target = max(next, home)
            entries[target] = entry
            next = target + 1
            count += 1
            if entry.isZero { zeroCount += 1 }
        }
    }

    private func clear(_ index: Int) { madvise(table(index), tableSize, MADV_REMOVE) }

    /// Moves everything to a table of so many places. Answers false when there is no such table.
    mutating func resize(places newPlaces: Int) -> Bool {
        guard newPlaces * MemoryLayout<BlockMapEntry>.stride <= tableSize else { return false }
        let before = TableWord(bits: published.pointee.load(ordering: .relaxed))
        let word = TableWord(
            table: entries == nil ? 0 : 1 - before.table, places: newPlaces)
        let table = table(word.table).bindMemory(to: BlockMapEntry.self, capacity: newPlaces)
        let newCapacity = newPlaces - BlockMapShard.overflow - 1
        var next = 0
        var (count, zeroCount) = (0, 0)
        if let entries {
            for place in 0..<places where !entries[place].isEmpty {
                let target = max(next, scaled(entries[place].key, newCapacity))
                // What the end has no place for is forgotten: this is a cache.
                guard target < newPlaces - 1 else { break }
                table[target] = entries[place]
                next = target + 1
                count += 1
                if table[target].isZero { zeroCount += 1 }
            }
        }
        published.pointee.store(word.bits, ordering: .sequentiallyConsistent)
        if entries != nil { clear(before.table) }
        use(word)
        self.count = count
        self.zeroCount = zeroCount
        return true
    }

    /// Every entry, in place.
    func forEach(_ visit: (UnsafeMutablePointer<BlockMapEntry>) -> Void) {
        guard let entries else { return }
        for place in 0..<places where !entries[place].isEmpty { visit(entries + place) }
    }
}
