import CLinux
import Glibc
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// From node ids to inodes, and from inodes to open files on the datastore.
extension Datastore {
    /// The inode of a node id, brought back through its handle when it is not in memory.
    /// ESTALE when the file is gone; ETIMEDOUT ("try later") while it is not known yet whether the
    /// id was ever given out.
    func inode(_ node: NodeID) throws(Errno) -> Inode {
        if let inode = inodes.find(node) ?? recalled(node) { return inode }
        guard WaitMode.mayWait else { throw .mustWait }
        var found = identity.find(node)
        if found == nil { found = try search(node) }
        guard let known = found else { throw .stale }
        guard !known.handle.isDerived else { return try reviveByPath(node, known) }
        let file: BackingFile
        do throws(Errno) {
            file = try backing.open(known.handle, .path, type: known.type, errors: nil)
        } catch {
            if error == .stale { identity.forget(node) }
            throw error
        }
        let (handle, attributes) = try backing.identify(descriptor: file.descriptor)
        guard handle == known.handle else { throw .stale }
        let inode = meet(node, handle, attributes)
        if inode.parent.load(ordering: .relaxed) == 0 {
            inode.parent.store(known.parent, ordering: .relaxed)
        }
        absorb(inode, attributes, ChangeToken.none)
        descriptors.insert(node, file)
        return inode
    }

    /// A node id that is not in the table, though it may have been given out: the server before
    /// this one may have ended before it wrote it down. The walk of the tree finds it.
    private func search(_ node: NodeID) throws(Errno) -> Identity? {
        let deadline = monotonicNanoseconds() + .milliseconds(Limits.searchPatience)
        let count = searchers.add(1, ordering: .relaxed).newValue
        defer { searchers.subtract(1, ordering: .relaxed) }
        while !isTreeKnown.load(ordering: .acquiring) {
            let isLate = monotonicNanoseconds() >= deadline
            if count > Limits.searchers || isLate { throw .timedOut }
            sleep(milliseconds: 2)
            if let known = identity.find(node) { return known }
        }
        return identity.find(node)
    }

    /// The inode of an open file on the datastore, known under `name` in `parent` from now on.
    func adopt(
        _ handle: FileHandle, _ attributes: Attributes, parent: Inode, name: Name
    ) -> Inode {
        if handle == root.handle { return root }
        let first = handle.nodeID()
        if let inode = inodes.find(first), inode.handle == handle {
            note(inode, parent: parent, name: name)
            return inode
        }
        let node = identity.nodeID(of: handle)
        let inode = meet(node, handle, attributes)
        note(inode, parent: parent, name: name, isNew: true)
        return inode
    }

    /// Notes where a file was seen. A file in another folder may have another policy.
    func note(_ inode: Inode, parent: Inode, name: Name, isNew: Bool = false) {
        names.insert(parent: parent.node, name: name, node: inode.node)
        let before = inode.parent.exchange(parent.node.rawValue, ordering: .relaxed)
        let isMoved = before != parent.node.rawValue
        if isMoved, before != 0 { policyEpoch.wrappingAdd(1, ordering: .relaxed) }
        let bytes = UnsafeRawBufferPointer(start: name, count: strlen(name))
        let isRenamed = inode.state.withLock { state in
            if state.name.elementsEqual(bytes) { return false }
            state.name = Array(bytes)
            return true
        }
        // A name may be excepted from the journal.
        if isRenamed { inode.policy.store(0, ordering: .relaxed) }
        // Where there are handles, nobody has to walk to a file by its name.
        guard isNew || isMoved || isRenamed && !backing.hasHandles else { return }
        identity.remember(
            inode.node,
            Identity(
                handle: inode.handle, parent: parent.node.rawValue, type: inode.type,
                name: backing.hasHandles ? [] : Array(bytes)))
    }

    /// An open file on the datastore that can do `access`: one that is kept open, or a new one.
    func file(_ inode: Inode, _ access: Access) throws(Errno) -> BackingFile {
        if inode.node == .root { return backing.root }
        if let orphan = inode.state.withLock({ $0.orphan }) { return orphan }
        if let file = descriptors.find(inode.node, access) { return file }
        let file = try openAfresh(inode, access)
        descriptors.insert(inode.node, file)
        // A removed file must not stay open for nobody: its space would stay taken.
        if inode.state.withLock({ $0.isUnlinked }) { descriptors.remove(inode.node) }
        return file
    }

    /// Opens a file anew, with a position of its own.
    func openAfresh(_ inode: Inode, _ access: Access) throws(Errno) -> BackingFile {
        if inode.node == .root {
            let raw = try backing.ask(.other) { () throws(Errno) in
                try Descriptor(
                    directory: backing.root.descriptor, name: ".", flags: O_RDONLY | O_DIRECTORY
                ).release()
            }
            return BackingFile(owning: raw, access: .read)
        }
        if inode.handle.isDerived { return try openByPath(inode, access) }
        let file = try backing.open(
            inode.handle, access, type: inode.type, errors: inode.errors)
        // Read-ahead is ours: the kernel's below us would read, and keep, everything twice.
        if inode.isRegular, access != .path {
            posix_fadvise(file.descriptor, 0, 0, POSIX_FADV_RANDOM)
        }
        return file
    }

    /// Opens a name in a folder without following a symbolic link, as something to identify.
    func openName(_ folder: BackingFile, _ name: Name) throws(Errno) -> BackingFile {
        let raw = try backing.ask(.other) { () throws(Errno) in
            try Descriptor(
                directory: folder.descriptor, name: name, flags: CLinux_O_PATH | O_NOFOLLOW
            ).release()
        }
        return BackingFile(owning: raw, access: .path)
    }
}

// Datastores without handles: only a path leads to a file.
extension Datastore {
    private func reviveByPath(_ node: NodeID, _ known: Identity) throws(Errno) -> Inode {
        guard endsSomewhere(known) else { throw .stale }
        let parent = try inode(NodeID(known.parent))
        let name = known.name.map { CChar(bitPattern: $0) } + [0]
        let file = try openName(try self.file(parent, .path), name)
        let (handle, attributes) = try backing.identify(descriptor: file.descriptor)
        guard handle == known.handle else { throw .stale }
        return adopt(handle, attributes, parent: parent, name: name)
    }

    /// False when the folders above a file form a loop, as a damaged table may say. A path has at
    /// most 2,048 folders.
    private func endsSomewhere(_ known: Identity) -> Bool {
        var folder = NodeID(known.parent)
        for _ in 0..<2048 {
            guard inodes.find(folder) == nil, let above = identity.find(folder) else { return true }
            folder = NodeID(above.parent)
        }
        return false
    }

    private func openByPath(_ inode: Inode, _ access: Access) throws(Errno) -> BackingFile {
        let parent = try self.inode(NodeID(inode.parent.load(ordering: .relaxed)))
        let name = inode.state.withLock { $0.name }.map { CChar(bitPattern: $0) } + [0]
        let folder = try file(parent, .path)
        let flags = Backing.flags(access, type: inode.type)
        do throws(Errno) {
            let raw = try backing.ask(.other) { () throws(Errno) in
                try Descriptor(directory: folder.descriptor, name: name, flags: flags).release()
            }
            let file = BackingFile(owning: raw, access: access, errors: inode.errors)
            let (handle, _) = try backing.identify(descriptor: raw)
            guard handle == inode.handle else { throw .stale }
            return file
        } catch {
            throw error == .noEntry ? .stale : error
        }
    }
}
