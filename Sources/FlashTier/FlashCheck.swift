import Devices
import ReadCache
import Syscalls

/// What a reading of all of a device found; nothing is changed.
package struct FlashCheck: Sendable {
    /// What the valid header says.
    package let header: FlashHeader
    /// Copies of the header that are not valid.
    package private(set) var damagedHeaders = 0
    /// Slots with content.
    package private(set) var contents: UInt64 = 0
    /// Those whose content is not what the summary says.
    package private(set) var damagedContents: UInt64 = 0
    /// Pages of region summaries that are not valid.
    package private(set) var damagedSummaries: UInt64 = 0
    /// Pages of the map's log.
    package private(set) var logPages: UInt64 = 0
    /// Those among them that are not valid.
    package private(set) var damagedLogPages: UInt64 = 0
    /// Regions that the device does not read.
    package private(set) var unreadableRegions: UInt64 = 0

    /// Whether anything is not as it was written.
    package var isDamaged: Bool {
        damagedHeaders > 0 || damagedContents > 0 || damagedSummaries > 0 || damagedLogPages > 0
            || unreadableRegions > 0
    }

    /// Reads all of it. `progress` is told how many bytes of how many are done. Throws EINVAL when
    /// there is no valid header, ENOSPC when the device is shorter than it was, and what the device
    /// says when it does not read the header or the log.
    package init<Device: BlockDevice>(
        _ device: Device, progress: (UInt64, UInt64) -> Void = { _, _ in }
    ) throws(Errno) {
        header = try FlashHeader.read(from: device)
        damagedHeaders = try FlashHeader.readCopies(from: device).count { $0 != header }
        let (size, key) = (header.blocks * 4096, try PageKey(header))
        guard device.size >= size else { throw .noSpace }
        guard
            let geometry = FlashGeometry(size: size, regionBlocks: Int(header.regionBlocks))
        else { throw .invalid }
        try checkLog(device, geometry, key)
        let buffer = BlockBuffer(blocks: geometry.regionBlocks)
        for region in 0..<geometry.regionCount {
            do throws(Errno) {
                try checkRegion(region, device, geometry, key, buffer)
            } catch {
                unreadableRegions += 1
            }
            progress(geometry.regionOffset(region + 1), size)
        }
    }

    private mutating func checkLog<Device: BlockDevice>(
        _ device: Device, _ geometry: FlashGeometry, _ key: PageKey
    ) throws(Errno) {
        let buffer = BlockBuffer(blocks: 1)
        var damaged: UInt64 = 0
        for page in 0..<geometry.logBlocks {
            let position = geometry.logOffset(half: Int(header.half)) + UInt64(page) * 4096
            try device.read(buffer.bytes, at: position)
            let isClaimed = SealedPage.claims(UnsafeRawBufferPointer(buffer.bytes), .log, key)
            let opened = SealedPage.open(buffer.bytes, .log, position: position, key: key)
            if let opened, opened.sequence == header.epoch {
                // What is damaged behind the last page never counted.
                logPages += damaged + 1
                damagedLogPages += damaged
                damaged = 0
            } else if opened == nil && isClaimed {
                damaged += 1
            }
        }
    }

    private mutating func checkRegion<Device: BlockDevice>(
        _ region: Int, _ device: Device, _ geometry: FlashGeometry, _ key: PageKey,
        _ buffer: BlockBuffer
    ) throws(Errno) {
        let summary = try RegionSummary(
            region: region, from: device, geometry, key: key, buffer)
        damagedSummaries += UInt64(summary.damagedPages)
        if summary.absentPages < geometry.summaryBlocks {
            damagedSummaries += UInt64(summary.absentPages)
        }
        guard summary.slots.contains(where: { $0.content != nil }) else { return }
        try device.read(buffer.bytes, at: geometry.regionOffset(region))
        for (place, slot) in summary.slots.enumerated() {
            guard let expected = slot.content,
                let block = buffer.block(geometry.summaryBlocks + place).baseAddress
            else { continue }
            contents += 1
            if key.secret.fingerprint(block) != expected { damagedContents += 1 }
        }
    }
}
