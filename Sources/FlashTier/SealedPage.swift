import Devices
import Glibc
import ReadCache
import Syscalls

/// What seals the pages of one format of a device.
struct PageKey: Sendable {
    let secret: FingerprintKey
    /// Says in the clear which format a page claims to be of.
    let format: UInt32

    /// Throws EINVAL unless the header has a whole key.
    init(_ header: FlashHeader) throws(Errno) {
        try self.init(secret: header.key, uuid: header.uuid)
    }

    init(secret: [UInt8], uuid: [UInt8]) throws(Errno) {
        self.secret = try FingerprintKey(secret)
        format = uuid.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// A block of bookkeeping under a keyed seal (docs/on-disk-format.md, sealed page).
enum SealedPage {
    /// What a page is for; the numbers are texts of four letters.
    enum Kind: UInt32 {
        case ghosts = 0x4847_4246
        case header = 0x4448_4246
        case summary = 0x5553_4246
        case log = 0x4c4d_4246
        case early = 0x4d45_4246
    }

    static let version: UInt32 = 1
    /// Where the payload begins, and how long it can be.
    static let start = 48
    static let room = 4096 - start

    /// Completes a block whose payload is in place.
    static func seal(
        _ block: UnsafeMutableRawBufferPointer, _ kind: Kind, sequence: UInt64, position: UInt64,
        length: Int, key: PageKey
    ) {
        precondition(block.count == 4096 && length <= room, "a page is one block")
        zero(block, 0..<start)
        zero(block, start + length..<4096)
        var writer = ByteWriter(block, at: 16)
        writer.put(kind.rawValue)
        writer.put(version)
        writer.put(sequence)
        writer.put(position)
        writer.put(UInt32(length))
        writer.put(key.format)
        let seal = fingerprint(UnsafeRawBufferPointer(block), key)
        var first = ByteWriter(block, at: 0)
        seal.put(into: &first)
    }

    /// The sequence and the payload of a block; nil when it is no page of this kind, of this place
    /// and of this key. The block's seal is zero afterwards.
    static func open(
        _ block: UnsafeMutableRawBufferPointer, _ kind: Kind, position: UInt64, key: PageKey
    ) -> (sequence: UInt64, payload: UnsafeRawBufferPointer)? {
        let page = UnsafeRawBufferPointer(block)
        // Cheap comparisons first: most blocks that are no pages are something else altogether.
        guard claims(page, kind, key), number(UInt32.self, page, at: 20) == version,
            number(UInt64.self, page, at: 32) == position
        else { return nil }
        let length = Int(number(UInt32.self, page, at: 40))
        guard length <= room else { return nil }
        let seal = Fingerprint(
            high: number(UInt64.self, page, at: 0), low: number(UInt64.self, page, at: 8))
        zero(block, 0..<16)
        guard fingerprint(page, key) == seal else { return nil }
        let payload = UnsafeRawBufferPointer(rebasing: page[start..<start + length])
        return (number(UInt64.self, page, at: 24), payload)
    }

    /// Whether a block says of itself that it is a page of this kind and format, true or not.
    static func claims(_ page: UnsafeRawBufferPointer, _ kind: Kind, _ key: PageKey) -> Bool {
        page.count == 4096 && number(UInt32.self, page, at: 16) == kind.rawValue
            && number(UInt32.self, page, at: 44) == key.format
    }

    private static func number<Number: FixedWidthInteger>(
        _ type: Number.Type, _ page: UnsafeRawBufferPointer, at offset: Int
    ) -> Number {
        Number(littleEndian: page.loadUnaligned(fromByteOffset: offset, as: type))
    }

    private static func zero(_ block: UnsafeMutableRawBufferPointer, _ range: Range<Int>) {
        guard let base = block.baseAddress, !range.isEmpty else { return }
        memset(base + range.lowerBound, 0, range.count)
    }

    private static func fingerprint(
        _ block: UnsafeRawBufferPointer, _ key: PageKey
    ) -> Fingerprint {
        guard block.count == 4096, let base = block.baseAddress else { return Fingerprint() }
        return key.secret.fingerprint(base)
    }
}
