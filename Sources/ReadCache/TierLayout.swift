import Glibc
import Synchronization
import Syscalls

// The memory of the RAM tier, which the keeper holds and one server after the other maps: what the
// last one had cached, the next one has. Sparse: only what was touched takes memory.
//
//   frames      4,096 bytes each
//   header      512 bytes: magic · version · geometry · check · life
//   contents    three arrays by content id: fingerprints, words (`ContentWord`), frames
//   tables      for each shard of the block map, which table is its own (`TableWord`)
//   notes       of files, by which a server finds the block map of a file again; the form is the
//               data path's
//   table 0, other table of shard 0, table of shard 1, …    at their largest size each
//
// A server may die between any two of its instructions, so nothing here is believed because it is
// there. What says of itself that it is whole is:
//
// - The header: its check covers version, geometry and the key of the fingerprints. What differs in
//   any of them starts cold; so does a start that died (the magic comes last).
// - An entry of the block map carries a check of its key and its value. Two servers later it still
//   says what it said when it was put in, or nothing. Its truth needs no more: a write takes the
//   entries of its range out before the datastore is touched.
// - A content is read by nobody before its frame was found to have its fingerprint, with which id
//   and generation were mixed: `ContentState.adopted`. That costs the first hit after a takeover
//   2 microseconds.
// - Everything else is made anew: chains of the index, queues of the eviction, free frames, locks,
//   stripes, files that were dropped. Until it is, hits are served and nothing new is admitted.
//
// A table grows by copying into the shard's other one; one store makes that its own.

/// Where everything lies, in bytes from the beginning.
struct TierLayout {
    static let magic: UInt64 = 0x3152_4549_5442_4f46  // "FOBTIER1"
    static let version: UInt64 = 1
    static let page = 4096

    let header: Int
    let contents: Int
    let tables: Int
    let notes: Int
    let notesSize: Int
    let shardTables: Int
    /// Bytes of one table of a shard at most.
    let tableSize: Int
    let size: Int

    init(_ geometry: TierGeometry) {
        header = geometry.frames * Self.page
        contents = header + TierHeader.size
        tables = contents + ContentTable.sharedBytes(geometry.contents)
        notes = tables + Arena.bytes(Atomic<UInt64>.self, geometry.shards)
        notesSize = geometry.notesBytes
        shardTables = Self.round(notes + notesSize)
        // Shards differ in size, the less the more there are.
        tableSize = Self.round(2 * geometry.tableLimit / geometry.shards) + 2 * Self.page
        size = shardTables + 2 * geometry.shards * tableSize
    }

    private static func round(_ bytes: Int) -> Int { (bytes + page - 1) / page * page }
}

/// Whether what follows can be taken over.
struct TierHeader {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let expected: [UInt64]

    static let size = 512

    /// Words, by index. Those from `form` on are the form and end with their check.
    private enum Word {
        static let magic = 0
        static let life = 1
        static let form = 8
    }

    /// `key`: what tells one key of fingerprints from another without giving it away.
    init(_ base: UnsafeMutableRawPointer, _ geometry: TierGeometry, key: UInt64) {
        words = base.bindMemory(to: Atomic<UInt64>.self, capacity: Self.size / 8)
        let layout = TierLayout(geometry)
        var form = [
            TierLayout.version, UInt64(geometry.budget), UInt64(geometry.frames),
            UInt64(geometry.contents), UInt64(geometry.shards), UInt64(geometry.generations),
            UInt64(layout.tableSize), UInt64(layout.notesSize), UInt64(layout.size), key,
        ]
        form.append(form.reduce(TierLayout.magic) { spread($0 ^ $1) })
        expected = form
    }

    /// Whether a server of the same form and key has been here.
    var isKnown: Bool {
        guard words[Word.magic].load(ordering: .acquiring) == TierLayout.magic else { return false }
        return expected.indices.allSatisfy {
            words[Word.form + $0].load(ordering: .relaxed) == expected[$0]
        }
    }

    /// Servers that worked on this memory, this one included, once `begin` was called.
    var life: UInt64 { words[Word.life].load(ordering: .relaxed) }

    /// Ends what was: from now on nobody takes it over.
    func invalidate() { words[Word.magic].store(0, ordering: .sequentiallyConsistent) }

    /// What follows is of this form from now on.
    func begin() {
        for (index, word) in expected.enumerated() {
            words[Word.form + index].store(word, ordering: .relaxed)
        }
        words[Word.life].wrappingAdd(1, ordering: .relaxed)
        words[Word.magic].store(TierLayout.magic, ordering: .sequentiallyConsistent)
    }
}

/// Which of its two tables a shard uses, and how many places it has: one word, so that a change is
/// one store. 16 bits of check, one of table, 40 of places; zero for a shard without a table.
struct TableWord: Equatable {
    let bits: UInt64

    init(bits: UInt64) { self.bits = bits }

    init(table: Int, places: Int) {
        let value = UInt64(table) << 40 | UInt64(places)
        bits = value | TableWord.check(value) << 48
    }

    private static func check(_ value: UInt64) -> UInt64 { spread(value &+ 1) >> 48 }

    var table: Int { Int(bits >> 40 & 1) }
    var places: Int { Int(bits & (1 << 40 - 1)) }

    /// Whether it was written as it is, for tables of so many bytes at most.
    func isWhole(tableSize: Int) -> Bool {
        let value = bits & (1 << 41 - 1)
        return bits >> 48 == TableWord.check(value) && bits >> 41 & 0x7F == 0
            && places > 0 && places % BlockMapShard.pageEntries == 0
            && places <= tableSize / MemoryLayout<BlockMapEntry>.stride
    }
}
