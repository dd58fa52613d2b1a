import CLinux
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

// open, flush, release, fsync. Nothing is opened on the datastore because a client opens: what a
// read or write needs is opened by handle then, so that a restart has nothing to rebuild.
extension Datastore {
    /// Opens a file. True when the kernel may keep what it has cached of it: nobody else changed
    /// it. While the datastore is silent, known files open without asking it.
    package func open(
        _ node: NodeID, flags: Int32, killSetID: Bool
    ) throws(Errno) -> Bool {
        let inode = try inode(node)
        guard WaitMode.mayWait else {
            guard backing.health.isSilent, known(inode) != nil else { throw .mustWait }
            inode.update { $0.openCount += 1 }
            return true
        }
        let writes = flags & O_ACCMODE != O_RDONLY
        if writes, options.readOnly { throw .readOnly }
        let isChanged = try sample(inode, forced: true).isChanged
        // Whether it can be written to is told now, as a local file system would.
        if writes, inode.isRegular { _ = try file(inode, .write) }
        inode.update { $0.openCount += 1 }
        return !isChanged && !settings.isBypassing
    }

    /// A descriptor of the file is closed. On a network file system this is when written data goes
    /// to the server and when close(2) reports that it could not.
    package func flush(_ node: NodeID) throws(Errno) {
        guard backing.isNetwork, let inode = inodes.find(node),
            inode.state.withLock({ $0.isUnsynced && $0.owesSync })
        else { return }
        guard WaitMode.mayWait else { throw .mustWait }
        guard let file = descriptors.find(node, .write) else { return }
        try backing.ask(.other) { () throws(Errno) in
            let copy = try call { CLinux_dup(file.descriptor) }
            try call { Glibc.close(copy) }
        }
    }

    /// The kernel has closed the file once.
    package func release(_ node: NodeID, flags: Int32) {
        guard let inode = inodes.find(node) else { return }
        let orphan = inode.update { state -> BackingFile? in
            // After a takeover nobody knows how often it was open.
            state.openCount = max(0, state.openCount - 1)
            if state.openCount == 0 { state.mayBeOpen = false }
            guard state.openCount == 0, state.isUnlinked else {
                if state.openCount == 0 {
                    // It was given a name after all (linkat of an O_TMPFILE file).
                    return state.orphan.take()
                }
                return nil
            }
            return state.orphan.take()
        }
        guard let orphan else { return }
        // What nobody can read any more need not be written.
        if inode.state.withLock({ $0.isUnlinked }) { writeBack?.forget(node.rawValue) }
        if inode.state.withLock({ $0.isUnlinked }) { dropMap(inode) }
        closeLater(orphan)
    }

    /// Makes what was written durable. The corresponding C functions are `fsync`, `fdatasync`.
    package func sync(_ node: NodeID, dataOnly: Bool) throws(Errno) {
        let inode = try inode(node)
        if try syncLog(inode) { return }
        guard WaitMode.mayWait else { throw .mustWait }
        let before = inode.state.withLock { $0.changesEnded }
        let file: BackingFile
        do throws(Errno) {
            file = try self.file(inode, inode.isRegular && !options.readOnly ? .write : .read)
        } catch {
            guard error == .readOnly || error == .accessDenied else { throw error }
            file = try self.file(inode, .read)
        }
        try backing.ask(.other) { () throws(Errno) in
            try call { dataOnly ? fdatasync(file.descriptor) : fsync(file.descriptor) }
        }
        inode.update { state in
            if state.changesBegun == before {
                state.isUnsynced = false
                state.owesSync = false
            }
        }
        if let late = inode.errors.take() { throw late }
    }

    /// Makes what the log has of a file durable. True when that is all that clients have written
    /// and not synced.
    private func syncLog(_ inode: Inode) throws(Errno) -> Bool {
        guard let writeBack, inode.isRegular else { return false }
        // Behind a stable write nothing is left to do: the reader that took the request answers it.
        if writeBack.isDirty(inode.node.rawValue), !writeBack.journal.isAllDurable {
            guard WaitMode.mayReadFlash else { throw .mustReadFlash }
            do throws(Errno) {
                try writeBack.journal.flush()
            } catch {
                // A log that failed keeps nothing: then only the datastore does.
                try bringHome(inode)
            }
        }
        return !inode.state.withLock { $0.owesSync } && inode.errors.isEmpty
    }

    /// Brings everything written below a node to the datastore and makes it durable there: a
    /// file's data, or all of the datastore's.
    package func flushAll(_ node: NodeID) throws(Errno) { try flushAll(node, deadline: .max) }

    /// The same of what is not in the log.
    func syncAll(_ node: NodeID) throws(Errno) {
        let inode = try inode(node)
        if inode.isRegular { return try sync(node, dataOnly: false) }
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_syncfs(backing.root.descriptor) }
        }
        for changed in inodes.all() where changed.isRegular {
            guard changed.state.withLock({ $0.isUnsynced }) else { continue }
            do throws(Errno) {
                try sync(changed.node, dataOnly: false)
            } catch {
                // A file that is gone has nothing left to lose.
                guard error == .stale else { throw error }
            }
        }
    }

    /// Has a thread that may wait close it.
    func closeLater(_ file: BackingFile) { closing.update { $0.waiting.append(file) } }

    /// Closes what was put aside for closing, and waits for what other threads are closing, but not
    /// beyond `deadline`.
    func closePending(until deadline: UInt64 = 0) {
        var files = closing.withLock { $0.take() }
        if !files.isEmpty {
            files = []
            closing.update { $0.closers -= 1 }
        }
        _ = closing.wait(until: deadline) { $0.closers == 0 ? true : nil }
    }
}

/// Files that the kernel is done with, to be closed by a thread that may wait for it.
struct ClosingFiles: Sendable {
    var waiting: [BackingFile] = []
    /// Threads that are closing what they took.
    var closers = 0

    /// All that wait. Who gets any counts as a closer until it has let go of them.
    mutating func take() -> [BackingFile] {
        if !waiting.isEmpty { closers += 1 }
        defer { waiting = [] }
        return waiting
    }
}
