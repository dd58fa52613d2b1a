import Policy

/// The changed stretches of one file, in order and without overlaps; what comes later replaces what
/// it covers. A B+-tree of two levels: leaves of at most 128 extents, and the list of their first
/// offsets. Some 40 bytes per extent when they come in any order, 25 when they come in sequence.
package struct ExtentMap: Sendable {
    private static let capacity = Limits.extentsPerLeaf

    private var leaves: [[Extent]] = []
    /// Where the first extent of each leaf starts.
    private var firsts: [UInt64] = []
    /// How many extents there are.
    package private(set) var count = 0
    /// Bytes that are in the journal; zeros do not count.
    package private(set) var dataBytes: UInt64 = 0

    package init() {}

    package var isEmpty: Bool { count == 0 }

    /// The first byte behind the last data; 0 when there is none. Steps over the zeros at the end.
    package var endOfData: UInt64 {
        for leaf in leaves.reversed() {
            if let extent = leaf.last(where: { !$0.isZeros }) { return extent.end }
        }
        return 0
    }

    /// The end of the last one; 0 when there is none.
    package var end: UInt64 { leaves.last?.last?.end ?? 0 }

    /// Bytes of memory that the extents take, without what the allocator adds.
    package var memoryBytes: Int {
        let header = 32
        return leaves.reduce(0) { $0 + header + $1.capacity * MemoryLayout<Extent>.stride }
            + leaves.capacity * MemoryLayout<[Extent]>.stride
            + firsts.capacity * MemoryLayout<UInt64>.stride
    }

    // MARK: - Changes

    /// Puts an extent in the place of whatever it covers.
    package mutating func insert(_ extent: Extent) {
        guard extent.length > 0 else { return }
        var extent = extent
        if extent.isZeros { extent = joined(extent) }
        remove(from: extent.start, to: extent.end)
        count += 1
        if !extent.isZeros { dataBytes += extent.length }
        guard !leaves.isEmpty else {
            leaves.append([extent])
            firsts.append(extent.start)
            return
        }
        let leaf = leafIndex(of: extent.start)
        let index = Self.index(in: leaves[leaf], startingAt: extent.start)
        if leaves[leaf].count < Self.capacity {
            leaves[leaf].insert(extent, at: index)
            firsts[leaf] = leaves[leaf][0].start
        } else if leaf == leaves.count - 1, index == leaves[leaf].count {
            // What is written in sequence leaves full leaves behind.
            leaves.append([extent])
            firsts.append(extent.start)
        } else {
            leaves[leaf].insert(extent, at: index)
            split(leaf)
        }
    }

    /// Takes out whatever lies in [start, end), and cuts off what reaches into it.
    package mutating func remove(from start: UInt64, to end: UInt64) {
        guard start < end, !leaves.isEmpty else { return }
        let first = leafIndex(of: start)
        var leaf = first
        while leaf < leaves.count, firsts[leaf] < end {
            removeWithin(leaf, start, end)
            leaf += 1
        }
        guard leaf > first else { return }
        let last = leaf - 1
        // Those between the first and the last are covered, and so are empty now.
        let lower = leaves[first].isEmpty ? first : first + 1
        let upper = leaves[last].isEmpty ? last + 1 : last
        if lower < upper {
            leaves.removeSubrange(lower..<upper)
            firsts.removeSubrange(lower..<upper)
        }
        for place in [first, first + 1] where place < leaves.count {
            firsts[place] = leaves[place][0].start
        }
        if first < leaves.count, leaves[first].count > Self.capacity { split(first) }
        mergeSmall(first)
        if first > 0 { mergeSmall(first - 1) }
    }

    private mutating func removeWithin(_ leaf: Int, _ start: UInt64, _ end: UInt64) {
        var lower = Self.index(in: leaves[leaf], endingAfter: start)
        guard lower < leaves[leaf].count else { return }
        let extent = leaves[leaf][lower]
        if extent.start < start {
            leaves[leaf][lower] = extent.upTo(start)
            if extent.end > end {
                count += 1
                if !extent.isZeros { dataBytes -= end - start }
                leaves[leaf].insert(extent.from(end), at: lower + 1)
                return
            }
            if !extent.isZeros { dataBytes -= extent.end - start }
            lower += 1
        }
        var upper = Self.index(in: leaves[leaf], startingAt: end)
        if upper > lower {
            let extent = leaves[leaf][upper - 1]
            if extent.end > end {
                leaves[leaf][upper - 1] = extent.from(end)
                if !extent.isZeros { dataBytes -= end - extent.start }
                upper -= 1
            }
        }
        guard lower < upper else { return }
        for index in lower..<upper where !leaves[leaf][index].isZeros {
            dataBytes -= leaves[leaf][index].length
        }
        count -= upper - lower
        leaves[leaf].removeSubrange(lower..<upper)
    }

    /// The zeros together with those that touch them, so that a guest which trims block by block
    /// leaves one extent.
    private func joined(_ zeros: Extent) -> Extent {
        var (start, end) = (zeros.start, zeros.end)
        if start > 0, let before = extent(at: cursor(endingAfter: start - 1)), before.isZeros,
            before.start < start
        {
            start = before.start
            end = max(end, before.end)
        }
        if let after = extent(at: cursor(endingAfter: end)), after.isZeros, after.start <= end {
            end = max(end, after.end)
        }
        return Extent(zerosFrom: start, length: end - start)
    }

    private mutating func split(_ leaf: Int) {
        let half = leaves[leaf].count / 2
        let upper = Array(leaves[leaf][half...])
        leaves[leaf].removeSubrange(half...)
        leaves.insert(upper, at: leaf + 1)
        firsts.insert(upper[0].start, at: leaf + 1)
        firsts[leaf] = leaves[leaf][0].start
    }

    /// Joins a leaf with the next one when both are small.
    private mutating func mergeSmall(_ leaf: Int) {
        guard leaf + 1 < leaves.count,
            leaves[leaf].count + leaves[leaf + 1].count <= Self.capacity * 3 / 4
        else { return }
        leaves[leaf] += leaves[leaf + 1]
        leaves.remove(at: leaf + 1)
        firsts.remove(at: leaf + 1)
    }

    // MARK: - Looking up

    /// A place in the map, valid until it is changed.
    package struct Cursor: Sendable {
        fileprivate var leaf: Int
        fileprivate var index: Int
    }

    /// The first extent that ends behind `offset`.
    package func cursor(endingAfter offset: UInt64) -> Cursor {
        guard !leaves.isEmpty else { return Cursor(leaf: 0, index: 0) }
        let leaf = leafIndex(of: offset)
        let index = Self.index(in: leaves[leaf], endingAfter: offset)
        if index == leaves[leaf].count { return Cursor(leaf: leaf + 1, index: 0) }
        return Cursor(leaf: leaf, index: index)
    }

    /// What stands there; nil behind the last one.
    package func extent(at cursor: Cursor) -> Extent? {
        guard cursor.leaf < leaves.count, cursor.index < leaves[cursor.leaf].count else {
            return nil
        }
        return leaves[cursor.leaf][cursor.index]
    }

    /// The place behind.
    package func next(_ cursor: Cursor) -> Cursor {
        guard cursor.leaf < leaves.count, cursor.index + 1 >= leaves[cursor.leaf].count else {
            return Cursor(leaf: cursor.leaf, index: cursor.index + 1)
        }
        return Cursor(leaf: cursor.leaf + 1, index: 0)
    }

    /// Runs `body` for all of them, in order.
    package func forEach(_ body: (Extent) -> Void) {
        for leaf in leaves {
            for extent in leaf { body(extent) }
        }
    }

    /// The last leaf that starts at or before `offset`, or else the first one.
    private func leafIndex(of offset: UInt64) -> Int {
        var (lower, upper) = (0, firsts.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if firsts[middle] <= offset { lower = middle + 1 } else { upper = middle }
        }
        return max(0, lower - 1)
    }

    /// The first one that ends behind `offset`.
    private static func index(in leaf: [Extent], endingAfter offset: UInt64) -> Int {
        var (lower, upper) = (0, leaf.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if leaf[middle].end <= offset { lower = middle + 1 } else { upper = middle }
        }
        return lower
    }

    /// The first one that starts at or behind `offset`.
    private static func index(in leaf: [Extent], startingAt offset: UInt64) -> Int {
        var (lower, upper) = (0, leaf.count)
        while lower < upper {
            let middle = (lower + upper) / 2
            if leaf[middle].start < offset { lower = middle + 1 } else { upper = middle }
        }
        return lower
    }
}
