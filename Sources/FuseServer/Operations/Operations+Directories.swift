import CFuse
import DataPath
import Glibc
import Passthrough
import Policy
import Syscalls

extension Operations {
    /// Operations on the contents of directories.
    static func addDirectories(to table: inout fuse_lowlevel_ops) {
        table.opendir = { request, node, _ in
            answer(request) { (request) throws(Errno) in
                try request.datastore.openDirectory(NodeID(node))
                return .opened(keepCache: false)
            }
        }
        table.readdir = { request, node, size, offset, _ in
            answer(request) { (request) throws(Errno) in
                try request.sendDirectory(NodeID(node), offset: offset, size: size, plus: false)
            }
        }
        table.releasedir = { request, node, _ in
            answer(request) { (request) throws(Errno) in
                request.datastore.releaseDirectory(NodeID(node))
                return .done
            }
        }
        table.fsyncdir = { request, node, _, _ in
            answer(request) { (request) throws(Errno) in
                try request.datastore.syncDirectory(NodeID(node))
                return .done
            }
        }
        table.readdirplus = { request, node, size, offset, _ in
            answer(request) { (request) throws(Errno) in
                try request.sendDirectory(NodeID(node), offset: offset, size: size, plus: true)
            }
        }
    }
}

extension Request {
    /// Reads directory entries from the cookie `offset` on and sends as many as go into `size`
    /// bytes. An error after the first entry comes up again when the kernel asks for the rest.
    fileprivate func sendDirectory(
        _ node: NodeID, offset: off_t, size: Int, plus: Bool
    ) throws(Errno) -> Answer {
        let bytes = UnsafeMutableBufferPointer<CChar>.allocate(
            capacity: min(size, Limits.requestSize))
        defer { bytes.deallocate() }
        var writer = EntryWriter(
            request: handle, bytes: bytes, plus: plus, timeout: datastore.attributeTimeout)
        do throws(Errno) {
            try datastore.readDirectory(
                node, offset: UInt64(bitPattern: Int64(offset)), plus: plus, into: &writer)
        } catch {
            if writer.used == 0 || error == .mustWait { throw error }
        }
        return send(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[..<writer.used])))
    }
}

/// Fills the answer to READDIR or READDIRPLUS.
private struct EntryWriter: DirectoryWriter {
    let request: fuse_req_t
    let bytes: UnsafeMutableBufferPointer<CChar>
    let plus: Bool
    let timeout: Double
    /// Bytes filled.
    var used = 0

    mutating func add(
        name: Name, offset: UInt64, inode: UInt64, type: UInt8, entry: Entry?
    ) -> Bool {
        guard let base = bytes.baseAddress else { return false }
        let room = bytes.count - used
        let needed =
            plus
            ? addPlus(name, offset, stat(inode: inode, type: type), entry, base + used, room)
            : addPlain(name, offset, stat(inode: inode, type: type), base + used, room)
        guard needed <= room else { return false }
        used += needed
        return true
    }

    private func addPlain(
        _ name: Name, _ offset: UInt64, _ status: stat, _ place: UnsafeMutablePointer<CChar>,
        _ room: Int
    ) -> Int {
        var status = status
        return fuse_add_direntry(
            request, place, room, name, &status, off_t(bitPattern: UInt(offset)))
    }

    /// An entry without attributes has node id 0: the kernel takes only the name from it, and
    /// counts no lookup. So it is for "." and "..", whose lookups the kernel would never forget.
    private func addPlus(
        _ name: Name, _ offset: UInt64, _ status: stat, _ entry: Entry?,
        _ place: UnsafeMutablePointer<CChar>, _ room: Int
    ) -> Int {
        var parameters = fuse_entry_param()
        parameters.attr = status
        if let entry, !isDots(name) { parameters = fuse_entry_param(entry, timeout: timeout) }
        return fuse_add_direntry_plus(
            request, place, room, name, &parameters, off_t(bitPattern: UInt(offset)))
    }

    /// Whether the name is "." or "..".
    private func isDots(_ name: Name) -> Bool {
        strcmp(name, ".") == 0 || strcmp(name, "..") == 0
    }
}
