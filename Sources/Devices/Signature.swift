/// Marks by which other uses of a device are known; for messages only.
package struct Signature {
    private let name: String
    private let offset: Int
    private let bytes: [UInt8]

    private static let all = [
        Signature(name: "a log of Forebay", offset: 8, bytes: Array("Forebay log".utf8)),
        Signature(name: "a flash tier of Forebay", offset: 48, bytes: Array("Forebay flash".utf8)),
        Signature(name: "an ext file system", offset: 0x438, bytes: [0x53, 0xef]),
        Signature(name: "an XFS file system", offset: 0, bytes: Array("XFSB".utf8)),
        Signature(name: "a Btrfs file system", offset: 0x10040, bytes: Array("_BHRfS_M".utf8)),
        Signature(name: "an encrypted volume (LUKS)", offset: 0, bytes: Array("LUKS".utf8)),
        Signature(name: "an LVM volume", offset: 512, bytes: Array("LABELONE".utf8)),
        Signature(name: "swap space", offset: 4086, bytes: Array("SWAPSPACE2".utf8)),
        Signature(name: "a RAID member", offset: 4096, bytes: [0xfc, 0x4e, 0x2b, 0xa9]),
        Signature(name: "a partition table", offset: 512, bytes: Array("EFI PART".utf8)),
        Signature(name: "a partition table", offset: 4096, bytes: Array("EFI PART".utf8)),
        Signature(name: "a partition table", offset: 510, bytes: [0x55, 0xaa]),
    ]

    /// What the first MiB of a device looks like; nil for nothing known.
    package static func name(_ bytes: UnsafeRawBufferPointer) -> String? {
        all.first { mark in
            let end = mark.offset + mark.bytes.count
            return end <= bytes.count && bytes[mark.offset..<end].elementsEqual(mark.bytes)
        }?.name
    }
}
