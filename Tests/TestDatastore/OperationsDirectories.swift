import CFuse
import CLinux
import Glibc
import Syscalls

/// Operations on open folders. An offset is the folder's own, so it is valid in any opening.
func addDirectoryOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.opendir = { request, node, info in
        perform(request, .opendir) { (fileSystem, request) throws(Errno) in
            guard let info else { throw .invalid }
            let folder = try fileSystem.nodes.open(node, flags: O_RDONLY | O_DIRECTORY)
            info.pointee.fh = UInt64(folder.raw)
            if fuse_reply_open(request, info) == 0 { _ = folder.release() }
        }
    }
    operations.readdir = { request, node, size, offset, info in
        perform(request, .readdir) { (fileSystem, request) throws(Errno) in
            let folder = try descriptor(info)
            try fileSystem.list(request, folder, node, size, offset, withAttributes: false)
        }
    }
    operations.readdirplus = { request, node, size, offset, info in
        perform(request, .readdirplus) { (fileSystem, request) throws(Errno) in
            let folder = try descriptor(info)
            try fileSystem.list(request, folder, node, size, offset, withAttributes: true)
        }
    }
    operations.releasedir = { request, _, info in
        perform(request, .releasedir) { (_, request) throws(Errno) in
            close(try descriptor(info))
            fuse_reply_err(request, 0)
        }
    }
    operations.fsyncdir = { request, _, _, info in
        perform(request, .fsyncdir) { (_, request) throws(Errno) in
            let folder = try descriptor(info)
            try call { fsync(folder) }
            fuse_reply_err(request, 0)
        }
    }
}

/// One record of getdents64(2): inode, offset of the next, length, type, name.
private struct DirectoryRecord {
    let inode: UInt64
    let nextOffset: Int64
    let length: Int
    let type: UInt8
    let name: UnsafePointer<CChar>

    /// Reads the record at the beginning of `bytes`, which the kernel wrote.
    init(_ bytes: UnsafeRawPointer) {
        inode = bytes.loadUnaligned(as: UInt64.self)
        nextOffset = bytes.loadUnaligned(fromByteOffset: 8, as: Int64.self)
        length = Int(bytes.loadUnaligned(fromByteOffset: 16, as: UInt16.self))
        type = bytes.load(fromByteOffset: 18, as: UInt8.self)
        name = (bytes + 19).assumingMemoryBound(to: CChar.self)
    }
}

extension FileSystem {
    /// Replies with as many entries from `offset` on as fit into `size` bytes.
    fileprivate func list(
        _ request: fuse_req_t, _ folder: Int32, _ node: fuse_ino_t, _ size: Int, _ offset: off_t,
        withAttributes: Bool
    ) throws(Errno) {
        let reply = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 8)
        let records = UnsafeMutableRawBufferPointer.allocate(byteCount: 32768, alignment: 8)
        defer {
            reply.deallocate()
            records.deallocate()
        }
        try call { CLinux_seek(folder, Int64(offset), SEEK_SET) }
        var used = 0
        var isFull = false
        while !isFull {
            let count = try call {
                CLinux_getdents(folder, records.baseAddress, records.count)
            }
            if count == 0 { break }
            var place = 0
            while place < count, let base = records.baseAddress {
                let record = DirectoryRecord(base + place)
                place += record.length
                let rest = UnsafeMutableRawBufferPointer(rebasing: reply[used..<size])
                let needed = add(record, folder, node, request, rest, withAttributes)
                guard let needed else { continue }
                if needed > rest.count {
                    isFull = true
                    break
                }
                used += needed
            }
        }
        fuse_reply_buf(request, reply.baseAddress?.assumingMemoryBound(to: CChar.self), used)
    }

    /// Adds a record to the reply and tells how many bytes it needs; when they are more than there
    /// is space nothing is added. nil: the name has gone in the meantime.
    private func add(
        _ record: DirectoryRecord, _ folder: Int32, _ node: fuse_ino_t, _ request: fuse_req_t,
        _ space: UnsafeMutableRawBufferPointer, _ withAttributes: Bool
    ) -> Int? {
        let start = space.baseAddress?.assumingMemoryBound(to: CChar.self)
        let next = off_t(record.nextOffset)
        var entry = fuse_entry_param()
        entry.attr.st_ino = ino_t(record.inode)
        entry.attr.st_mode = mode_t(record.type) << 12
        let isDots = strcmp(record.name, ".") == 0 || strcmp(record.name, "..") == 0
        guard withAttributes else {
            return fuse_add_direntry(
                request, start, space.count, record.name, &entry.attr, next)
        }
        // The kernel takes no reference for the two dots, and wants none.
        if !isDots {
            do throws(Errno) {
                entry = try self.entry(in: folder, record.name)
            } catch {
                // Without a node the kernel looks the name up when it is needed.
                if error == .noEntry { return nil }
            }
        }
        return fuse_add_direntry_plus(request, start, space.count, record.name, &entry, next)
    }
}
