import ReadCache
import Synchronization

/// Finds slots by fingerprint. A content is in one of two buckets of 16 slot numbers; which slot of
/// a bucket it is, the slots' own words tell. Each bucket of the two follows from the other one and
/// the slot's word, so that a slot in a full bucket can move over. Changed by one thread at a time.
struct ContentIndex: @unchecked Sendable {
    private let places: UnsafeMutablePointer<UInt32>
    private let buckets: Int
    private let locks: LockArray
    /// Counts slots that moved: who has not found one meanwhile looks again.
    private let moves: UnsafeMutablePointer<Atomic<UInt64>>

    static let placesPerBucket = 16
    /// Buckets for which 96 % of the places are taken when every slot has content.
    static func buckets(slots: Int) -> Int { slots * 25 / (24 * placesPerBucket) + 2 }

    private static func lockCount(slots: Int) -> Int { min(1024, buckets(slots: slots)) }

    static func bytes(slots: Int) -> Int {
        Arena.bytes(UInt32.self, buckets(slots: slots) * placesPerBucket)
            + LockArray.bytes(lockCount(slots: slots)) + Arena.bytes(Atomic<UInt64>.self, 1)
    }

    init(_ arena: inout Arena, slots: Int) {
        buckets = Self.buckets(slots: slots)
        places = arena.take(UInt32.self, buckets * Self.placesPerBucket)
        locks = LockArray(&arena, Self.lockCount(slots: slots))
        moves = arena.take(Atomic<UInt64>.self, 1)
    }

    func destroy() { locks.destroy() }

    private func pair(_ fingerprint: Fingerprint) -> (Int, Int) {
        let first = scaled(fingerprint.high, buckets)
        return (first, other(first, SlotWord(fingerprint, generation: 0)))
    }

    /// The other bucket of a content: what is said of one of them holds for both.
    private func other(_ bucket: Int, _ word: SlotWord) -> Int {
        let sum = scaled(spread(UInt64(word.tag)), buckets)
        return sum >= bucket ? sum - bucket : sum - bucket + buckets
    }

    /// Runs `body` with the bucket's 16 places; a place holds a slot number and one, or zero.
    private func withBucket<Result>(
        _ bucket: Int, _ body: (UnsafeMutableBufferPointer<UInt32>) -> Result
    ) -> Result {
        locks.lock(bucket % locks.count)
        defer { locks.unlock(bucket % locks.count) }
        return body(
            UnsafeMutableBufferPointer(
                start: places + bucket * Self.placesPerBucket, count: Self.placesPerBucket))
    }

    /// The slots that may have the content: those of its buckets whose word says so.
    func candidates(_ fingerprint: Fingerprint, _ slots: SlotTable) -> [Int] {
        let (first, second) = pair(fingerprint)
        var found: [Int] = []
        for bucket in first == second ? [first] : [first, second] {
            withBucket(bucket) { places in
                for place in places where place != 0 {
                    let slot = Int(place) - 1
                    if slots[slot].stands(for: fingerprint) { found.append(slot) }
                }
            }
        }
        return found
    }

    /// Whether the slot is found by this fingerprint.
    func contains(_ fingerprint: Fingerprint, slot: Int) -> Bool {
        let (first, second) = pair(fingerprint)
        func has(_ bucket: Int) -> Bool {
            withBucket(bucket) { $0.contains(UInt32(slot) + 1) }
        }
        while true {
            let before = moves.pointee.load(ordering: .sequentiallyConsistent)
            if has(first) || has(second) { return true }
            if moves.pointee.load(ordering: .sequentiallyConsistent) == before { return false }
        }
    }

    /// Enters a slot, whose word is set, into the emptier of its buckets. Where both are full, and
    /// so is every other bucket that one of theirs could move to, another slot leaves, which the
    /// caller must make empty.
    func insert(_ fingerprint: Fingerprint, slot: Int, _ slots: SlotTable) -> Int? {
        let (first, second) = pair(fingerprint)
        let bucket = taken(second) < taken(first) ? second : first
        if put(slot, into: bucket) { return nil }
        for full in [first, second] where makeRoom(in: full, slots) {
            if put(slot, into: full) { return nil }
        }
        return withBucket(bucket) { places in
            let victim = Int(truncatingIfNeeded: fingerprint.low) & (Self.placesPerBucket - 1)
            let loser = Int(places[victim]) - 1
            places[victim] = UInt32(slot) + 1
            return loser
        }
    }

    private func taken(_ bucket: Int) -> Int {
        withBucket(bucket) { $0.reduce(into: 0) { if $1 != 0 { $0 += 1 } } }
    }

    private func put(_ slot: Int, into bucket: Int) -> Bool {
        withBucket(bucket) { places in
            guard let empty = places.firstIndex(of: 0) else { return false }
            places[empty] = UInt32(slot) + 1
            return true
        }
    }

    /// Moves one slot of a full bucket to its other one; a slot without content just leaves.
    private func makeRoom(in bucket: Int, _ slots: SlotTable) -> Bool {
        let members = withBucket(bucket) { Array($0) }
        for place in members where place != 0 {
            let word = slots[Int(place) - 1]
            if word.isFilled {
                let target = other(bucket, word)
                guard target != bucket, put(Int(place) - 1, into: target) else { continue }
                moves.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
            }
            withBucket(bucket) { places in
                if let index = places.firstIndex(of: place) { places[index] = 0 }
            }
            return true
        }
        return false
    }

    /// Takes a slot out.
    func remove(_ fingerprint: Fingerprint, slot: Int) {
        let (first, second) = pair(fingerprint)
        for bucket in [first, second] {
            withBucket(bucket) { places in
                if let place = places.firstIndex(of: UInt32(slot) + 1) { places[place] = 0 }
            }
        }
    }

    /// Takes all slots of a range out, whatever they are found by.
    func removeAll(slots range: Range<Int>) {
        for bucket in 0..<buckets {
            withBucket(bucket) { places in
                for index in places.indices
                where places[index] != 0 && range.contains(Int(places[index]) - 1) {
                    places[index] = 0
                }
            }
        }
    }
}
