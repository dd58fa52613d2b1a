import Syscalls

/// What contents, maps and logs are stored on: whole blocks at offsets that are multiples of their
/// size, from and into memory that is aligned to it. The size is 4,096 bytes; a log uses
/// `logicalBlockSize`. Any number of threads may use it.
package protocol BlockDevice: Sendable {
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

    /// Whether what was written can be lost before it is flushed.
    var hasVolatileCache: Bool { get }
    /// Writes `memory`; it alone is durable then, whatever was written before.
    func writeDurably(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno)
}

extension BlockDevice {
    /// What is not known is taken for volatile.
    package var hasVolatileCache: Bool { true }

    /// For devices that cannot do it in one call.
    package func writeDurably(
        _ memory: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        try write(memory, at: offset)
        try flush()
    }
}
