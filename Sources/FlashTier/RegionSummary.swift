import Devices
import ReadCache
import Syscalls

/// What the slots of a region hold, as it stands in front of them on the device.
struct RegionSummary {
    /// One slot; nil in `content` when it is empty.
    struct Slot: Equatable {
        var content: Fingerprint?
        var generation: UInt8 = 0
    }

    var slots: [Slot]
    /// Of the newest page.
    private(set) var sequence: UInt64 = 0
    /// Pages that are not valid, and those that were never written or say that they are something
    /// else: their slots are unknown.
    private(set) var damagedPages = 0
    private(set) var absentPages = 0

    init(count: Int) { slots = Array(repeating: Slot(), count: count) }

    /// Reads the pages of a region. Slots of pages that are not valid are empty. Throws what the
    /// device says.
    init<Device: BlockDevice>(
        region: Int, from device: Device, _ geometry: FlashGeometry, key: PageKey,
        _ buffer: BlockBuffer
    ) throws(Errno) {
        self.init(count: geometry.slotsPerRegion)
        let offset = geometry.regionOffset(region)
        try device.read(buffer.blocks(0, geometry.summaryBlocks), at: offset)
        for page in 0..<geometry.summaryBlocks {
            do throws(Errno) {
                try decode(buffer.block(page), position: offset + UInt64(page) * 4096, key)
            } catch {
                damagedPages += 1
            }
        }
    }

    private mutating func decode(
        _ block: UnsafeMutableRawBufferPointer, position: UInt64, _ key: PageKey
    ) throws(Errno) {
        let isClaimed = SealedPage.claims(UnsafeRawBufferPointer(block), .summary, key)
        let opened = SealedPage.open(block, .summary, position: position, key: key)
        guard let page = opened else {
            if isClaimed { damagedPages += 1 } else { absentPages += 1 }
            return
        }
        var reader = ByteReader(page.payload)
        let first = Int(try reader.take(UInt32.self))
        let count = Int(try reader.take(UInt32.self))
        guard count <= FlashGeometry.slotsPerPage, first + count <= slots.count else { throw .io }
        for index in first..<first + count {
            let content = try Fingerprint(from: &reader)
            let generation = try reader.take(UInt8.self)
            let state = try reader.take(UInt8.self)
            _ = try reader.take(UInt16.self)
            slots[index].generation = generation & SlotWord.generationMask
            slots[index].content = state == 1 ? content : nil
        }
        sequence = max(sequence, page.sequence)
    }

    /// The pages, as many as `buffer` has room for.
    func encode(
        into buffer: BlockBuffer, offset: UInt64, pages: Int, sequence: UInt64,
        key: PageKey
    ) {
        for page in 0..<pages {
            let first = min(page * FlashGeometry.slotsPerPage, slots.count)
            let end = min(first + FlashGeometry.slotsPerPage, slots.count)
            var writer = ByteWriter(buffer.block(page), at: SealedPage.start)
            writer.put(UInt32(first))
            writer.put(UInt32(end - first))
            for slot in slots[first..<end] {
                (slot.content ?? Fingerprint()).put(into: &writer)
                writer.put(slot.generation)
                writer.put(UInt8(slot.content == nil ? 0 : 1))
                writer.put(UInt16(0))
            }
            SealedPage.seal(
                buffer.block(page), .summary, sequence: sequence,
                position: offset + UInt64(page) * 4096,
                length: writer.position - SealedPage.start, key: key)
        }
    }
}
