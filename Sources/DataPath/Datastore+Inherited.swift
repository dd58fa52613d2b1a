import CLinux
import Glibc
import Passthrough
import Policy
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
    /// The RAM tier, and what was noted of the files whose blocks it has. What a server without
    /// cache finds is given up: its writes will not take anything out of it.
    static func tier(
        _ options: MountOptions, _ settings: Settings, _ descriptor: Int32?, _ key: [UInt8],
        _ inherits: ([UInt64: InheritedFile]) -> Void
    ) throws(Errno) -> MemoryTier {
        if settings.isTierless {
            if let descriptor { try MemoryTier.forget(descriptor) }
            return try MemoryTier(
                budget: Limits.smallestTier, framesDescriptor: nil, key: key)
        }
        return try MemoryTier(
            budget: options.ram, framesDescriptor: descriptor, key: key
        ) { memory in
            var left: [UInt64: InheritedFile] = [:]
            for (place, note) in FileNotes(memory: memory).takeOver() {
                left[note.node.rawValue] = InheritedFile(place: place, note: note)
            }
            inherits(left)
            return Set(left.values.map { CacheID(rawValue: $0.note.map) })
        }
    }

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

    /// A file that the last server noted, from memory alone: what is cached of it is served while
    /// the datastore is silent, and compared once it answers. Nil when a change was under way that
    /// may have changed its size.
    func recalled(_ node: NodeID) -> Inode? {
        guard backing.health.isSilent,
            let left = inherited.withLock({ $0[node.rawValue] }),
            left.note.sizes.lowerBound == left.note.sizes.upperBound,
            let known = identity.find(node), known.type == S_IFREG, !known.handle.isDerived
        else { return nil }
        return inodes.findOrInsert(node) {
            let inode = Inode(node: node, handle: known.handle, type: known.type)
            inode.size.store(left.note.sizes.lowerBound, ordering: .relaxed)
            inode.parent.store(known.parent, ordering: .relaxed)
            // Who takes it out of the table has it: another thread may have met the file meanwhile.
            if inherited.withLock({ $0.removeValue(forKey: node.rawValue) }) != nil {
                inode.inherit(left.note, at: left.place)
                uncompared.withLock { _ = $0.insert(node) }
            }
            return inode
        }
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
        compareRecalled()
    }

    /// Compares what was recalled, as soon as the datastore answers.
    private func compareRecalled() {
        for node in uncompared.withLock({ Array($0) }) {
            if isClosing.load(ordering: .relaxed) { return }
            if let inode = inodes.find(node) {
                do throws(Errno) {
                    _ = try sample(inode, forced: true)
                } catch {
                    guard error == .stale else { continue }
                    dropMap(inode)
                }
            }
            uncompared.withLock { _ = $0.remove(node) }
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
            let isDone = inherited.withLock { $0.isEmpty } && uncompared.withLock { $0.isEmpty }
            if isDone || isClosing.load(ordering: .relaxed) { break }
            sleep(milliseconds: 500)
        }
        SystemLog.notice("what was cached of \(count) files goes on being used")
    }
}
