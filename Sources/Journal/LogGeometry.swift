import Policy

/// Where everything is on a log device (docs/on-disk-format.md, "The log").
package struct LogGeometry: Equatable, Sendable {
    /// Bytes of one segment, a power of two.
    package let segmentSize: UInt64
    /// Segments of the ring.
    package let segmentCount: UInt64
    /// Bytes that are written at once: 512 or 4,096.
    package let unit: Int

    /// Offsets of the two copies of the header.
    static let headers: [UInt64] = [0, 64 << 10]
    /// Offsets of the two checkpoints, each of one unit.
    static let checkpoints: [UInt64] = [32 << 10, 96 << 10]
    static let dataStart: UInt64 = 128 << 10
    /// The smallest segment that makes sense: for tests.
    static let smallestSegment: UInt64 = 32 << 10

    /// `size`: bytes of the device. Nil when it is too small, or the numbers make no sense.
    package init?(size: UInt64, segmentSize: UInt64, unit: Int) {
        guard unit == 512 || unit == 4096, segmentSize >= Self.smallestSegment,
            segmentSize <= 1 << 30, segmentSize & (segmentSize - 1) == 0,
            size > Self.dataStart
        else { return nil }
        segmentCount = (size - Self.dataStart) / segmentSize
        guard segmentCount >= Limits.fewestLogSegments else { return nil }
        self.segmentSize = segmentSize
        self.unit = unit
    }

    /// What a device of so many bytes is divided into: 64 segments, within the limits of their
    /// size.
    package static func segmentSize(for size: UInt64) -> UInt64 {
        var bytes = Limits.leastLogSegmentSize
        while bytes < Limits.logSegmentSize && bytes * Limits.logSegments < size { bytes *= 2 }
        return bytes
    }

    /// The unit of a device with logical blocks of so many bytes.
    package static func unit(for logicalBlockSize: UInt32) -> Int {
        logicalBlockSize <= 512 ? 512 : 4096
    }

    /// Positions begin with the first turn's segment 1, so that none is zero.
    var first: LogPosition { segmentSize }

    /// Bytes of the largest frame.
    var frameSize: Int { min(Int(segmentSize / 2), Limits.logFrameSize) }

    /// Bytes of the largest payload of one record.
    package var largestPayload: Int {
        frameSize - FrameHeader.size - 2 * RecordHeader.size - Limits.loggedHandle - 4
    }

    /// Bytes that writers can fill, with everything that belongs to the records.
    package var capacity: UInt64 { (segmentCount - Limits.spareLogSegments) * segmentSize }

    /// Bytes that a segment's summary has at most.
    var summaryRoom: Int { Int(segmentSize / 8) }

    /// The segment that a position lies in, counted through all turns.
    func segment(of position: LogPosition) -> UInt64 { position / segmentSize }

    func start(of segment: UInt64) -> LogPosition {
        segment.multipliedReportingOverflow(by: segmentSize).partialValue
    }

    /// Where a position is on the device.
    func offset(of position: LogPosition) -> UInt64 {
        let (segment, place) = position.quotientAndRemainder(dividingBy: segmentSize)
        return Self.dataStart + segment % segmentCount * segmentSize + place
    }
}
