import CLinux
import ControlPath
import Glibc
import Policy
import Syscalls

/// What the kernel's page cache holds of the files of a mount. To ask for a file's pages it must be
/// open, so this opens all of them, one after the other: never in the server, which would wait for
/// itself.
struct PageCache {
    /// Bytes of pages.
    private(set) var bytes: UInt64 = 0
    /// Files that have some.
    private(set) var files: UInt64 = 0
    /// Files that were looked at.
    private(set) var known: UInt64 = 0
    /// Files and folders that could not be opened.
    private(set) var unreadable: UInt64 = 0

    private static let pageSize = UInt64(sysconf(Int32(_SC_PAGESIZE)))
    /// Bytes of a file that are mapped at a time where the kernel is older than cachestat(2).
    private static let stretch: UInt64 = 1 << 30

    /// Looks at all files of a mount; throws a refusal when it does not answer.
    init(of mount: MountedDatastore) throws(Refusal) {
        let root = try MountRoot(mount)
        var tree = ImageTree()
        tree.endsWithMount = true
        var count = PageCount()
        try tree.visit([mount.mountpoint]) { (file, size) throws(Errno) in
            known += 1
            let pages = try count.pages(of: file, size: size)
            bytes += pages * Self.pageSize
            if pages > 0 { files += 1 }
        }
        if let end = tree.end { throw root.refusal(end) }
        unreadable = tree.unreadable
    }

    /// How many pages the page cache holds of a file.
    private struct PageCount {
        private var hasCall = true
        private var states = [UInt8](
            repeating: 0, count: Int(PageCache.stretch / PageCache.pageSize))

        mutating func pages(of file: Int32, size: UInt64) throws(Errno) -> UInt64 {
            guard size > 0 else { return 0 }
            if hasCall {
                var pages: UInt64 = 0
                do throws(Errno) {
                    try call { CLinux_cached_pages(file, &pages) }
                    return pages
                } catch {
                    guard error == Errno(ENOSYS) else { throw error }
                    hasCall = false
                }
            }
            return try mappedPages(of: file, size: size)
        }

        /// Likewise with mincore(2), which needs the file mapped; nothing is read by that.
        private mutating func mappedPages(of file: Int32, size: UInt64) throws(Errno) -> UInt64 {
            var (offset, pages) = (UInt64(0), UInt64(0))
            while offset < size {
                let length = Int(min(PageCache.stretch, size - offset))
                let mapped = mmap(nil, length, PROT_READ, MAP_SHARED, file, Int(offset))
                guard let mapped, mapped != MAP_FAILED else { throw .last }
                defer { munmap(mapped, length) }
                try call { mincore(mapped, length, &states) }
                let looked = (UInt64(length) + PageCache.pageSize - 1) / PageCache.pageSize
                pages += UInt64(states[..<Int(looked)].count { $0 & 1 != 0 })
                offset += UInt64(length)
            }
            return pages
        }
    }
}
