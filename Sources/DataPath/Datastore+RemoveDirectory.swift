import CLinux
import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls

// rmdir. On NFS a folder can look empty and hold files that were removed while they were open:
// our own client keeps them there, under names with `.nfs`, until we have closed them.
extension Datastore {
    /// Removes an empty folder. ENOTEMPTY also when all that it holds are removed files that stay
    /// open for longer than `Limits.removalPatience`.
    package func removeDirectory(parent: NodeID, name: Name) throws(Errno) {
        try beginMutation()
        let folder = try inode(parent)
        try check(name: name)
        let directory = try file(folder, .path)
        let victim = try? entryInode(directory, name)
        if let victim { descriptors.remove(victim.node) }
        do throws(Errno) {
            try removeEmpty(directory, name)
        } catch {
            guard error == .notEmpty, let victim else { throw error }
            try removeOnceClosed(victim, directory, name)
        }
        names.remove(parent: parent, name: name)
        touch(folder)
        guard let victim else { return }
        identity.forget(victim.node)
        victim.state.withLock { $0.isUnlinked = true }
    }

    private func removeEmpty(_ directory: BackingFile, _ name: Name) throws(Errno) {
        try backing.ask { () throws(Errno) in
            try call { unlinkat(directory.descriptor, name, AT_REMOVEDIR) }
        }
    }

    /// The kernel tells us that a file was closed some time after whoever had it open did so:
    /// knfsd closes what was removed behind its answer to the removal, and the request to remove
    /// the folder can be here before that.
    private func removeOnceClosed(
        _ victim: Inode, _ directory: BackingFile, _ name: Name
    ) throws(Errno) {
        let deadline = monotonicNanoseconds() + .milliseconds(Limits.removalPatience)
        var pause = Limits.removalPause
        while try holdsRemovedFilesOnly(victim) {
            closePending(until: deadline)
            do throws(Errno) {
                return try removeEmpty(directory, name)
            } catch {
                guard error == .notEmpty, monotonicNanoseconds() < deadline else { throw error }
            }
            sleep(milliseconds: pause)
            pause = min(2 * pause, Limits.longestRemovalPause)
        }
        try removeEmpty(directory, name)
    }

    /// True for a folder with no entries but files that we removed and have not closed. What has
    /// such a name of another client's making is a file like any other.
    private func holdsRemovedFilesOnly(_ folder: Inode) throws(Errno) -> Bool {
        let file = try openAfresh(folder, .read)
        let names = try backing.ask(.other) { () throws(Errno) in try removedFiles(in: file) }
        guard let names else { return false }
        for name in names {
            // One that is gone by now is no reason to give up.
            guard let inode = try? entryInode(file, name) else { continue }
            guard inode.state.withLock({ $0.isUnlinked }) else { return false }
            descriptors.remove(inode.node)
        }
        return true
    }

    /// The names in a folder; nil when not all are those of removed files.
    private func removedFiles(in folder: BackingFile) throws(Errno) -> [[CChar]]? {
        var listing = try DirectoryListing(file: folder, position: 0)
        var names: [[CChar]] = []
        while let entry = try listing.peek() {
            listing.advance()
            if strcmp(entry.name, ".") == 0 || strcmp(entry.name, "..") == 0 { continue }
            guard isRemovedFile(entry.name) else { return nil }
            names.append(entry.name)
        }
        return names
    }
}
