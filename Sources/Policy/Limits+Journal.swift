extension Limits {
    /// Bytes of a segment of the log, at most: its summary is read at once by a recovery, and a
    /// segment is the least that is freed …
    package static let logSegmentSize: UInt64 = 16 << 20

    /// … and at least, so that two of the largest frames fit.
    package static let leastLogSegmentSize: UInt64 = 4 << 20

    /// Segments that a log is divided into where that gives a size between the two.
    package static let logSegments: UInt64 = 64

    /// Segments that a log must have: one that is written, one that is destaged, those kept for
    /// recoveries, and some to do with.
    package static let fewestLogSegments: UInt64 = 6

    /// Segments that are never filled by writers: a recovery ends the last one and leaves one free.
    package static let spareLogSegments: UInt64 = 2

    /// Bytes of the largest device write of the log: one request of the largest size, or many
    /// small ones. Two of these are kept in memory.
    package static let logFrameSize = 2 << 20

    /// Bytes that may be in the log and not durable before somebody must flush: what a recovery has
    /// to verify byte by byte, and what a device must be able to make durable in moments.
    package static let unflushedLog: UInt64 = 64 << 20

    /// Bytes of a record that are always read whole, to be verified: a read of so much takes hardly
    /// longer than one of a sector.
    package static let verifiedRecord = 64 << 10

    /// Buffers for reading the log, as many as threads that read flash: what is dirty is read in
    /// small numbers, most of it by the destager. Each is as large as a frame.
    package static let logReadBuffers = 16

    /// Bytes of a file handle in the log: the kernel's 128 and its type.
    package static let loggedHandle = 132
}
