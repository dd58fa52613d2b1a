import CLinux
import Glibc
import Policy
import ReadCache
import Syscalls

/// Reads images and counts their blocks: all of them, or those of some stretches of 1 MiB, the
/// same of each image, so that what copies have in common is found.
struct ImageReader: ~Copyable {
    private let key: FingerprintKey
    private let percent: UInt64
    private let buffer: UnsafeMutableRawPointer
    private(set) var census = ContentCensus()
    /// Blocks read or known to be holes.
    private(set) var blocks: UInt64 = 0
    /// Blocks of these that are all zero.
    private(set) var zeroBlocks: UInt64 = 0

    private static let stretch = 1 << 20
    private static let blockSize = Limits.blockSize

    /// `percent`: how much of each image is read, 1 to 100.
    init(percent: Int) throws(Errno) {
        var generator = SystemRandomNumberGenerator()
        let secret = (0..<FingerprintKey.length).map { _ in
            UInt8.random(in: 0...255, using: &generator)
        }
        key = try FingerprintKey(secret)
        self.percent = UInt64(percent)
        buffer = .allocate(byteCount: Self.stretch, alignment: Self.blockSize)
    }

    deinit { buffer.deallocate() }

    /// Reads one image of `size` bytes. `progress` is told how far it got, in bytes.
    mutating func read(
        _ file: Int32, size: UInt64, progress: (UInt64) -> Void
    ) throws(Errno) {
        posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
        var data = try SparseFile.dataStart(file, from: 0, size: size)
        var offset: UInt64 = 0
        while offset < size {
            let length = min(UInt64(Self.stretch), size - offset)
            if isWanted(offset / UInt64(Self.stretch)) {
                if data < offset {
                    data = try SparseFile.dataStart(file, from: offset, size: size)
                }
                if data >= offset + length {
                    count(zeros: length)
                } else {
                    try count(file, offset, Int(length))
                }
            }
            offset += length
            progress(offset)
        }
    }

    private func isWanted(_ stretch: UInt64) -> Bool {
        percent >= 100 || spread(stretch) % 100 < percent
    }

    private mutating func count(zeros length: UInt64) {
        let count = (length + UInt64(Self.blockSize) - 1) / UInt64(Self.blockSize)
        blocks += count
        zeroBlocks += count
    }

    private mutating func count(_ file: Int32, _ offset: UInt64, _ length: Int) throws(Errno) {
        var filled = 0
        while filled < length {
            let (to, rest, from) = (buffer + filled, length - filled, Int64(offset) + Int64(filled))
            let got = try call { CLinux_pread(file, to, rest, from) }
            if got == 0 { break }
            filled += got
        }
        // What is read once must not push out of memory what others use.
        posix_fadvise(file, Int(offset), length, POSIX_FADV_DONTNEED)
        // The end of the last block, and of an image that became shorter, is zero.
        let whole = (length + Self.blockSize - 1) / Self.blockSize * Self.blockSize
        memset(buffer + filled, 0, whole - filled)
        for start in stride(from: 0, to: whole, by: Self.blockSize) {
            let block = UnsafeRawPointer(buffer + start)
            blocks += 1
            if isZero(block) { zeroBlocks += 1 } else { census.add(key.fingerprint(block)) }
        }
    }

    /// Compares the block with itself, eight bytes further.
    private func isZero(_ block: UnsafeRawPointer) -> Bool {
        block.load(as: UInt64.self) == 0 && memcmp(block, block + 8, Self.blockSize - 8) == 0
    }
}
