import Glibc
import ReadCache
import Syscalls

/// A memfd in which tiers live one after the other.
final class TierMemory {
    let descriptor: Int32

    init() throws { descriptor = try SharedMemory.create(name: "tier", size: 4096) }

    deinit { close(descriptor) }

    var size: Int {
        var status = stat()
        fstat(descriptor, &status)
        return Int(status.st_size)
    }

    /// The end of what was ever written.
    var written: Int {
        var end = 0
        var position = lseek(descriptor, 0, 3)  // SEEK_DATA
        while position >= 0 {
            end = Int(lseek(descriptor, position, 4))  // SEEK_HOLE
            position = lseek(descriptor, off_t(end), 3)
        }
        return end
    }

    /// Where the header begins: the page with the magic number.
    var header: Int {
        var word: UInt64 = 0
        for offset in stride(from: 0, to: written, by: 4096) {
            if pread(descriptor, &word, 8, offset) == 8, word == 0x3152_4549_5442_4f46 {
                return offset
            }
        }
        return 0
    }

    /// Runs `body` on a tier over the memory; the tier is gone afterwards.
    func withTier<Result>(
        budget: Int, survivors: [CacheID] = [], generations: UInt32 = MemoryTier.mostGenerations,
        key: UInt8 = 3, _ body: (TierHarness) throws -> Result
    ) throws -> Result {
        let tier = try MemoryTier(
            budget: budget, framesDescriptor: descriptor,
            key: (0..<64).map { UInt8($0) &* key &+ 1 }, generations: generations,
            survivors: { _ in Set(survivors) })
        defer { tier.waitUntilReady() }
        return try body(TierHarness(tier: tier))
    }

    func flip(bit: Int, ofByte offset: Int) throws {
        var byte: UInt8 = 0
        try call { pread(descriptor, &byte, 1, offset) }
        byte ^= 1 << UInt8(bit)
        try call { pwrite(descriptor, &byte, 1, offset) }
    }

    /// The same bytes in another memory.
    func copy() throws -> TierMemory {
        let other = try TierMemory()
        try SharedMemory.extend(other.descriptor, to: size)
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        for offset in stride(from: 0, to: written, by: bytes.count) {
            let count = try call { pread(descriptor, &bytes, bytes.count, offset) }
            try call { pwrite(other.descriptor, bytes, count, offset) }
        }
        return other
    }
}
