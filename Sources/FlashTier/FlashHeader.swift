import Devices
import Glibc
import ReadCache
import Syscalls

/// What a device says of itself (docs/on-disk-format.md, header).
package struct FlashHeader: Equatable, Sendable {
    /// Names this format of the device: 16 bytes.
    package var uuid: [UInt8]
    /// The secret of its fingerprints: 64 bytes.
    package var key: [UInt8]
    /// Blocks of the device.
    package var blocks: UInt64
    /// Blocks of a region.
    package var regionBlocks: UInt32
    /// Bytes that the device wrote at once when it was formatted.
    package var logicalBlockSize: UInt32
    /// Another number whenever all maps were given up.
    package var instance: UInt64
    /// The epoch of the log that counts: random, so that pages of different lives are
    /// never taken for one another.
    package var epoch: UInt64
    /// 0 or 1: the half of the log that counts.
    package var half: UInt8 = 0
    /// Bytes written to the device since it was formatted, as far as the header knows.
    package var written: UInt64 = 0
    /// Whether a mount has it open, or died with it.
    package var isInUse = false
    /// The mount it belongs to; empty when it is free.
    package var owner = ""
    /// Counts its writes.
    package var sequence: UInt64 = 0

    private static let magic = Array("Forebay flash 1".utf8) + [0]
    static let longestOwner = 1024

    /// The header of a device that is formatted now, with a new key.
    package init(size: UInt64, regionBlocks: Int, logicalBlockSize: UInt32) {
        var generator = SystemRandomNumberGenerator()
        uuid = (0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) }
        key = (0..<FingerprintKey.length).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        instance = UInt64.random(in: 1...UInt64.max, using: &generator)
        epoch = UInt64.random(in: 1...UInt64.max, using: &generator)
        blocks = size / 4096
        self.regionBlocks = UInt32(regionBlocks)
        self.logicalBlockSize = logicalBlockSize
    }

    /// Whether a block looks like a header of ours, valid or not.
    package static func isRecognised(_ block: UnsafeRawBufferPointer) -> Bool {
        block.count >= 64 && block[48..<64].elementsEqual(magic)
    }

    // MARK: - Decoding

    /// The newest valid copy on a device; throws EIO from the device, EINVAL when there is none.
    package static func read<Device: BlockDevice>(from device: Device) throws(Errno) -> Self {
        let copies = try readCopies(from: device)
        guard let newest = copies.compactMap({ $0 }).max(by: { $0.sequence < $1.sequence }) else {
            throw .invalid
        }
        return newest
    }

    /// Both copies; nil for one that is not valid.
    static func readCopies<Device: BlockDevice>(from device: Device) throws(Errno) -> [Self?] {
        let buffer = BlockBuffer(blocks: 1)
        var copies: [Self?] = []
        var failure: Errno?
        for offset in [0, FlashGeometry.secondHeader] {
            do throws(Errno) {
                try device.read(buffer.bytes, at: offset)
                copies.append(try? Self(block: buffer.bytes, position: offset))
            } catch {
                failure = error
                copies.append(nil)
            }
        }
        if let failure, copies.allSatisfy({ $0 == nil }) { throw failure }
        return copies
    }

    private init(block: UnsafeMutableRawBufferPointer, position: UInt64) throws(Errno) {
        let raw = UnsafeRawBufferPointer(block)
        guard Self.isRecognised(raw) else { throw .io }
        // The key comes from the page that it then proves whole.
        key = Array(raw[80..<80 + FingerprintKey.length])
        uuid = Array(raw[64..<80])
        let opened = SealedPage.open(
            block, .header, position: position, key: try PageKey(secret: key, uuid: uuid))
        guard let page = opened else { throw .io }
        var reader = ByteReader(page.payload)
        _ = try reader.take(count: 16)
        _ = try reader.take(count: 16)
        _ = try reader.take(count: FingerprintKey.length)
        blocks = try reader.take(UInt64.self)
        regionBlocks = try reader.take(UInt32.self)
        logicalBlockSize = try reader.take(UInt32.self)
        instance = try reader.take(UInt64.self)
        epoch = try reader.take(UInt64.self)
        written = try reader.take(UInt64.self)
        half = try reader.take(UInt8.self)
        isInUse = try reader.take(UInt8.self) != 0
        let length = Int(try reader.take(UInt16.self))
        owner = String(decoding: try reader.take(count: length), as: UTF8.self)
        sequence = page.sequence
        guard half <= 1 else { throw .io }
    }

    // MARK: - Encoding

    /// Makes both copies durable, one after the other. Counts the write. Throws EINVAL for an
    /// owner of more than 1,024 bytes.
    package mutating func write<Device: BlockDevice>(to device: Device) throws(Errno) {
        guard owner.utf8.count <= Self.longestOwner else { throw .invalid }
        sequence += 1
        let buffer = BlockBuffer(blocks: 1)
        for offset in [0, FlashGeometry.secondHeader] {
            encode(into: buffer.bytes, position: offset, try PageKey(self))
            try device.write(UnsafeRawBufferPointer(buffer.bytes), at: offset)
            try device.flush()
        }
    }

    private func encode(
        into block: UnsafeMutableRawBufferPointer, position: UInt64, _ key: PageKey
    ) {
        var writer = ByteWriter(block, at: SealedPage.start)
        writer.put(Self.magic)
        writer.put(uuid)
        writer.put(self.key)
        writer.put(blocks)
        writer.put(regionBlocks)
        writer.put(logicalBlockSize)
        writer.put(instance)
        writer.put(epoch)
        writer.put(written)
        writer.put(half)
        writer.put(UInt8(isInUse ? 1 : 0))
        writer.put(UInt16(owner.utf8.count))
        writer.put(Array(owner.utf8))
        SealedPage.seal(
            block, .header, sequence: sequence, position: position,
            length: writer.position - SealedPage.start, key: key)
    }
}
