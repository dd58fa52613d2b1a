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
    var ghosts: GhostFilter

    init(slotsPerRegion: Int, ghosts: GhostFilter) {
        summary = RegionSummary(count: slotsPerRegion)
        self.ghosts = ghosts
    }
}

/// Remembers fingerprints that were offered and not stored, so that the second offer is. One byte
/// for each, the place chosen by the fingerprint; what falls on the same place replaces it every
/// other time, so that two that come in turn are not forgotten for ever. What comes again before
/// as many others as there are slots is mostly known; one in 256 others is taken for known.
struct GhostFilter: @unchecked Sendable {
    private let tags: UnsafeMutablePointer<UInt8>
    private let count: Int
    private var conflicts: UInt64 = 0

    static func count(slots: Int) -> Int { max(64, slots) }

    static func bytes(slots: Int) -> Int { Arena.bytes(UInt8.self, count(slots: slots)) }

    init(_ arena: inout Arena, slots: Int) {
        count = Self.count(slots: slots)
        tags = arena.take(UInt8.self, count)
    }

    /// Copies a part to where the payload of a page is; answers how many bytes.
    func copy(from first: Int, to block: UnsafeMutableRawBufferPointer) -> Int {
        let length = min(SealedPage.room, count - first)
        let payload = UnsafeMutableRawBufferPointer(
            rebasing: block[SealedPage.start..<SealedPage.start + length])
        payload.copyMemory(from: UnsafeRawBufferPointer(start: tags + first, count: length))
        return length
    }

    /// Takes a part back.
    func restore(_ payload: UnsafeRawBufferPointer, at first: Int) {
        guard first < count else { return }
        let length = min(payload.count, count - first)
        UnsafeMutableRawBufferPointer(start: tags + first, count: length)
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: payload[..<length]))
    }

    /// Whether the fingerprint was seen before; it is remembered when it was not.
    mutating func sawBefore(_ fingerprint: Fingerprint) -> Bool {
        let place = scaled(fingerprint.high, count)
        let tag = max(UInt8(truncatingIfNeeded: fingerprint.low), 1)
        if tags[place] == tag {
            tags[place] = 0
            return true
        }
        if tags[place] != 0 {
            conflicts += 1
            if spread(conflicts) & 1 == 0 { return false }
        }
        tags[place] = tag
        return false
    }
}
