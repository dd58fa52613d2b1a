import Glibc
import Syscalls

/// What contents and maps are stored on: whole blocks of 4,096 bytes at offsets that are multiples
/// of it, from and into memory that is aligned to it. Any number of threads may use it.
package protocol FlashDevice: Sendable {
    /// Bytes, a multiple of 4,096.
    var size: UInt64 { get }
    /// Bytes that the device writes at once, at most 4,096.
    var logicalBlockSize: UInt32 { get }

    /// Fills `memory`. Throws what the device says, EIO when it ends before.
    func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno)
    /// Writes `memory`; not durable before the next flush.
    func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno)
    /// Everything that was written is durable.
    func flush() throws(Errno)
}

/// Memory for blocks, aligned for O_DIRECT.
package final class BlockBuffer: @unchecked Sendable {
    /// The memory.
    package let bytes: UnsafeMutableRawBufferPointer

    /// `blocks` of 4,096 bytes, all zero.
    package init(blocks: Int) {
        let size = max(blocks, 1) * 4096
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
        memset(memory, 0, size)
        bytes = UnsafeMutableRawBufferPointer(start: memory, count: size)
    }

    deinit { bytes.deallocate() }

    /// One of the blocks.
    package func block(_ index: Int) -> UnsafeMutableRawBufferPointer { blocks(index, 1) }

    /// Blocks in a row.
    package func blocks(_ index: Int, _ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: bytes[index * 4096..<(index + count) * 4096])
    }
}
