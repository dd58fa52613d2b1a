import Synchronization

/// What a server leaves to its successor about a file whose blocks are cached: their map, and what
/// to compare the file with.
package struct FileNote: Equatable, Sendable {
    package var node: NodeID
    /// The block map.
    package var map: UInt32
    /// What the datastore said last that counted.
    package var sample: Sample
    /// We changed the file since `sample`.
    package var changedSinceSample: Bool
    /// Written and not known to be durable.
    package var isUnsynced: Bool
    /// Somebody had the file open.
    package var isOpen: Bool
    /// Sizes that our own changes may have left the file with.
    package var sizes: ClosedRange<UInt64>

    package init(
        node: NodeID, map: UInt32, sample: Sample, changedSinceSample: Bool, isUnsynced: Bool,
        isOpen: Bool, sizes: ClosedRange<UInt64>
    ) {
        self.node = node
        self.map = map
        self.sample = sample
        self.changedSinceSample = changedSinceSample
        self.isUnsynced = isUnsynced
        self.isOpen = isOpen
        self.sizes = sizes
    }
}

/// Room for one note in memory that outlives the server: nine words.
///
///     node · map (32 bits) and flags · size · seconds modified · seconds changed ·
///     nanoseconds of both · smallest size · largest size · check
///
/// A server may die while it writes: a note whose check does not fit is none, and its file is cold.
package struct FileNotePlace: @unchecked Sendable {
    fileprivate let words: UnsafeMutablePointer<Atomic<UInt64>>
    fileprivate let index: Int

    fileprivate static let count = 9

    private enum Flag {
        static let changed: UInt64 = 1 << 32
        static let unsynced: UInt64 = 1 << 33
        static let open: UInt64 = 1 << 34
        static let all: UInt64 = changed | unsynced | open
    }

    private subscript(_ index: Int) -> UInt64 {
        get { words[index].load(ordering: .relaxed) }
        nonmutating set { words[index].store(newValue, ordering: .relaxed) }
    }

    /// Never zero, so that memory that was never written holds no note.
    private func check(_ content: InlineArray<8, UInt64>) -> UInt64 {
        var sum: UInt64 = 0x9E37_79B9_7F4A_7C15
        for word in content.indices {
            sum = (sum ^ content[word]) &* 0xBF58_476D_1CE4_E5B9
            sum ^= sum >> 29
        }
        return sum | 1
    }

    /// Writes a note over the one that is there. One caller at a time.
    package func write(_ note: FileNote) {
        let sample = note.sample
        let flags =
            (note.changedSinceSample ? Flag.changed : 0) | (note.isUnsynced ? Flag.unsynced : 0)
            | (note.isOpen ? Flag.open : 0)
        let content: InlineArray<8, UInt64> = [
            note.node.rawValue, UInt64(note.map) | flags, sample.size,
            UInt64(bitPattern: sample.modifiedSeconds), UInt64(bitPattern: sample.changedSeconds),
            UInt64(sample.modifiedNanoseconds) | UInt64(sample.changedNanoseconds) << 32,
            note.sizes.lowerBound, note.sizes.upperBound,
        ]
        let sum = check(content)
        // Mostly nothing is new: a server that dies then leaves no half of a note.
        if self[8] == sum { return }
        words[8].store(0, ordering: .sequentiallyConsistent)
        for index in content.indices { self[index] = content[index] }
        words[8].store(sum, ordering: .sequentiallyConsistent)
    }

    /// Takes the note away.
    package func clear() { words[8].store(0, ordering: .sequentiallyConsistent) }

    /// The note, nil when there is none or only a part.
    package func read() -> FileNote? {
        var content = InlineArray<8, UInt64>(repeating: 0)
        for index in content.indices { content[index] = self[index] }
        guard words[8].load(ordering: .acquiring) == check(content) else { return nil }
        let flags = content[1] & ~UInt64(UInt32.max)
        guard flags & ~Flag.all == 0, content[6] <= content[7] else { return nil }
        let sample = Sample(
            size: content[2], modifiedSeconds: Int64(bitPattern: content[3]),
            modifiedNanoseconds: UInt32(truncatingIfNeeded: content[5]),
            changedSeconds: Int64(bitPattern: content[4]),
            changedNanoseconds: UInt32(truncatingIfNeeded: content[5] >> 32))
        return FileNote(
            node: NodeID(content[0]), map: UInt32(truncatingIfNeeded: content[1]), sample: sample,
            changedSinceSample: flags & Flag.changed != 0,
            isUnsynced: flags & Flag.unsynced != 0, isOpen: flags & Flag.open != 0,
            sizes: content[6]...content[7])
    }
}

/// All notes: a table in memory that outlives the server, of as many places as it has room for.
package final class FileNotes: @unchecked Sendable {
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: Int
    /// A bit for each place that is in use.
    private let used: UnsafeMutableBufferPointer<Atomic<UInt64>>

    /// `memory` outlives the object; what is in it may be anything. No place is in use.
    package init(memory: UnsafeMutableRawBufferPointer) {
        let words = memory.count / MemoryLayout<Atomic<UInt64>>.stride
        count = memory.baseAddress == nil ? 0 : words / FileNotePlace.count
        if let base = memory.baseAddress {
            self.words = base.bindMemory(to: Atomic<UInt64>.self, capacity: words)
        } else {
            self.words = .allocate(capacity: 0)
        }
        used = .allocate(capacity: count / 64 + 1)
        for index in used.indices { used.initializeElement(at: index, to: Atomic(0)) }
    }

    deinit { used.deallocate() }

    private func place(_ index: Int) -> FileNotePlace {
        FileNotePlace(words: words + index * FileNotePlace.count, index: index)
    }

    /// What an earlier server left; its places are in use from now on. Of two notes that cannot
    /// both be right none is.
    package func takeOver() -> [(place: FileNotePlace, note: FileNote)] {
        var found: [(place: FileNotePlace, note: FileNote)] = []
        var nodes: [UInt64: Int] = [:]
        var maps: [UInt32: Int] = [:]
        for index in 0..<count {
            guard let note = place(index).read() else { continue }
            nodes[note.node.rawValue, default: 0] += 1
            maps[note.map, default: 0] += 1
            found.append((place(index), note))
        }
        found.removeAll { entry in
            let isOnly = nodes[entry.note.node.rawValue] == 1 && maps[entry.note.map] == 1
            if !isOnly { entry.place.clear() }
            return !isOnly
        }
        for (place, _) in found {
            used[place.index / 64].bitwiseOr(1 << UInt64(place.index % 64), ordering: .relaxed)
        }
        return found
    }

    /// A place for a note; nil when all are in use. Takes no lock.
    package func take() -> FileNotePlace? {
        for group in used.indices {
            var bits = used[group].load(ordering: .relaxed)
            while bits != .max {
                let bit = (~bits).trailingZeroBitCount
                guard group * 64 + bit < count else { return nil }
                let (exchanged, original) = used[group].compareExchange(
                    expected: bits, desired: bits | 1 << UInt64(bit), ordering: .relaxed)
                if exchanged { return place(group * 64 + bit) }
                bits = original
            }
        }
        return nil
    }

    /// A place is free again, its note gone.
    package func giveBack(_ place: FileNotePlace) {
        place.clear()
        used[place.index / 64].bitwiseAnd(
            ~(1 << UInt64(place.index % 64)), ordering: .relaxed)
    }
}
