import CLinux
import Glibc
import Passthrough
import Synchronization
import Syscalls

// opendir, readdir, readdirplus, releasedir, fsyncdir.
extension Datastore {
    /// Nothing to open: entries are read by the datastore's own cookies.
    package func openDirectory(_ node: NodeID) throws(Errno) {
        let inode = try inode(node)
        guard inode.isDirectory else { throw .notDirectory }
    }

    /// Entries from the cookie `offset` on until `writer` is full or the folder ends. With `plus`
    /// each comes with what a lookup would answer.
    package func readDirectory<Writer: DirectoryWriter>(
        _ node: NodeID, offset: UInt64, plus: Bool, into writer: inout Writer
    ) throws(Errno) {
        guard WaitMode.mayWait else { throw .mustWait }
        let folder = try inode(node)
        guard folder.isDirectory else { throw .notDirectory }
        var listing = try takeListing(folder, offset)
        while let entry = try nextEntry(&listing) {
            if backing.isNetwork, isRemovedFile(entry.name) {
                listing.advance()
                continue
            }
            if !add(entry, of: folder, plus: plus, to: &writer) {
                let unfinished = listing
                return folder.state.withLock { $0.listing = unfinished }
            }
            listing.advance()
        }
    }

    private func nextEntry(
        _ listing: inout DirectoryListing
    ) throws(Errno) -> DirectoryListing.Entry? {
        if listing.hasEntries { return try listing.peek() }
        return try backing.ask(.other) { () throws(Errno) in try listing.peek() }
    }

    /// The listing that the last request left at `offset`, or a new one. Reading from the beginning
    /// always opens anew, so that it sees what is there now.
    private func takeListing(
        _ folder: Inode, _ offset: UInt64
    ) throws(Errno) -> DirectoryListing {
        let left = folder.state.withLock { $0.listing.take() }
        if let left, left.position == offset, offset != 0 { return left }
        let file = try openAfresh(folder, .read)
        return try backing.ask(.other) { () throws(Errno) in
            try DirectoryListing(file: file, position: offset)
        }
    }

    private func add<Writer: DirectoryWriter>(
        _ entry: DirectoryListing.Entry, of folder: Inode, plus: Bool, to writer: inout Writer
    ) -> Bool {
        entry.name.withUnsafeBufferPointer { name in
            guard let start = name.baseAddress else { return true }
            let isDots = strcmp(start, ".") == 0 || strcmp(start, "..") == 0
            // Above the mount's root there is nothing that belongs to it.
            let inode =
                isDots && folder.node == .root
                ? folder.state.withLock { $0.attributes.inode } : entry.inode
            let found = plus && !isDots ? try? self.entry(folder, start) : nil
            return writer.add(
                name: start, offset: entry.offset, inode: inode, type: entry.type, entry: found)
        }
    }

    /// The kernel has closed the folder once.
    package func releaseDirectory(_ node: NodeID) {
        guard let listing = inodes.find(node)?.state.withLock({ $0.listing.take() }) else { return }
        closeLater(listing.file)
    }

    /// Makes a folder's entries durable.
    package func syncDirectory(_ node: NodeID) throws(Errno) {
        guard WaitMode.mayWait else { throw .mustWait }
        let folder = try inode(node)
        let file = try file(folder, .read)
        try backing.ask(.other) { () throws(Errno) in
            try call { fsync(file.descriptor) }
        }
    }
}
