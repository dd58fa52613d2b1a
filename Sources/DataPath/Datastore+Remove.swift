import CLinux
import Glibc
import Journal
import Passthrough
import ReadCache
import Synchronization
import Syscalls

// unlink, rename.
extension Datastore {
    /// Removes a name of a file. While the kernel has the file open it stays readable.
    package func unlink(parent: NodeID, name: Name) throws(Errno) {
        try beginMutation()
        let folder = try inode(parent)
        try check(name: name)
        let directory = try file(folder, .path)
        let victim = try victim(folder, directory, name)
        try backing.ask { () throws(Errno) in
            try call { unlinkat(directory.descriptor, name, 0) }
        }
        names.remove(parent: parent, name: name)
        touch(folder)
        finishRemoval(victim)
    }

    /// Renames, with the flags of renameat2(2) but RENAME_WHITEOUT.
    package func rename(
        parent: NodeID, name: Name, newParent: NodeID, newName: Name, flags: UInt32
    ) throws(Errno) {
        try beginMutation()
        let source = try inode(parent)
        let target = try inode(newParent)
        try check(name: name)
        try check(name: newName)
        let sourceFile = try file(source, .path)
        let targetFile = try file(target, .path)
        let moved = try entryInode(sourceFile, name)
        let replaces = flags == 0
        var replaced: Removal?
        if replaces, let present = try? entryInode(targetFile, newName), present !== moved {
            replaced = try prepareRemoval(present)
        }
        let exchanged = replaces ? nil : try? entryInode(targetFile, newName)
        try backing.ask { () throws(Errno) in
            try call {
                CLinux_renameat(
                    sourceFile.descriptor, name, targetFile.descriptor, newName, flags)
            }
        }
        for changed in [source, target, moved, exchanged].compactMap({ $0 }) { touch(changed) }
        names.remove(parent: parent, name: name)
        note(moved, parent: target, name: newName)
        if let exchanged { note(exchanged, parent: source, name: name) }
        if moved.isDirectory || parent != newParent {
            policyEpoch.wrappingAdd(1, ordering: .relaxed)
        }
        finishRemoval(replaced)
    }

    /// A file about to lose a name.
    struct Removal {
        let inode: Inode
        let wasLastName: Bool
    }

    /// The inode that a name leads to, for a change of names.
    func entryInode(_ directory: BackingFile, _ name: Name) throws(Errno) -> Inode {
        let file = try openName(directory, name)
        let (handle, attributes) = try backing.identify(descriptor: file.descriptor)
        if handle == root.handle { throw .busy }
        let node = identity.nodeID(of: handle)
        return meet(node, handle, attributes)
    }

    private func victim(
        _ folder: Inode, _ directory: BackingFile, _ name: Name
    ) throws(Errno) -> Removal? {
        let inode = try entryInode(directory, name)
        if inode.isDirectory { return nil }
        return try prepareRemoval(inode)
    }

    /// Before the last name goes: keep the file open for those who have it open, close it
    /// otherwise, so that an NFS client removes it and does not hide it.
    private func prepareRemoval(_ inode: Inode) throws(Errno) -> Removal {
        guard !inode.isDirectory else {
            descriptors.remove(inode.node)
            return Removal(inode: inode, wasLastName: true)
        }
        var attributes = Attributes()
        let probe = try file(inode, .path)
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_statx(probe.descriptor, "", CLinux_AT_EMPTY_PATH, &attributes) }
        }
        let isLast = attributes.links <= 1
        let isOpen = inode.state.withLock { $0.openCount > 0 && $0.orphan == nil }
        if isLast, isOpen, inode.isRegular {
            var keep = try? openAfresh(inode, .write)
            if keep == nil { keep = try? openAfresh(inode, .read) }
            // The kernel may have closed it meanwhile: nothing would ever let it go again.
            inode.state.withLock { if $0.openCount > 0 { $0.orphan = keep } }
        }
        if isLast, let log = logIfDirty(inode) {
            // Should we die now: what is gone then was removed by us, and its data with it.
            // A log without room for it is no reason to keep the file.
            do throws(Errno) {
                try log.recordRemoval(of: try dirtyFile(inode))
            } catch {
                guard error == .noSpace || error == .io else { throw error }
            }
        }
        if isLast {
            ahead.leave(inode.node, until: monotonicNanoseconds() + waitLimit())
            descriptors.remove(inode.node)
        }
        return Removal(inode: inode, wasLastName: isLast)
    }

    private func finishRemoval(_ removal: Removal?) {
        guard let removal else { return }
        touch(removal.inode)
        guard removal.wasLastName else { return }
        identity.forget(removal.inode.node)
        let isKept = removal.inode.state.withLock { state in
            state.isUnlinked = true
            return state.orphan != nil
        }
        if let place = removal.inode.removeNote() { notes.giveBack(place) }
        // Somebody may have opened it again before the name went.
        descriptors.remove(removal.inode.node)
        if !isKept {
            writeBack?.forget(removal.inode.node.rawValue)
            dropMap(removal.inode)
        }
    }
}
