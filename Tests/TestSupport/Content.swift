import Glibc
import Syscalls

/// Contents that can be made again from a few numbers, so that tests know what must be read
/// without keeping it. A block is 4 KiB.
package enum Content {
    /// Bytes of a block.
    package static let blockSize = 4096

    /// The bytes of one block. Blocks with equal numbers are equal, all others differ.
    package static func block(seed: UInt64, number: UInt64, version: UInt64 = 0) -> [UInt8] {
        var generator = SplitMix64(seed: mixed(seed, number, version))
        var bytes = generator.bytes(256)
        // The rest repeats the beginning but for a counter: as unlike other blocks as random
        // bytes, and much faster to make in a debug build.
        bytes.reserveCapacity(blockSize)
        let pattern = bytes
        for part in 1..<UInt8(blockSize / pattern.count) {
            bytes.append(contentsOf: pattern)
            bytes[Int(part) * pattern.count] = part
        }
        return bytes
    }

    /// The bytes of `count` blocks in a row, beginning with the block `first`.
    package static func blocks(
        seed: UInt64, first: UInt64 = 0, count: Int, version: UInt64 = 0
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count * blockSize)
        for number in 0..<UInt64(count) {
            bytes += block(seed: seed, number: first + number, version: version)
        }
        return bytes
    }

    /// Makes a file of `count` blocks.
    package static func write(
        _ path: String, seed: UInt64, count: Int, version: UInt64 = 0
    ) throws(Errno) {
        let file = try OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC)
        for first in stride(from: 0, to: count, by: 256) {
            let bytes = blocks(
                seed: seed, first: UInt64(first), count: min(256, count - first), version: version)
            try file.write(bytes, at: UInt64(first * blockSize))
        }
    }

    /// The first byte that differs, or where the shorter one ends; nil when they are equal.
    package static func firstDifference(_ one: [UInt8], _ other: [UInt8]) -> Int? {
        let shared = min(one.count, other.count)
        // memcmp first: comparing bytes one by one is slow in a debug build.
        if memcmp(one, other, shared) == 0 { return one.count == other.count ? nil : shared }
        return (0..<shared).first { one[$0] != other[$0] }
    }

    private static func mixed(_ numbers: UInt64...) -> UInt64 {
        numbers.reduce(0) { sum, number in
            var generator = SplitMix64(seed: sum ^ number)
            return generator.next()
        }
    }
}
