import Policy

/// The slots whose contents belong to files that are kept: a bit for each, noted anew in each walk
/// through the block map. Takes memory once something is kept.
struct KeptContents {
    private let slots: Int
    /// The files, by what identifies them on the datastore.
    private(set) var files: Set<UInt64> = []
    private var current = SlotSet()
    /// Of the present walk.
    private var next = SlotSet()
    /// Contents that found no room in their share, since the last walk began.
    private(set) var tooMany = 0

    init(slots: Int) { self.slots = slots }

    /// Slots whose contents are kept.
    var count: Int { current.count }

    /// Bytes of memory.
    var bytes: Int { current.bytes + next.bytes }

    /// Answers whether that is news.
    mutating func keep(_ file: UInt64, _ isKept: Bool) -> Bool {
        guard isKept else {
            guard files.remove(file) != nil else { return false }
            clear()
            return true
        }
        guard files.count < Limits.flashKeptFiles, files.insert(file).inserted else { return false }
        if files.count == 1 { clear() }
        return true
    }

    private mutating func clear() {
        current = SlotSet(slots: files.isEmpty ? 0 : slots)
        next = current
        tooMany = 0
    }

    func contains(_ slot: Int) -> Bool { current.contains(slot) }

    /// Slots that the walk through the map came by.
    mutating func note(_ stored: [Int]) {
        for slot in stored { _ = next.insert(slot, limit: slots / Limits.flashKeptDivisor) }
    }

    /// Slots that belong to a kept file from now on.
    mutating func add(_ stored: [Int]) {
        let limit = slots / Limits.flashKeptDivisor
        for slot in stored {
            if !current.insert(slot, limit: limit) { tooMany += 1 }
            _ = next.insert(slot, limit: limit)
        }
    }

    /// A walk is complete: what it came by is what counts.
    mutating func turn() {
        current = next
        next = SlotSet(slots: files.isEmpty ? 0 : slots)
        tooMany = 0
    }
}

/// Slots, a bit for each.
private struct SlotSet {
    private var bits: [UInt64] = []
    private(set) var count = 0

    init(slots: Int = 0) { bits = Array(repeating: 0, count: (slots + 63) / 64) }

    var bytes: Int { bits.count * 8 }

    func contains(_ slot: Int) -> Bool {
        slot / 64 < bits.count && bits[slot / 64] & 1 << UInt64(slot % 64) != 0
    }

    /// Answers false when there are so many already. A set without room for any takes none.
    mutating func insert(_ slot: Int, limit: Int) -> Bool {
        guard slot / 64 < bits.count, !contains(slot) else { return true }
        guard count < limit else { return false }
        bits[slot / 64] |= 1 << UInt64(slot % 64)
        count += 1
        return true
    }
}
