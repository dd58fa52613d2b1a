/// How long calls took, counted in buckets that grow by a quarter of a power of two.
package struct LatencyCounts: Sendable {
    /// From one microsecond to more than a minute.
    package static let count = 112

    package var buckets: [UInt64]

    package init() { buckets = Array(repeating: 0, count: Self.count) }

    /// The bucket of a duration in nanoseconds.
    @inline(__always)
    package static func bucket(of nanoseconds: UInt64) -> Int {
        let microseconds = nanoseconds / 1000
        guard microseconds >= 4 else { return Int(microseconds) }
        let exponent = 63 - microseconds.leadingZeroBitCount
        let quarter = Int(microseconds >> UInt64(exponent - 2)) & 3
        return min(4 * (exponent - 1) + quarter, count - 1)
    }

    /// The longest duration of a bucket, in nanoseconds.
    package static func upperBound(of bucket: Int) -> UInt64 {
        guard bucket >= 4 else { return UInt64(bucket + 1) * 1000 }
        let exponent = UInt64(bucket / 4 + 1)
        return UInt64(5 + bucket % 4) * 1000 << (exponent - 2)
    }

    package mutating func add(_ nanoseconds: UInt64) {
        buckets[Self.bucket(of: nanoseconds)] += 1
    }

    /// How many calls there were.
    package var total: UInt64 { buckets.reduce(0, &+) }

    /// Half of the calls took at most so many nanoseconds, about; 0 when there were none.
    package var median: UInt64 {
        let half = (total + 1) / 2
        var sum: UInt64 = 0
        for (index, count) in buckets.enumerated() where count > 0 {
            sum += count
            if sum >= half { return Self.upperBound(of: index) }
        }
        return 0
    }
}

/// Judges how long calls of one kind take: the median of a window against a bound and against what
/// is usual. One slow call says nothing, nor does a part that has always been slow.
package struct LatencyJudge: Sendable {
    /// What calls usually take, nanoseconds; 0 before anything is known.
    package private(set) var usual: UInt64
    private let bound: UInt64
    private var windows: UInt64

    /// Medians below `bound` nanoseconds are never slow. `usual` is what an earlier judge knew.
    package init(bound: UInt64, usual: UInt64 = 0) {
        self.bound = bound
        self.usual = usual
        windows = usual > 0 ? Limits.usualWindows : 0
    }

    /// True when a window with this median is slow. Others teach what is usual: at first their
    /// average, later with little weight, so that a sickness does not become usual.
    package mutating func isSlow(median: UInt64) -> Bool {
        let isKnown = windows >= Limits.learningWindows
        let isUnusual = isKnown && median / Limits.slowFactor > usual
        if median > Limits.slowAlways || (median > bound && isUnusual) { return true }
        windows = min(windows + 1, Limits.usualWindows)
        let change = (Int64(clamping: median) - Int64(clamping: usual)) / Int64(windows)
        usual = UInt64(max(0, Int64(clamping: usual) + change))
        return false
    }
}
