import CLinux
import Glibc
import Syscalls

/// A directory being read: entries that the datastore gave and the client has not had yet, and
/// the open directory behind them. Positions are the datastore's own cookies, so they mean the same
/// in another process.
package struct DirectoryListing: Sendable {
    /// One entry; `offset` continues after it.
    package struct Entry: Sendable {
        package let inode: UInt64
        package let offset: UInt64
        package let type: UInt8
        /// With its NUL.
        package let name: [CChar]
    }

    package let file: BackingFile
    private var entries: [Entry] = []
    private var next = 0
    /// Where the first entry not yet taken begins.
    package private(set) var position: UInt64

    /// A listing of an open directory from a cookie on, 0 for its beginning.
    package init(file: BackingFile, position: UInt64) throws(Errno) {
        self.file = file
        self.position = position
        try call { CLinux_seek(file.descriptor, Int64(bitPattern: position), SEEK_SET) }
    }

    /// `peek` need not ask the datastore.
    package var hasEntries: Bool { next < entries.count }

    /// The entry at `position`, nil at the end. Calls getdents64(2) when it has none left.
    package mutating func peek() throws(Errno) -> Entry? {
        if next == entries.count { try refill() }
        return next < entries.count ? entries[next] : nil
    }

    /// Goes on behind the entry at `position`.
    package mutating func advance() {
        guard next < entries.count else { return }
        position = entries[next].offset
        next += 1
    }

    private mutating func refill() throws(Errno) {
        entries.removeAll(keepingCapacity: true)
        next = 0
        try withUnsafeTemporaryAllocation(byteCount: 32768, alignment: 8) {
            (buffer) throws(Errno) in
            let length = try call {
                CLinux_getdents(file.descriptor, buffer.baseAddress, buffer.count)
            }
            parse(UnsafeRawBufferPointer(rebasing: buffer[..<length]))
        }
    }

    /// struct linux_dirent64: inode 8 bytes, offset 8, length 2, type 1, name with NUL.
    private mutating func parse(_ buffer: UnsafeRawBufferPointer) {
        var start = 0
        while start + 19 < buffer.count {
            let length = Int(buffer.loadUnaligned(fromByteOffset: start + 16, as: UInt16.self))
            guard length > 19, start + length <= buffer.count else { return }
            let text = UnsafeRawBufferPointer(rebasing: buffer[(start + 19)..<(start + length)])
            var name = text.prefix { $0 != 0 }.map { CChar(bitPattern: $0) }
            name.append(0)
            entries.append(
                Entry(
                    inode: buffer.loadUnaligned(fromByteOffset: start, as: UInt64.self),
                    offset: buffer.loadUnaligned(fromByteOffset: start + 8, as: UInt64.self),
                    type: buffer[start + 18], name: name))
            start += length
        }
    }
}
