import Policy
import ReadCache

/// Counts contents in bounded memory: of all fingerprints it keeps those that fall in a share of
/// the numbers, and halves that share whenever its table is full. What is kept is a fair sample of
/// the distinct contents, each with all of its copies, so that their ratio comes out right.
struct ContentCensus {
    private var keys: [UInt64]
    private var copies: [UInt32]
    private let limit: UInt64
    /// Fingerprints are kept whose last bits, so many, are zero.
    private(set) var sampleShift: UInt64 = 0
    /// Distinct contents in the sample.
    private(set) var distinct: UInt64 = 0
    /// Blocks with these contents.
    private(set) var seen: UInt64 = 0

    /// `limit`: most contents in the sample.
    init(limit: UInt64 = Limits.estimateContents) {
        self.limit = limit
        keys = Array(repeating: 0, count: 8192)
        copies = Array(repeating: 0, count: 8192)
    }

    /// Blocks for each distinct content, on average; 1 when nothing was read.
    var ratio: Double { distinct == 0 ? 1 : Double(seen) / Double(distinct) }

    /// A block with this fingerprint was read.
    mutating func add(_ fingerprint: Fingerprint) {
        // Zero marks an empty place.
        let key = fingerprint.low == 0 ? 1 << 63 : fingerprint.low
        guard isSampled(key) else { return }
        add(key, copies: 1)
        if distinct > limit { halve() }
        if Int(distinct) * 2 > keys.count { rebuild(places: keys.count * 2) }
    }

    private func isSampled(_ key: UInt64) -> Bool { key & ((1 << sampleShift) - 1) == 0 }

    private mutating func add(_ key: UInt64, copies count: UInt32) {
        var place = scaled(key, keys.count)
        while keys[place] != 0, keys[place] != key { place = (place + 1) % keys.count }
        if keys[place] == 0 {
            keys[place] = key
            distinct += 1
        }
        copies[place] = copies[place] &+ count
        seen += UInt64(count)
    }

    private mutating func halve() {
        sampleShift += 1
        rebuild(places: keys.count)
    }

    /// Keeps what is sampled.
    private mutating func rebuild(places: Int) {
        let before = (keys, copies)
        keys = Array(repeating: 0, count: places)
        copies = Array(repeating: 0, count: places)
        distinct = 0
        seen = 0
        for (key, count) in zip(before.0, before.1) where key != 0 && isSampled(key) {
            add(key, copies: count)
        }
    }
}
