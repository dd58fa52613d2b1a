import CFuse
import CLinux
import Glibc
import Syscalls

/// Operations on attributes, links' targets and extended attributes.
func addAttributeOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.getattr = { request, node, info in
        perform(request, .getattr) { (fileSystem, request) throws(Errno) in
            try fileSystem.replyAttributes(request, node, info)
        }
    }
    operations.setattr = { request, node, attributes, which, info in
        perform(request, .setattr) { (fileSystem, request) throws(Errno) in
            guard let attributes else { throw .invalid }
            try fileSystem.change(node, attributes.pointee, which, info)
            try fileSystem.replyAttributes(request, node, info)
        }
    }
    operations.readlink = { request, node in
        perform(request, .readlink) { (fileSystem, request) throws(Errno) in
            let file = try fileSystem.nodes.reference(node)
            let raw = file.raw
            var target = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            try call { readlinkat(raw, "", &target, Int(PATH_MAX)) }
            fuse_reply_readlink(request, target)
        }
    }
    operations.statfs = { request, _ in
        perform(request, .statfs) { (fileSystem, request) throws(Errno) in
            var numbers = statvfs()
            try call { fstatvfs(fileSystem.nodes.folder, &numbers) }
            fuse_reply_statfs(request, &numbers)
        }
    }
    addExtendedAttributeOperations(&operations)
}

private func addExtendedAttributeOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.getxattr = { request, node, name, size in
        perform(request, .getxattr) { (fileSystem, request) throws(Errno) in
            try fileSystem.replyBytes(request, node, size) { (path, buffer) in
                getxattr(path, name, buffer.baseAddress, buffer.count)
            }
        }
    }
    operations.listxattr = { request, node, size in
        perform(request, .listxattr) { (fileSystem, request) throws(Errno) in
            try fileSystem.replyBytes(request, node, size) { (path, buffer) in
                let space = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
                return listxattr(path, space, buffer.count)
            }
        }
    }
    operations.setxattr = { request, node, name, value, size, flags in
        perform(request, .setxattr) { (fileSystem, request) throws(Errno) in
            let file = try fileSystem.nodes.reference(node)
            let path = FileSystem.path(of: file.raw)
            try call { setxattr(path, name, value, size, flags) }
            fuse_reply_err(request, 0)
        }
    }
    operations.removexattr = { request, node, name in
        perform(request, .removexattr) { (fileSystem, request) throws(Errno) in
            let file = try fileSystem.nodes.reference(node)
            let path = FileSystem.path(of: file.raw)
            try call { removexattr(path, name) }
            fuse_reply_err(request, 0)
        }
    }
}

extension FileSystem {
    fileprivate func replyAttributes(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ info: UnsafeMutablePointer<fuse_file_info>?
    ) throws(Errno) {
        var attributes: stat
        if let info {
            attributes = try Self.attributes(of: try descriptor(info))
        } else {
            let file = try nodes.reference(node)
            attributes = try Self.attributes(of: file.raw)
        }
        fuse_reply_attr(request, &attributes, timeout)
    }

    /// Changes what the bits of `which` (FUSE_SET_ATTR_…) name.
    fileprivate func change(
        _ node: fuse_ino_t, _ new: stat, _ which: Int32,
        _ info: UnsafeMutablePointer<fuse_file_info>?
    ) throws(Errno) {
        let file = try nodes.reference(node)
        let raw = file.raw
        let path = Self.path(of: raw)
        func has(_ bit: Int32) -> Bool { which & bit != 0 }
        if has(FUSE_SET_ATTR_UID) || has(FUSE_SET_ATTR_GID) {
            let user = has(FUSE_SET_ATTR_UID) ? new.st_uid : uid_t.max
            let group = has(FUSE_SET_ATTR_GID) ? new.st_gid : gid_t.max
            try call { fchownat(raw, "", user, group, CLinux_AT_EMPTY_PATH) }
        }
        // After the owner, because giving a file away takes its set-id bits off.
        if has(FUSE_SET_ATTR_MODE) { try call { chmod(path, new.st_mode & 0o7777) } }
        if has(FUSE_SET_ATTR_SIZE) {
            if let info {
                let opened = try descriptor(info)
                try call { ftruncate(opened, new.st_size) }
            } else {
                try call { truncate(path, new.st_size) }
            }
        }
        // Last, because a truncation changes them.
        let times = [
            Self.time(new.st_atim, has(FUSE_SET_ATTR_ATIME), has(FUSE_SET_ATTR_ATIME_NOW)),
            Self.time(new.st_mtim, has(FUSE_SET_ATTR_MTIME), has(FUSE_SET_ATTR_MTIME_NOW)),
        ]
        if times.contains(where: { $0.tv_nsec != Self.omit }) {
            try call { utimensat(raw, "", times, CLinux_AT_EMPTY_PATH) }
        }
    }

    // UTIME_NOW and UTIME_OMIT of utimensat(2), macros that Swift does not see.
    private static let now = (1 << 30) - 1
    private static let omit = (1 << 30) - 2

    private static func time(_ given: timespec, _ isSet: Bool, _ isNow: Bool) -> timespec {
        if isNow { return timespec(tv_sec: 0, tv_nsec: now) }
        return isSet ? given : timespec(tv_sec: 0, tv_nsec: omit)
    }

    /// Replies with bytes of a file's extended attributes, or with how many there are when the
    /// kernel offers no space.
    fileprivate func replyBytes(
        _ request: fuse_req_t, _ node: fuse_ino_t, _ size: Int,
        _ body: (String, UnsafeMutableRawBufferPointer) -> Int
    ) throws(Errno) {
        let file = try nodes.reference(node)
        let path = Self.path(of: file.raw)
        guard size > 0 else {
            let count = try call { body(path, UnsafeMutableRawBufferPointer(start: nil, count: 0)) }
            fuse_reply_xattr(request, count)
            return
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 8)
        defer { buffer.deallocate() }
        let count = try call { body(path, buffer) }
        fuse_reply_buf(request, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), count)
    }
}
