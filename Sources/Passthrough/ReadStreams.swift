import Policy

/// Finds sequential readers of one file: several at once, as when two guests read one image.
/// Positions and lengths are in blocks, times in nanoseconds of the monotonic clock.
///
/// What is ordered for a reader ends some way ahead of it. Where the last order began lies its
/// *mark*: a request that gets there orders as much again and more, so that a reader which goes on
/// finds everything cached and need not be watched in between.
package struct ReadStreams: Sendable {
    private struct Stream: Sendable {
        /// The first block of the request that was noted last.
        var position: UInt64
        /// The end of what was ordered.
        var ordered: UInt64
        var mark: UInt64
        /// The blocks of the last order; 0 for a reader that may yet jump.
        var window = 0
        var notedAt: UInt64

        /// A request at `block` may be of this reader, give or take `slack` blocks.
        func isNear(_ block: UInt64, _ slack: UInt64, at now: UInt64) -> Bool {
            block + slack >= position && block <= ordered + slack
                && now &- notedAt < Limits.streamPatience
        }
    }

    /// Noted last at the end.
    private var streams: [Stream] = []

    package init() {}

    /// Notes a request for `count` blocks from `block` on, and answers which blocks behind it to
    /// read ahead: none for a reader that jumps or has not come to its mark, twice as many each
    /// time for one that goes on, at most `limit`.
    package mutating func advance(
        from block: UInt64, count: Int, limit: Int, at now: UInt64
    ) -> Range<UInt64> {
        // No file has so many; what is reckoned with the others cannot overflow.
        guard block < 1 << 52 else { return 0..<0 }
        let end = block + UInt64(count)
        let slack = min(Limits.streamSlack, Limits.leastStreamSlack + 2 * UInt64(count))
        var stream = Stream(position: block, ordered: end, mark: end, notedAt: now)
        var isNext = false
        for known in streams where known.isNear(block, slack, at: now) {
            let window = max(stream.window, known.window)
            if !isNext || known.ordered > stream.ordered { stream = known }
            stream.window = window
            isNext = true
        }
        // Several that came to the same place are one.
        streams.removeAll { $0.isNear(block, slack, at: now) }
        var order = end..<end
        // Somebody else may well come to what was ordered, but hardly to the mark. Whoever begins
        // at the beginning often goes on.
        if isNext ? block <= stream.mark + slack && end > stream.mark : block == 0 {
            stream.window = isNext ? Self.window(after: stream.window, count) : Self.firstWindow
            stream.window = min(stream.window, limit)
            order = Self.order(from: max(end, stream.ordered), stream.window)
            stream.position = block
            stream.mark = order.lowerBound
            stream.ordered = order.upperBound
            stream.notedAt = now
        }
        makeRoom()
        streams.append(stream)
        return order
    }

    /// What comes along with the read of whoever may be sequential.
    private static let firstWindow = Limits.firstReadAhead / Limits.blockSize

    private static func window(after last: Int, _ count: Int) -> Int {
        max(firstWindow, 2 * last, count)
    }

    /// A window, cut so that it ends where large reads begin.
    private static func order(from start: UInt64, _ window: Int) -> Range<UInt64> {
        let unit = UInt64(Limits.readAhead / Limits.blockSize)
        let end = start + UInt64(window)
        let cut = end - end % unit
        return start..<(window >= Int(unit) && cut > start ? cut : end)
    }

    private mutating func makeRoom() {
        guard streams.count >= Limits.streams else { return }
        let isCrowded = streams.count { $0.window > 0 } > Limits.steadyStreams
        streams.remove(at: streams.firstIndex { ($0.window > 0) == isCrowded } ?? 0)
    }

    /// The places of all marks, for `mayMeet`.
    package var marks: UInt64 {
        streams.reduce(0) { $1.window > 0 ? $0 | Self.bit(of: $1.mark) : $0 }
    }

    /// Whether blocks [start, end), at most a request, may lie at a mark. Almost all requests that
    /// do not are told so without a look at the streams.
    package static func mayMeet(_ marks: UInt64, _ start: UInt64, _ end: UInt64) -> Bool {
        marks & (bit(of: start) | bit(of: end - 1)) != 0
    }

    /// Whether blocks [start, end) lie at a mark.
    package func isAtMark(_ start: UInt64, _ end: UInt64) -> Bool {
        streams.contains { $0.window > 0 && start <= $0.mark && $0.mark < end }
    }

    /// One of 64 bits for each MiB.
    private static func bit(of block: UInt64) -> UInt64 {
        1 << (block / UInt64(Limits.readAhead / Limits.blockSize) % 64)
    }
}
