import Policy

/// Where everything is on a device, computed from its size alone (docs/on-disk-format.md).
package struct FlashGeometry: Equatable, Sendable {
    /// Blocks of the device that are used.
    package let blocks: UInt64
    /// Blocks of one region, its summary included.
    package let regionBlocks: Int
    let earlyBlocks: Int
    /// Blocks of one half of the map log.
    let logBlocks: Int
    /// Regions.
    package let regionCount: Int
    let summaryBlocks: Int
    /// Contents that a region has room for.
    package let slotsPerRegion: Int

    static let headerBlocks: UInt64 = 32
    static let secondHeader: UInt64 = 16 * 4096
    /// Slots that a summary page describes.
    static let slotsPerPage = 202
    /// Fewest regions with which filling in turn works.
    static let fewestRegions = 4

    /// `size`: bytes of the device. Nil when it is too small, or the numbers make no sense.
    package init?(size: UInt64, regionBlocks: Int) {
        blocks = min(size, Limits.flashSize) / 4096
        guard regionBlocks >= 4, regionBlocks <= 1 << 16 else { return nil }
        self.regionBlocks = regionBlocks
        earlyBlocks = Int(min(max(blocks / 256, 16), 4096))
        logBlocks = Int(max(blocks / 64, 64))
        let fixed = Self.headerBlocks + UInt64(earlyBlocks) + 2 * UInt64(logBlocks)
        guard blocks > fixed else { return nil }
        regionCount = Int((blocks - fixed) / UInt64(regionBlocks))
        guard regionCount >= Self.fewestRegions else { return nil }
        summaryBlocks = (regionBlocks + Self.slotsPerPage) / (Self.slotsPerPage + 1)
        slotsPerRegion = regionBlocks - summaryBlocks
    }

    /// Slots of the whole device: fewer than 2^30.
    package var slotCount: Int { regionCount * slotsPerRegion }

    /// Files that have room in the log: their records, each there twice, take a quarter of a half.
    /// The map at its largest (`Limits.flashMapBytes`) takes less than three.
    var filesInLog: Int { logBlocks / 8 * (SealedPage.room / LogRecord.fileLength) }

    var earlyOffset: UInt64 { Self.headerBlocks * 4096 }

    func logOffset(half: Int) -> UInt64 {
        earlyOffset + UInt64(earlyBlocks + half * logBlocks) * 4096
    }

    func regionOffset(_ region: Int) -> UInt64 {
        logOffset(half: 2) + UInt64(region) * UInt64(regionBlocks) * 4096
    }

    /// The last block that is used.
    var lastOffset: UInt64 { regionOffset(regionCount) - 4096 }

    func region(ofSlot slot: Int) -> Int { slot / slotsPerRegion }

    /// Whether one block lies directly behind another one on the device.
    func isNext(_ address: FlashAddress, to other: FlashAddress) -> Bool {
        !address.isZero && address.slot == other.slot + 1
            && region(ofSlot: address.slot) == region(ofSlot: other.slot)
    }

    func offset(ofSlot slot: Int) -> UInt64 {
        let (region, index) = slot.quotientAndRemainder(dividingBy: slotsPerRegion)
        return regionOffset(region) + UInt64(summaryBlocks + index) * 4096
    }
}
