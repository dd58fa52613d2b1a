import CFuse
import CLinux
import Glibc
import Syscalls

/// Operations on names: looking up, creating, removing, renaming.
func addNameOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.lookup = { request, parent, name in
        perform(request, .lookup) { (fileSystem, request) throws(Errno) in
            var entry = try fileSystem.lookup(parent, try required(name))
            fuse_reply_entry(request, &entry)
        }
    }
    operations.mknod = { request, parent, name, mode, device in
        perform(request, .mknod) { (fileSystem, request) throws(Errno) in
            try fileSystem.make(request, parent, name, mode) { (folder, name) in
                mknodat(folder, name, mode, device)
            }
        }
    }
    operations.mkdir = { request, parent, name, mode in
        perform(request, .mkdir) { (fileSystem, request) throws(Errno) in
            let mode = mode | S_IFDIR
            try fileSystem.make(request, parent, name, mode) { (folder, name) in
                mkdirat(folder, name, mode & 0o7777)
            }
        }
    }
    operations.symlink = { request, target, parent, name in
        perform(request, .symlink) { (fileSystem, request) throws(Errno) in
            let target = try required(target)
            try fileSystem.make(request, parent, name, S_IFLNK) { (folder, name) in
                symlinkat(target, folder, name)
            }
        }
    }
    operations.link = { request, node, parent, name in
        perform(request, .link) { (fileSystem, request) throws(Errno) in
            let name = try required(name)
            let file = try fileSystem.nodes.reference(node)
            let folder = try fileSystem.nodes.reference(parent)
            let (from, to) = (file.raw, folder.raw)
            try call { linkat(from, "", to, name, CLinux_AT_EMPTY_PATH) }
            var entry = try fileSystem.entry(of: from)
            fuse_reply_entry(request, &entry)
        }
    }
    operations.create = { request, parent, name, mode, file in
        perform(request, .create) { (fileSystem, request) throws(Errno) in
            try fileSystem.create(request, parent, try required(name), mode, file)
        }
    }
    addRemovals(&operations)
}

private func addRemovals(_ operations: inout fuse_lowlevel_ops) {
    operations.unlink = { request, parent, name in
        perform(request, .unlink) { (fileSystem, request) throws(Errno) in
            try fileSystem.remove(request, parent, try required(name), 0)
        }
    }
    operations.rmdir = { request, parent, name in
        perform(request, .rmdir) { (fileSystem, request) throws(Errno) in
            // AT_REMOVEDIR, which the C library's module leaves out.
            try fileSystem.remove(request, parent, try required(name), 0x200)
        }
    }
    operations.rename = { request, parent, name, newParent, newName, flags in
        perform(request, .rename) { (fileSystem, request) throws(Errno) in
            let (name, newName) = (try required(name), try required(newName))
            let from = try fileSystem.nodes.reference(parent)
            let to = try fileSystem.nodes.reference(newParent)
            let (fromRaw, toRaw) = (from.raw, to.raw)
            try call { CLinux_renameat(fromRaw, name, toRaw, newName, flags) }
            fuse_reply_err(request, 0)
        }
    }
}

extension FileSystem {
    /// A name in a folder. "." of any node and ".." of any folder are asked for when somebody
    /// comes with a file handle that the kernel has no inode for.
    fileprivate func lookup(
        _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>
    ) throws(Errno) -> fuse_entry_param {
        let folder = try nodes.reference(parent)
        if strcmp(name, ".") == 0 { return try entry(of: folder.raw) }
        // Nothing above the folder is ours.
        if strcmp(name, "..") == 0, parent == Nodes.root { return try entry(of: folder.raw) }
        return try entry(in: folder.raw, name)
    }

    /// Creates a name with `body`, gives it to the caller and replies with its entry.
    fileprivate func make(
        _ request: fuse_req_t, _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>?, _ mode: mode_t,
        _ body: (Int32, UnsafePointer<CChar>) -> Int32
    ) throws(Errno) {
        let name = try required(name)
        let folder = try nodes.reference(parent)
        let raw = folder.raw
        try call { body(raw, name) }
        let file = try Descriptor(
            directory: raw, name: name, flags: CLinux_O_PATH | O_NOFOLLOW)
        try give(file.raw, in: raw, mode: mode, to: request)
        var entry = try entry(of: file.raw)
        fuse_reply_entry(request, &entry)
    }

    /// Creates and opens a regular file; opens it when somebody else was faster, unless asked not
    /// to.
    fileprivate func create(
        _ request: fuse_req_t, _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>, _ mode: mode_t,
        _ info: UnsafeMutablePointer<fuse_file_info>?
    ) throws(Errno) {
        guard let info else { throw .invalid }
        let folder = try nodes.reference(parent)
        let flags = info.pointee.flags & (O_ACCMODE | O_TRUNC) | O_NOFOLLOW
        var opened: Int32
        do throws(Errno) {
            opened = try Descriptor(
                directory: folder.raw, name: name, flags: flags | O_CREAT | O_EXCL, mode: mode
            ).release()
            try give(opened, in: folder.raw, mode: mode | S_IFREG, to: request)
        } catch {
            guard error == .exists, info.pointee.flags & O_EXCL == 0 else { throw error }
            opened = try Descriptor(directory: folder.raw, name: name, flags: flags).release()
        }
        let file = Descriptor(owning: opened)
        var entry = try entry(of: file.raw)
        info.pointee.fh = UInt64(file.raw)
        info.pointee.direct_io = 1
        // ENOENT: the caller was interrupted, nobody will release the file.
        if fuse_reply_create(request, &entry, info) == 0 { _ = file.release() }
    }

    fileprivate func remove(
        _ request: fuse_req_t, _ parent: fuse_ino_t, _ name: UnsafePointer<CChar>, _ flags: Int32
    ) throws(Errno) {
        let folder = try nodes.reference(parent)
        let raw = folder.raw
        try call { unlinkat(raw, name, flags) }
        fuse_reply_err(request, 0)
    }
}
