import Glibc
import Syscalls

/// One anonymous mapping that is handed out piece by piece: all of the tier's bookkeeping of fixed
/// size. Its pages read as zero and become resident with their first use.
struct Arena {
    let base: UnsafeMutableRawPointer
    let size: Int
    private var used = 0

    /// Maps `size` bytes (mmap(2)), left out of core dumps.
    init(size: Int) throws(Errno) {
        guard let mapped = Arena.map(size) else { throw Errno.last }
        base = mapped
        self.size = size
    }

    /// The bytes that an array takes, rounded up so that arrays do not share cache lines.
    static func bytes<Element: ~Copyable>(_ type: Element.Type, _ count: Int) -> Int {
        (MemoryLayout<Element>.stride * count + 63) & ~63
    }

    /// The next `count` elements, all bytes zero. Elements must be valid when they are all zero.
    mutating func take<Element: ~Copyable>(
        _ type: Element.Type, _ count: Int
    ) -> UnsafeMutablePointer<Element> {
        let start = base + used
        used += Arena.bytes(type, count)
        precondition(used <= size, "the arena's size was computed from the same counts")
        return start.bindMemory(to: type, capacity: count)
    }

    func unmap() { Arena.unmap(base, size) }

    /// Zeroed private memory, nil when the kernel has none.
    static func map(_ size: Int) -> UnsafeMutableRawPointer? {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { return nil }
        madvise(mapped, size, MADV_DONTDUMP)
        return mapped
    }

    static func unmap(_ base: UnsafeMutableRawPointer, _ size: Int) { munmap(base, size) }
}
