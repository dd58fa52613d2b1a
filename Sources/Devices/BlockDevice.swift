import Syscalls

/// What contents and maps are stored on: whole blocks of 4,096 bytes at offsets that are multiples
/// of it, from and into memory that is aligned to it. Any number of threads may use it.
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
}
