import ReadCache

/// The region that is being filled, in memory until it is written as a whole.
struct Filling {
    /// -1 before the first.
    var region = -1
    var summary: RegionSummary
    /// Slots of the region that take new contents, the next one last.
    var free: [Int] = []
    /// Slots of the region that were filled now, ascending.
    var new: [Int] = []
    /// Blocks that have a new content; the log is told once the region is durable.
    var entries: [(file: UInt64, index: UInt32, block: UInt64, address: FlashAddress)] = []
    /// Of the last region that was written.
    var sequence: UInt64 = 0
    /// The next region in turn.
    var hand = 0
    /// The next part of the map that is looked through for void addresses.
    var nextShard = 0
    /// Files that were dropped before the present walk through the map began.
    var dead: Set<UInt32> = []
    var budget: WriteBudget
    let ghosts: GhostFilter

    init(slotsPerRegion: Int, budget: WriteBudget, ghosts: GhostFilter) {
        summary = RegionSummary(count: slotsPerRegion)
        self.budget = budget
        self.ghosts = ghosts
    }
}

/// Remembers fingerprints that were offered and not stored, so that the second offer is. Two bytes
/// for each, the place chosen by the fingerprint; what falls on the same place replaces it.
struct GhostFilter: @unchecked Sendable {
    private let tags: UnsafeMutablePointer<UInt16>
    private let count: Int

    /// One for four slots: half a byte for each.
    static func count(slots: Int) -> Int { max(64, slots / 4) }

    static func bytes(slots: Int) -> Int { Arena.bytes(UInt16.self, count(slots: slots)) }

    init(_ arena: inout Arena, slots: Int) {
        count = Self.count(slots: slots)
        tags = arena.take(UInt16.self, count)
    }

    /// Whether the fingerprint was seen before; it is remembered when it was not.
    func sawBefore(_ fingerprint: Fingerprint) -> Bool {
        let place = scaled(fingerprint.high, count)
        let tag = max(UInt16(truncatingIfNeeded: fingerprint.low), 1)
        if tags[place] == tag {
            tags[place] = 0
            return true
        }
        tags[place] = tag
        return false
    }
}

/// How much may be written to the device: so many times its size a day, averaged over an hour.
struct WriteBudget {
    /// Bytes a second; 0 is without limit.
    private let rate: Double
    private var bytes: Double
    private var last: UInt64

    /// `now`: monotonic nanoseconds.
    init(size: UInt64, writesPerDay: Double, now: UInt64) {
        rate = Double(size) * writesPerDay / 86400
        bytes = rate * 3600
        last = now
    }

    /// Whether something may be written now.
    mutating func allows(now: UInt64) -> Bool {
        guard rate > 0 else { return true }
        bytes = min(bytes + Double(now &- last) / 1e9 * rate, rate * 3600)
        last = now
        return bytes > 0
    }

    mutating func spend(_ count: Int) { bytes -= Double(count) }
}
