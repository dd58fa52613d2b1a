import ControlPath
import Policy

/// What images have in common, and what a cache that holds all of them takes.
struct Estimate {
    /// Images, and their blocks.
    var files: UInt64 = 0
    var blocks: UInt64 = 0
    /// Files and folders that could not be read.
    var unreadable: UInt64 = 0
    /// How much of each image was read.
    var percent: UInt64 = 100
    /// Blocks looked at, and how many of them are all zero.
    var lookedAt: UInt64 = 0
    var zeros: UInt64 = 0
    /// Of the others, those whose fingerprints were counted, and distinct contents among them.
    var counted: UInt64 = 0
    var distinct: UInt64 = 0
    /// One fingerprint in so many was counted.
    var oneIn: UInt64 = 1

    private static let blockSize = UInt64(Limits.blockSize)

    var bytes: UInt64 { blocks * Self.blockSize }
    var zeroBytes: UInt64 { Self.part(blocks, zeros, of: lookedAt) * Self.blockSize }
    /// Bytes of blocks that are not zero, and what is left when each content is stored once.
    var dataBytes: UInt64 { bytes - zeroBytes }
    var uniqueBytes: UInt64 {
        Self.part(dataBytes / Self.blockSize, distinct, of: counted) * Self.blockSize
    }
    var zeroShare: String { Ratio.text(zeros, lookedAt, decimals: 4, whenEmpty: "0.0000") }
    var dedupRatio: String { Ratio.text(counted, distinct, decimals: 2, whenEmpty: "1.00") }
    /// The `ram=` that holds all of it: contents and tables.
    var ramBytes: UInt64 {
        uniqueBytes + dataBytes / Self.blockSize * Limits.tableBytesPerBlock
    }

    /// The flash device that holds all of it: contents, summaries, logs and a little room.
    var flashBytes: UInt64 { uniqueBytes + uniqueBytes / 16 + (32 << 20) }
    /// The memory that its index takes then.
    var flashIndexBytes: UInt64 {
        uniqueBytes / Self.blockSize * Limits.flashContentBytes
            + dataBytes / Self.blockSize * Limits.flashMappedBytes
    }

    /// `whole * part / of`, without overflow; 0 when `of` is.
    private static func part(_ whole: UInt64, _ part: UInt64, of: UInt64) -> UInt64 {
        guard of > 0 else { return 0 }
        // A part is not greater than what it is part of, so the quotient fits.
        return of.dividingFullWidth(whole.multipliedFullWidth(by: min(part, of))).quotient
    }

    /// One JSON object.
    var json: String {
        var writer = JSONWriter()
        writer.add("files", files)
        writer.add("unreadable", unreadable)
        writer.add("sample_percent", percent)
        writer.add("fingerprints_one_in", oneIn)
        writer.add("bytes", bytes)
        writer.add("zero_bytes", zeroBytes)
        writer.add("zero_share", json: zeroShare)
        writer.add("data_bytes", dataBytes)
        writer.add("unique_bytes", uniqueBytes)
        writer.add("dedup_ratio", json: dedupRatio)
        writer.add("ram_bytes", ramBytes)
        writer.add("flash_bytes", flashBytes)
        writer.add("flash_index_bytes", flashIndexBytes)
        return writer.finish()
    }

    /// Lines for people.
    var text: String {
        func size(_ bytes: UInt64) -> String { ByteSize.readable(bytes) }
        let read = percent < 100 ? ", of which \(percent) % was read" : ""
        let share = Ratio.text(zeros &* 100, lookedAt, decimals: 1, whenEmpty: "0.0")
        let rows = [
            ("images", "\(files) files, \(size(bytes))\(read)"),
            ("zero", "\(share) % (\(size(zeroBytes))), which takes no space"),
            ("data", "\(size(dataBytes)), of which \(size(uniqueBytes)) distinct"),
            ("dedup ratio", dedupRatio),
            ("to hold it all", "\(size(ramBytes)) of RAM tier"),
            (
                "or",
                "\(size(flashBytes)) of flash, and \(size(flashIndexBytes)) of RAM for its index"
            ),
        ]
        return rows.map { title, value in
            title + String(repeating: " ", count: 18 - title.count) + value
        }.joined(separator: "\n")
    }
}
