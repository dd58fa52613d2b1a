/// Finds sequential readers of one file: several at once, as when two guests read one image.
/// Positions and lengths are in blocks.
package struct ReadStreams: Sendable {
    private struct Stream: Sendable {
        var next: UInt64
        var window: Int
    }

    /// Most recently used last; four tell apart as many readers as a file usually has.
    private var streams: [Stream] = []

    package init() {}

    /// Notes that `count` blocks from `block` on were missing, and answers how many more to read
    /// behind them: 0 for a reader that jumps, twice as many each time for one that goes on,
    /// `limit` at most.
    package mutating func advance(from block: UInt64, count: Int, limit: Int) -> Int {
        // A reader's requests overtake one another, so a little before or behind counts as next.
        let slack: UInt64 = 64
        let match = streams.firstIndex { stream in
            block &+ slack >= stream.next && block <= stream.next &+ slack
        }
        var stream = Stream(next: 0, window: 0)
        if let match {
            stream = streams.remove(at: match)
            stream.window = min(limit, max(16, stream.window * 2))
        } else if block == 0 {
            // Whoever begins at the beginning often goes on.
            stream.window = min(limit, 16)
        }
        stream.next = max(match == nil ? 0 : stream.next, block &+ UInt64(count + stream.window))
        if streams.count == 4 { streams.removeFirst() }
        streams.append(stream)
        return stream.window
    }
}
