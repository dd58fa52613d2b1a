import ReadCache

/// Finds slots by fingerprint. A content is in one of two buckets of 16 slot numbers; which slot of
/// a bucket it is, the slots' own words tell. A full pair of buckets gives up a slot: the index is
/// what decides whether a slot has content at all.
struct ContentIndex: @unchecked Sendable {
    private let places: UnsafeMutablePointer<UInt32>
    private let buckets: Int
    private let locks: LockArray

    static let placesPerBucket = 16
    /// Buckets for which 92 % of the places are taken when every slot has content.
    static func buckets(slots: Int) -> Int { slots * 12 / (11 * placesPerBucket) + 2 }

    private static func lockCount(slots: Int) -> Int { min(1024, buckets(slots: slots)) }

    static func bytes(slots: Int) -> Int {
        Arena.bytes(UInt32.self, buckets(slots: slots) * placesPerBucket)
            + LockArray.bytes(lockCount(slots: slots))
    }

    init(_ arena: inout Arena, slots: Int) {
        buckets = Self.buckets(slots: slots)
        places = arena.take(UInt32.self, buckets * Self.placesPerBucket)
        locks = LockArray(&arena, Self.lockCount(slots: slots))
    }

    func destroy() { locks.destroy() }

    private func pair(_ fingerprint: Fingerprint) -> (Int, Int) {
        let first = scaled(fingerprint.high, buckets)
        let other = scaled(spread(fingerprint.high), buckets - 1)
        return (first, other < first ? other : other + 1)
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
        for bucket in [first, second] {
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
        return has(first) || has(second)
    }

    /// Enters a slot into the emptier of its buckets. When both are full another slot leaves, which
    /// the caller must make empty.
    func insert(_ fingerprint: Fingerprint, slot: Int) -> Int? {
        let (first, second) = pair(fingerprint)
        func taken(_ bucket: Int) -> Int {
            withBucket(bucket) { places in
                places.reduce(into: 0) { if $1 != 0 { $0 += 1 } }
            }
        }
        let bucket = taken(second) < taken(first) ? second : first
        return withBucket(bucket) { places in
            if let empty = places.firstIndex(of: 0) {
                places[empty] = UInt32(slot) + 1
                return nil
            }
            let victim = Int(truncatingIfNeeded: fingerprint.low) & (Self.placesPerBucket - 1)
            let loser = Int(places[victim]) - 1
            places[victim] = UInt32(slot) + 1
            return loser
        }
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
