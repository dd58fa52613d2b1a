import CLinux
import Glibc
import Passthrough
import Synchronization
import Syscalls

// mknod, create, tmpfile, mkdir, symlink, link. We create as root, whatever the caller may do, and
// hand the file over: the kernel has checked the caller's rights (default_permissions), and a file
// system that checks them again would not know its supplementary groups.
extension Datastore {
    /// Makes a regular file, a fifo, a socket or a device. NFSv3 clients make every file so.
    package func makeNode(
        parent: NodeID, name: Name, mode: UInt32, device: UInt64, caller: Caller
    ) throws(Errno) -> Entry {
        let (folder, directory) = try beginCreation(parent, name)
        if mode & S_IFMT == S_IFREG || mode & S_IFMT == 0 {
            let file = try createFile(directory, name, mode: mode)
            return try finishCreation(folder, directory, name, file, mode, caller)
        }
        try backing.ask { () throws(Errno) in
            try call { mknodat(directory.descriptor, name, mode, UInt(device)) }
        }
        return try finishCreation(
            folder, directory, name, try openName(directory, name), mode, caller)
    }

    /// Makes and opens a regular file. Without O_EXCL an existing one is opened.
    package func create(
        parent: NodeID, name: Name, mode: UInt32, flags: Int32, caller: Caller
    ) throws(Errno) -> Entry {
        let (folder, directory) = try beginCreation(parent, name)
        let file: BackingFile
        do throws(Errno) {
            file = try createFile(directory, name, mode: mode)
        } catch {
            guard error == .exists, flags & O_EXCL == 0 else { throw error }
            return try openExisting(folder, name, flags: flags)
        }
        let entry = try finishCreation(folder, directory, name, file, mode, caller)
        let inode = try inode(entry.node)
        descriptors.insert(inode.node, file)
        inode.update { $0.openCount += 1 }
        return entry
    }

    private func openExisting(
        _ folder: Inode, _ name: Name, flags: Int32
    ) throws(Errno) -> Entry {
        let entry = try entry(folder, name)
        switch entry.attributes.mode & S_IFMT {
        case S_IFDIR: throw .isDirectory
        case S_IFLNK: throw .tooManyLinks
        default: break
        }
        _ = try open(entry.node, flags: flags, killSetID: false)
        if flags & O_TRUNC != 0 {
            try truncate(try inode(entry.node), to: 0, killSetID: false)
        }
        return Entry(node: entry.node, attributes: try attributes(entry.node))
    }

    /// Makes a file without a name (O_TMPFILE of open(2)); `link` can give it one.
    package func makeTemporary(
        parent: NodeID, mode: UInt32, flags: Int32, caller: Caller
    ) throws(Errno) -> Entry {
        try beginMutation()
        let folder = try inode(parent)
        let directory = try file(folder, .path)
        let wanted = CLinux_O_TMPFILE | O_RDWR | (flags & O_EXCL)
        let raw = try backing.ask { () throws(Errno) in
            try Descriptor(
                directory: directory.descriptor, name: ".", flags: wanted, mode: mode & 0o7777
            ).release()
        }
        let file = BackingFile(owning: raw, access: .write)
        try handOver(file, directory, mode: mode, caller: caller)
        let (handle, attributes) = try backing.identify(descriptor: raw)
        let inode = adopt(handle, attributes, parent: folder, name: "")
        absorb(inode, attributes, .none)
        inode.state.withLock { state in
            state.openCount += 1
            state.orphan = file
            state.isUnlinked = true
        }
        return Entry(node: inode.node, attributes: visible(inode, attributes))
    }

    /// Makes a folder.
    package func makeDirectory(
        parent: NodeID, name: Name, mode: UInt32, caller: Caller
    ) throws(Errno) -> Entry {
        let (folder, directory) = try beginCreation(parent, name)
        try backing.ask { () throws(Errno) in
            try call { mkdirat(directory.descriptor, name, mode & 0o7777) }
        }
        return try finishCreation(
            folder, directory, name, try openName(directory, name), mode | S_IFDIR, caller)
    }

    /// Makes a symbolic link to `target`.
    package func makeSymlink(
        parent: NodeID, name: Name, target: Name, caller: Caller
    ) throws(Errno) -> Entry {
        let (folder, directory) = try beginCreation(parent, name)
        try backing.ask { () throws(Errno) in
            try call { symlinkat(target, directory.descriptor, name) }
        }
        return try finishCreation(
            folder, directory, name, try openName(directory, name), S_IFLNK | 0o777, caller)
    }

    /// Gives a file another name.
    package func link(
        _ node: NodeID, newParent: NodeID, newName: Name
    ) throws(Errno) -> Entry {
        let (folder, directory) = try beginCreation(newParent, newName)
        let inode = try inode(node)
        let file = try file(inode, .path)
        let map = inode.beginChange()
        defer { inode.endChange(map: map, unsynced: false) }
        try backing.ask { () throws(Errno) in
            try call { CLinux_link(file.descriptor, directory.descriptor, newName) }
        }
        touch(folder)
        var attributes = Attributes()
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_statx(file.descriptor, "", CLinux_AT_EMPTY_PATH, &attributes) }
        }
        inode.state.withLock { $0.isUnlinked = false }
        note(inode, parent: folder, name: newName, isNew: true)
        return Entry(node: inode.node, attributes: visible(inode, attributes))
    }

    private func beginCreation(
        _ parent: NodeID, _ name: Name
    ) throws(Errno) -> (folder: Inode, directory: BackingFile) {
        try beginMutation()
        let folder = try inode(parent)
        guard folder.isDirectory else { throw .notDirectory }
        try check(name: name)
        return (folder, try file(folder, .path))
    }

    private func createFile(
        _ directory: BackingFile, _ name: Name, mode: UInt32
    ) throws(Errno) -> BackingFile {
        let flags = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW
        let raw = try backing.ask { () throws(Errno) in
            try Descriptor(
                directory: directory.descriptor, name: name, flags: flags, mode: mode & 0o7777
            ).release()
        }
        return BackingFile(owning: raw, access: .write)
    }

    private func finishCreation(
        _ folder: Inode, _ directory: BackingFile, _ name: Name, _ file: BackingFile,
        _ mode: UInt32, _ caller: Caller
    ) throws(Errno) -> Entry {
        do throws(Errno) {
            try handOver(file, directory, mode: mode, caller: caller)
        } catch {
            // A file that belongs to the wrong user must not stay.
            unlinkat(directory.descriptor, name, mode & S_IFMT == S_IFDIR ? AT_REMOVEDIR : 0)
            throw error
        }
        touch(folder)
        let (handle, attributes) = try backing.identify(descriptor: file.descriptor)
        let inode = adopt(handle, attributes, parent: folder, name: name)
        // What follows at once, such as the times that make an NFS client's exclusive create its
        // own, must find the file after a takeover too: a client that is told to try later asks to
        // create it again, and hears that it exists.
        identity.flush()
        absorb(inode, attributes, .none)
        return Entry(node: inode.node, attributes: visible(inode, attributes))
    }

    /// Gives a new file to the caller. In a folder with the set-group-ID bit the group is the
    /// folder's (inode(7)), as the datastore has made it already.
    private func handOver(
        _ file: BackingFile, _ directory: BackingFile, mode: UInt32, caller: Caller
    ) throws(Errno) {
        var folder = Attributes()
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_statx(directory.descriptor, "", CLinux_AT_EMPTY_PATH, &folder) }
        }
        let inheritsGroup = folder.mode & S_ISGID != 0
        if caller.uid == 0, caller.gid == 0 || inheritsGroup { return }
        try backing.ask { () throws(Errno) in
            try call {
                CLinux_change_owner(
                    file.descriptor, caller.uid, inheritsGroup ? .max : caller.gid)
            }
        }
        // A change of owner takes these bits away.
        let setID = mode & (S_ISUID | S_ISGID)
        guard setID != 0, mode & S_IFMT == S_IFREG || mode & S_IFMT == 0 else { return }
        try backing.ask { () throws(Errno) in
            try call { CLinux_change_mode(file.descriptor, mode & 0o7777) }
        }
    }

    /// Notes that we changed a folder's entries, and with them its times.
    func touch(_ folder: Inode) {
        let map = folder.beginChange()
        folder.endChange(map: map, unsynced: false)
    }
}
