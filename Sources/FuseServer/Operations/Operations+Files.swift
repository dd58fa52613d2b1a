import CFuse
import CLinux
import DataPath
import Glibc
import Passthrough
import Policy
import Syscalls

extension Operations {
    /// Operations on the contents of files.
    static func addFiles(to table: inout fuse_lowlevel_ops) {
        addOpening(to: &table)
        addContents(to: &table)
        addRanges(to: &table)
    }

    private static func addOpening(to table: inout fuse_lowlevel_ops) {
        // `direct_io` is never set: below an NFS server it tears writes at page edges and takes
        // away the FSYNC behind a stable write.
        table.open = { request, node, file in
            answer(request) { (request) throws(Errno) in
                let kills = request.context.argument(as: fuse_open_in.self).open_flags
                return .opened(
                    keepCache: try request.datastore.open(
                        NodeID(node), flags: file.flags,
                        killSetID: kills & UInt32(FUSE_OPEN_KILL_SUIDGID) != 0))
            }
        }
        table.create = { request, parent, name, mode, file in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(parent), try name.required)
                let flags = file.flags
                return .created(
                    try request.makeOnce(at: place) { (datastore, mayExist) throws(Errno) in
                        try datastore.create(
                            parent: place.parent, name: place.name, mode: mode,
                            flags: mayExist ? flags & ~(O_EXCL | O_TRUNC) : flags,
                            caller: request.caller)
                    })
            }
        }
        table.flush = { request, node, _ in
            answer(request) { (request) throws(Errno) in
                try request.datastore.flush(NodeID(node))
                return .done
            }
        }
        table.release = { request, node, file in
            answer(request) { (request) throws(Errno) in
                request.datastore.release(NodeID(node), flags: file.flags)
                return .done
            }
        }
    }

    private static func addContents(to table: inout fuse_lowlevel_ops) {
        table.fsync = { request, node, dataOnly, _ in
            answer(request) { (request) throws(Errno) in
                try request.datastore.sync(NodeID(node), dataOnly: dataOnly != 0)
                return .done
            }
        }
    }

    private static func addRanges(to table: inout fuse_lowlevel_ops) {
        table.ioctl = { request, _, _, _, _, _, _, _, _ in
            answer(request) { (_) throws(Errno) in throw Errno(ENOTTY) }
        }
        table.fallocate = { request, node, mode, offset, length, _ in
            answer(request) { (request) throws(Errno) in
                try request.killSetID(of: NodeID(node))
                try request.datastore.allocate(
                    NodeID(node), mode: mode, offset: UInt64(bitPattern: Int64(offset)),
                    length: UInt64(bitPattern: Int64(length)))
                return .done
            }
        }
        table.copy_file_range = {
            request, from, fromOffset, _, to, toOffset, _, count, flags in
            answer(request) { (request) throws(Errno) in
                guard flags == 0 else { throw .invalid }
                try request.killSetID(of: NodeID(to))
                return .written(
                    try request.datastore.copyRange(
                        from: NodeID(from), fromOffset: UInt64(bitPattern: Int64(fromOffset)),
                        to: NodeID(to), toOffset: UInt64(bitPattern: Int64(toOffset)),
                        count: min(count, Operations.mostCopied)))
            }
        }
        table.lseek = { request, node, offset, whence, _ in
            answer(request) { (request) throws(Errno) in
                .offset(
                    try request.datastore.seek(
                        NodeID(node), offset: UInt64(bitPattern: Int64(offset)), whence: whence))
            }
        }
    }

    /// The most bytes that one copy reports: the reply has 32 bits for them.
    private static let mostCopied = 1 << 30
}

extension Request {
    /// Takes set-ID bits away from a file that somebody else than root changes. WRITE and SETATTR
    /// say when that must be; FALLOCATE and COPY_FILE_RANGE do not, though the kernel relies on us.
    fileprivate func killSetID(of node: NodeID) throws(Errno) {
        guard caller.uid != 0 else { return }
        let mode = try datastore.attributes(node).mode
        guard mode & S_IFMT == S_IFREG, mode & (S_ISUID | S_ISGID) != 0 else { return }
        var change = AttributeChange()
        change.killSetID = true
        _ = try datastore.setAttributes(node, change)
    }
}

extension Optional where Wrapped == UnsafeMutablePointer<fuse_file_info> {
    /// The flags of open(2) that a request carries.
    var flags: Int32 { self?.pointee.flags ?? 0 }
}
