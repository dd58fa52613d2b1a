import Glibc

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
