import CLinux
import Glibc
import Syscalls

/// A block device, a partition or a file, read and written past the kernel's page cache.
package final class FileDevice: BlockDevice {
    /// Bytes, rounded down to whole blocks.
    package let size: UInt64
    /// Bytes that a block device writes at once; what direct I/O of a file asks for, or 4,096 when
    /// the kernel does not tell.
    package let logicalBlockSize: UInt32
    /// Whether it is a block device.
    package let isBlockDevice: Bool
    /// False for a block device of which the kernel says that it writes through.
    package let hasVolatileCache: Bool
    private let descriptor: Descriptor

    /// Opens a device for one user: EBUSY when another has it (flock(2), and O_EXCL on a block
    /// device, which a mounted file system has too). Throws EINVAL when it is neither a file nor a
    /// block device, or its logical blocks are larger than 4,096 bytes; errors of open(2).
    package init(path: String, readOnly: Bool = false) throws(Errno) {
        let access = readOnly ? O_RDONLY : O_RDWR
        let probe = try Descriptor(path: path, flags: access | O_NONBLOCK)
        var facts = CLinux_attributes()
        let raw = probe.raw
        try call { CLinux_statx(raw, "", CLinux_AT_EMPTY_PATH, &facts) }
        let kind = facts.mode & UInt32(S_IFMT)
        guard kind == UInt32(S_IFREG) || kind == UInt32(S_IFBLK) else { throw .invalid }
        isBlockDevice = kind == UInt32(S_IFBLK)
        let exclusive = isBlockDevice && !readOnly ? O_EXCL : 0
        let opened = try Descriptor(path: path, flags: access | CLinux_O_DIRECT | exclusive)
        let file = opened.raw
        do throws(Errno) {
            try call { flock(file, (readOnly ? LOCK_SH : LOCK_EX) | LOCK_NB) }
        } catch {
            throw error == Errno(EWOULDBLOCK) ? .busy : error
        }
        size = UInt64(try call { CLinux_seek(file, 0, SEEK_END) }) / 4096 * 4096
        logicalBlockSize =
            isBlockDevice ? try Self.logicalBlockSize(file) : try Self.alignment(file)
        guard logicalBlockSize <= 4096 else { throw .invalid }
        hasVolatileCache = !isBlockDevice || !WriteCache.isAbsent(device: facts.special_device)
        descriptor = opened
    }

    /// A child that another thread has just forked holds the descriptor, and with it the lock,
    /// until its execve(2): the next user must not wait for that.
    deinit { unlock() }

    private static func logicalBlockSize(_ file: Int32) throws(Errno) -> UInt32 {
        var size: Int32 = 0
        try call { CLinux_logical_block_size(file, &size) }
        return UInt32(clamping: size)
    }

    private static func alignment(_ file: Int32) throws(Errno) -> UInt32 {
        var memory: UInt32 = 0
        var offset: UInt32 = 0
        try call { CLinux_direct_alignment(file, &memory, &offset) }
        // Memory is given at multiples of the block size, too.
        return offset == 0 ? 4096 : max(memory, offset)
    }

    /// pread(2) until all is there; EIO at the end of the device.
    package func read(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
        let raw = descriptor.raw
        var done = 0
        while done < memory.count {
            let place = done
            let count = try call {
                CLinux_pread(
                    raw, memory.baseAddress.map { $0 + place }, memory.count - place,
                    Int64(offset) + Int64(place))
            }
            guard count > 0 else { throw .io }
            done += count
        }
    }

    /// pwrite(2) until all is written.
    package func write(_ memory: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
        try write(memory, at: offset, flags: 0)
    }

    /// pwritev2(2) with RWF_DSYNC; plain where nothing is volatile.
    package func writeDurably(
        _ memory: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        try write(memory, at: offset, flags: hasVolatileCache ? CLinux_RWF_DSYNC : 0)
    }

    private func write(
        _ memory: UnsafeRawBufferPointer, at offset: UInt64, flags: Int32
    ) throws(Errno) {
        let raw = descriptor.raw
        var done = 0
        while done < memory.count {
            let place = done
            let count = try call {
                CLinux_pwrite(
                    raw, memory.baseAddress.map { $0 + place }, memory.count - place,
                    Int64(offset) + Int64(place), flags)
            }
            guard count > 0 else { throw .io }
            done += count
        }
    }

    /// fdatasync(2).
    package func flush() throws(Errno) {
        let raw = descriptor.raw
        try call { fdatasync(raw) }
    }

    /// Lets another user of this process or another open it, before this object goes. Nothing may
    /// be written any more.
    package func unlock() { flock(descriptor.raw, LOCK_UN) }
}
