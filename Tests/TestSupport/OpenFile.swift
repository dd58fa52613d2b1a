import CLinux
import Glibc
import Syscalls

/// An open file, closed when the object goes. Reads and writes go through buffers that are aligned
/// to 4 KiB, so the file may be opened with O_DIRECT.
package final class OpenFile: Sendable {
    private let descriptor: Descriptor

    /// Flag of open(2) that Swift does not see.
    package static let direct = CLinux_O_DIRECT

    /// Opens a file; the corresponding C function is `open`.
    package init(_ path: String, _ flags: Int32, mode: UInt32 = 0o644) throws(Errno) {
        descriptor = try Descriptor(path: path, flags: flags, mode: mode)
    }

    /// The descriptor, for calls that are not here.
    package var raw: Int32 { descriptor.raw }

    /// Reads up to `count` bytes, fewer only at the end of the file.
    package func read(at offset: UInt64, count: Int) throws(Errno) -> [UInt8] {
        let buffer = AlignedBuffer(count)
        let done = try read(at: offset, into: buffer, count: count)
        return Array(buffer.bytes[..<done])
    }

    /// Reads up to `count` bytes into a buffer that is there already; returns how many came.
    package func read(
        at offset: UInt64, into buffer: AlignedBuffer, count: Int
    ) throws(Errno) -> Int {
        let start = buffer.bytes.baseAddress
        let raw = raw
        var done = 0
        while done < count {
            let place = done
            let more = try call {
                CLinux_pread(
                    raw, start.map { $0 + place }, count - place, Int64(offset) + Int64(place))
            }
            if more == 0 { break }
            done += more
        }
        return done
    }

    /// Writes all of the bytes.
    package func write(_ bytes: [UInt8], at offset: UInt64) throws(Errno) {
        let buffer = AlignedBuffer(bytes.count)
        buffer.bytes.copyBytes(from: bytes)
        let start = buffer.bytes.baseAddress
        let raw = raw
        var done = 0
        while done < bytes.count {
            let place = done
            done += try call {
                CLinux_pwrite(
                    raw, start.map { $0 + place }, bytes.count - place,
                    Int64(offset) + Int64(place), 0)
            }
        }
    }

    /// Waits until the file is durable (fsync(2)).
    package func sync() throws(Errno) {
        let raw = raw
        try call { fsync(raw) }
    }

    /// Sets the size (ftruncate(2)).
    package func truncate(to size: UInt64) throws(Errno) {
        let raw = raw
        try call { ftruncate(raw, off_t(size)) }
    }

    /// Forgets the file's clean pages (posix_fadvise(2), POSIX_FADV_DONTNEED).
    package func dropPageCache() { CLinux_drop_page_cache(raw, 0, 0) }
}

/// Memory that starts at a multiple of 4 KiB, as O_DIRECT wants it.
package final class AlignedBuffer: @unchecked Sendable {
    /// The bytes, zero at first; as many as were asked for.
    package let bytes: UnsafeMutableRawBufferPointer

    /// `count` zero bytes.
    package init(_ count: Int) {
        let rounded = max(4096, (count + 4095) / 4096 * 4096)
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: rounded, alignment: 4096)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
    }

    deinit { bytes.baseAddress?.deallocate() }
}
