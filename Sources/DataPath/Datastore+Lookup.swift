import CLinux
import Glibc
import Passthrough
import Synchronization
import Syscalls

// lookup, forget, readlink, and what every creation ends with.
extension Datastore {
    /// The file of a name, also of "." and ".." of any folder or file that a handle names
    /// (libfuse's doc/README.NFS).
    package func lookup(parent: NodeID, name: Name) throws(Errno) -> Entry {
        let folder = try inode(parent)
        if strcmp(name, ".") == 0 {
            return Entry(node: folder.node, attributes: try attributes(folder.node))
        }
        guard folder.isDirectory else { throw .notDirectory }
        try check(name: name)
        guard WaitMode.mayWait else { return try lookupInMemory(folder, name) }
        if strcmp(name, "..") == 0 { return try lookupParent(folder) }
        return try entry(folder, name)
    }

    /// What is known of a name while the datastore is silent.
    private func lookupInMemory(_ folder: Inode, _ name: Name) throws(Errno) -> Entry {
        guard backing.health.isSilent,
            let node = names.find(parent: folder.node, name: name),
            let inode = inodes.find(node), let attributes = known(inode)
        else { throw .mustWait }
        return Entry(node: node, attributes: attributes)
    }

    private func lookupParent(_ folder: Inode) throws(Errno) -> Entry {
        if folder.node == .root {
            return Entry(node: .root, attributes: try attributes(.root))
        }
        if folder.handle.isDerived {
            let parent = try inode(NodeID(folder.parent.load(ordering: .relaxed)))
            return Entry(node: parent.node, attributes: try attributes(parent.node))
        }
        let parent = try openName(try file(folder, .path), "..")
        let (handle, attributes) = try backing.identify(descriptor: parent.descriptor)
        if handle == root.handle { return Entry(node: .root, attributes: attributes) }
        let node = identity.nodeID(of: handle)
        // What the table knows of the folder, it knows better: where it lies decides its policies.
        if inodes.find(node) == nil, identity.find(node) == nil {
            identity.remember(
                node, Identity(handle: handle, parent: 0, type: attributes.mode & S_IFMT))
        }
        return Entry(node: node, attributes: attributes)
    }

    /// Opens a name, finds out which file it is, and knows it from then on.
    func entry(_ folder: Inode, _ name: Name) throws(Errno) -> Entry {
        // An inode that the name led to before can be compared, if it is still the same one.
        let expected = names.find(parent: folder.node, name: name).flatMap { inodes.find($0) }
        let before = expected.map { self.token($0) }
        let file: BackingFile
        do throws(Errno) {
            file = try openName(try self.file(folder, .path), name)
        } catch {
            if error == .noEntry { names.remove(parent: folder.node, name: name) }
            throw error
        }
        let (handle, attributes) = try backing.identify(descriptor: file.descriptor)
        let inode = adopt(handle, attributes, parent: folder, name: name)
        let isChanged = absorb(inode, attributes, inode === expected ? before ?? .none : .none)
        if isChanged, inode.isRegular { invalidateKernel(.file(inode.node)) }
        // Folders are walked through again and again; a file is opened when it is read.
        if inode.isDirectory, inode.node != .root { descriptors.insert(inode.node, file) }
        return Entry(node: inode.node, attributes: visible(inode, attributes))
    }

    /// Refuses names that no file can have. `.nfs…` is one like any other: clients of knfsd rename
    /// to it what they remove while they have it open.
    func check(name: Name) throws(Errno) {
        if strlen(name) > 255 { throw .nameTooLong }
    }

    /// `.nfs` and 24 hexadecimal digits: a removed file that an NFS client keeps while it is open.
    /// Listings leave them out; whether the client is the datastore's or knfsd's does not show.
    func isRemovedFile(_ name: Name) -> Bool {
        guard strncmp(name, ".nfs", 4) == 0, strlen(name) == 28 else { return false }
        return (4..<28).allSatisfy { isxdigit(Int32(name[$0])) != 0 }
    }

    /// The kernel forgets an inode. Its count is a hint only: after a takeover nobody knows it.
    package func forget(_ node: NodeID, count: UInt64) {}

    /// The target of a symbolic link, without NUL. The corresponding C function is `readlink`.
    package func readLink(
        _ node: NodeID, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        guard WaitMode.mayWait else { throw .mustWait }
        let file = try file(try inode(node), .path)
        return try backing.ask(.other) { () throws(Errno) in
            try call {
                CLinux_read_link(file.descriptor, buffer.baseAddress, buffer.count)
            }
        }
    }

    /// The node of a path below the mount; "" and "/" are its root.
    package func resolve(path: String) throws(Errno) -> NodeID {
        var node = NodeID.root
        for part in path.split(separator: "/") where part != "." {
            let name = part.utf8.map { CChar(bitPattern: $0) } + [0]
            node = try lookup(parent: node, name: name).node
        }
        return node
    }
}
