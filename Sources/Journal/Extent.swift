/// A stretch of a file whose bytes are in the journal, or are zeros: 24 bytes.
package struct Extent: Equatable, BitwiseCopyable, Sendable {
    /// The first byte in the file.
    package private(set) var start: UInt64
    /// The record that holds the bytes; `zerosMark` when they are zeros.
    private var source: LogPosition
    /// The length; of zeros its lower half, since a hole may be longer than four gigabytes.
    private var lower: UInt32
    /// Bytes of the record's payload before ours; of zeros the upper half of the length.
    private var upper: UInt32

    private static let zerosMark = LogPosition.max

    /// Bytes of the data record at `position`, from `skip` of its payload on.
    package init(start: UInt64, length: UInt32, position: LogPosition, skip: UInt32) {
        self.start = start
        source = position
        lower = length
        upper = skip
    }

    /// Bytes that read as zeros.
    package init(zerosFrom start: UInt64, length: UInt64) {
        self.start = start
        source = Self.zerosMark
        lower = UInt32(truncatingIfNeeded: length)
        upper = UInt32(truncatingIfNeeded: length >> 32)
    }

    package var isZeros: Bool { source == Self.zerosMark }

    /// Bytes, above zero.
    package var length: UInt64 { isZeros ? UInt64(upper) << 32 | UInt64(lower) : UInt64(lower) }

    /// The first byte behind it.
    package var end: UInt64 { start + length }

    /// Where the record lies; meaningless for zeros.
    package var position: LogPosition { source }

    /// Bytes of the payload before the first one; meaningless for zeros.
    package var skip: UInt32 { upper }

    /// The rest from `offset` on, which lies inside.
    package func from(_ offset: UInt64) -> Extent {
        let cut = offset - start
        if isZeros { return Extent(zerosFrom: offset, length: length - cut) }
        return Extent(
            start: offset, length: lower - UInt32(truncatingIfNeeded: cut), position: source,
            skip: upper + UInt32(truncatingIfNeeded: cut))
    }

    /// What lies before `offset`, which lies inside.
    package func upTo(_ offset: UInt64) -> Extent {
        if isZeros { return Extent(zerosFrom: start, length: offset - start) }
        return Extent(
            start: start, length: UInt32(truncatingIfNeeded: offset - start), position: source,
            skip: upper)
    }
}
