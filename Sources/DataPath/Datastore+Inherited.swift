import CLinux
import Glibc
import Passthrough
import ReadCache
import Synchronization
import Syscalls

/// What the last server noted of a file.
struct InheritedFile: Sendable {
    let place: FileNotePlace
    let note: FileNote
}

// Files whose blocks an earlier server of this mount has cached. Whoever meets such a file first
// takes its block map over and compares the file with what was noted, by the rules that hold for
// every sample: what others changed meanwhile loses its map. A thread meets all of them, so that
// what is cached shows in figures and orders soon after a takeover.
extension Datastore {
    /// The inode of a file that was just identified.
    func meet(_ node: NodeID, _ handle: FileHandle, _ attributes: Attributes) -> Inode {
        let inode = inodes.findOrInsert(node) {
            let inode = Inode(node: node, handle: handle, type: attributes.mode & S_IFMT)
            inode.size.store(attributes.size, ordering: .relaxed)
            let left = inherited.withLock { $0.removeValue(forKey: node.rawValue) }
            if let left { inode.inherit(left.note, at: left.place) }
            return inode
        }
        guard inode.state.withLock({ $0.isInherited && $0.sampledAt == 0 }) else { return inode }
        do throws(Errno) {
            _ = try sample(inode, forced: true)
        } catch {
            // Another failure leaves it to the next open, or to the watch over open files.
            if error == .stale { dropMap(inode) }
        }
        return inode
    }

    /// Meets every file that the last server noted. Those that are gone are forgotten.
    func meetInherited() {
        for node in inherited.withLock({ Array($0.keys) }) {
            if isClosing.load(ordering: .relaxed) { return }
            do throws(Errno) {
                _ = try inode(NodeID(node))
            } catch {
                if error == .stale { forgetInherited(node) }
            }
        }
    }

    private func forgetInherited(_ node: UInt64) {
        guard let left = inherited.withLock({ $0.removeValue(forKey: node) }) else { return }
        notes.giveBack(left.place)
        tier.dropFile(CacheID(rawValue: left.note.map))
    }

    /// Goes on until all are met, however long the datastore is away.
    func meetAllInherited() {
        let count = inherited.withLock { $0.count }
        while true {
            meetInherited()
            let isDone = inherited.withLock { $0.isEmpty }
            if isDone || isClosing.load(ordering: .relaxed) { break }
            sleep(milliseconds: 500)
        }
        SystemLog.notice("what was cached of \(count) files goes on being used")
    }
}
