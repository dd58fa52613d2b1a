/// The flash tier at one moment.
package struct FlashReport: Sendable {
    /// The device.
    package var path = ""
    /// `on`, `loading`, `opening`, or `off: …` with the reason.
    package var state = "opening"
    /// How much of the index was read, 0 to 1.
    package var loaded = 0.0
    /// Bytes of contents that there is room for.
    package var sizeBytes: UInt64 = 0
    /// Bytes of distinct contents that are stored.
    package var storedBytes: UInt64 = 0
    /// Bytes written to the device since it was opened.
    package var writtenBytes: UInt64 = 0
    /// Drive writes per day, as in the last hour.
    package var writesPerDay = 0.0
    /// Drive writes per day that are allowed; 0: any number.
    package var writesPerDayLimit = 0.0
    /// Bytes of memory for the index and the block maps.
    package var indexBytes: UInt64 = 0
    /// Blocks whose bytes were not what they were stored as.
    package var damagedBlocks: UInt64 = 0
    /// Reads that the device failed.
    package var errors: UInt64 = 0
    /// Blocks that were not stored because too many waited.
    package var skippedBlocks: UInt64 = 0

    package init() {}
}
