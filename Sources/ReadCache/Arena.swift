import Glibc
import Syscalls

/// Memory that is handed out piece by piece: the tier's bookkeeping of fixed size. Private pages,
/// which read as zero and become resident with their first use, or a part of the shared memory.
package struct Arena {
    /// Where it begins.
    package let base: UnsafeMutableRawPointer
    /// Its bytes.
    package let size: Int
    private var used = 0

    /// Maps `size` bytes (mmap(2)), left out of core dumps; ended by `unmap`.
    package init(size: Int) throws(Errno) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { throw Errno.last }
        madvise(mapped, size, MADV_DONTDUMP)
        base = mapped
        self.size = size
    }

    /// Memory that belongs to somebody else.
    init(base: UnsafeMutableRawPointer, size: Int) {
        self.base = base
        self.size = size
    }

    /// The bytes that an array takes, rounded up so that arrays do not share cache lines.
    package static func bytes<Element: ~Copyable>(_ type: Element.Type, _ count: Int) -> Int {
        (MemoryLayout<Element>.stride * count + 63) & ~63
    }

    /// The next `count` elements, all bytes zero unless they were used before. Elements must be
    /// valid whatever their bytes are.
    package mutating func take<Element: ~Copyable>(
        _ type: Element.Type, _ count: Int
    ) -> UnsafeMutablePointer<Element> {
        let start = base + used
        used += Arena.bytes(type, count)
        precondition(used <= size, "the arena's size was computed from the same counts")
        return start.bindMemory(to: type, capacity: count)
    }

    /// Bytes of it that are in memory (mincore(2)): of private pages, those that were used.
    package var residentBytes: Int {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        var states = [UInt8](repeating: 0, count: min(Arena.pagesAtOnce, size / page + 1))
        var (offset, pages) = (0, 0)
        while offset < size {
            let length = min(states.count * page, size - offset)
            guard mincore(base + offset, length, &states) == 0 else { break }
            pages += states[..<((length + page - 1) / page)].count { $0 & 1 != 0 }
            offset += length
        }
        return min(pages * page, size)
    }

    /// Pages that one call asks for: their states fill 64 KiB.
    private static let pagesAtOnce = 1 << 16

    /// Gives the memory back.
    package func unmap() { munmap(base, size) }
}
