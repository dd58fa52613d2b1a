import CLinux
import Glibc

/// Memory of a memfd (memfd_create(2)) mapped for reading and writing; other processes that hold
/// the descriptor map the same pages, so the contents outlive this process.
package final class SharedMemory: @unchecked Sendable {
    package let descriptor: Int32
    package let base: UnsafeMutableRawPointer
    package let size: Int

    /// Makes a memfd of `size` zero bytes; its pages come with the first touch.
    /// The caller owns the descriptor.
    package static func create(name: String, size: Int) throws(Errno) -> Int32 {
        let raw = try call { CLinux_memfd(name) }
        do throws(Errno) {
            try call { ftruncate(raw, size) }
        } catch {
            close(raw)
            throw error
        }
        return raw
    }

    /// Makes a memfd at least so large; what is added takes no memory before it is touched.
    package static func extend(_ descriptor: Int32, to size: Int) throws(Errno) {
        var status = stat()
        try call { fstat(descriptor, &status) }
        if Int(status.st_size) < size { try call { ftruncate(descriptor, size) } }
    }

    /// Maps the whole of an open memfd, which stays the caller's. `populated` touches every page
    /// at once; the pages are left out of core dumps.
    package init(descriptor: Int32, populated: Bool) throws(Errno) {
        var status = stat()
        try call { fstat(descriptor, &status) }
        let flags = MAP_SHARED | (populated ? MAP_POPULATE : 0)
        let mapped = mmap(nil, Int(status.st_size), PROT_READ | PROT_WRITE, flags, descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else { throw Errno.last }
        madvise(mapped, Int(status.st_size), MADV_DONTDUMP)
        self.descriptor = descriptor
        base = mapped
        size = Int(status.st_size)
    }

    /// Bytes of the pages that the memfd has, whoever touched them.
    package var takenBytes: Int {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? Int(status.st_blocks) * 512 : 0
    }

    /// Keeps the pages in memory (mlock(2)). Throws when the limit on locked memory is too low.
    package func lock() throws(Errno) { try call { mlock(base, size) } }

    deinit { munmap(base, size) }
}
