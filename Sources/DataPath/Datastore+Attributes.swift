import CLinux
import Glibc
import Journal
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// getattr, setattr, statfs.
extension Datastore {
    /// How long attributes just learnt are answered again without asking, in nanoseconds: a small
    /// part of what clients may believe anyway, so that a burst of questions costs one.
    private var freshness: UInt64 {
        UInt64(min(settings.attributeTimeout / 4, 0.2) * 1e9)
    }

    /// The attributes of a file. The corresponding C function is `statx`.
    package func attributes(_ node: NodeID) throws(Errno) -> Attributes {
        let inode = try inode(node)
        if let known = known(inode) { return known }
        let isExpired = inode.state.withLock { state in
            monotonicNanoseconds() &- state.sampledAt >= UInt64(settings.attributeTimeout * 1e9)
        }
        return visible(inode, try sample(inode, forced: isExpired).attributes)
    }

    /// Attributes from memory: fresh ones, or any while the datastore is silent.
    func known(_ inode: Inode) -> Attributes? {
        let isSilent = backing.health.isSilent
        // What clients may believe anyway need not be asked again of a datastore that is slow.
        // Those of a file with data in the log are ours until others change it.
        let isDirty = writeBack?.isDirty(inode.node.rawValue) ?? false
        let freshness =
            backing.health.isSlow || isDirty
            ? UInt64(settings.attributeTimeout * 1e9) : self.freshness
        let known = inode.state.withLock { state -> Attributes? in
            guard state.sampledAt != 0 else { return nil }
            if inode.isDirectory, state.isUnlinked {
                // Whoever has a removed folder open may ask; the datastore has no answer.
                var attributes = state.attributes
                attributes.links = 0
                return attributes
            }
            let age = monotonicNanoseconds() &- state.sampledAt
            guard isSilent || (age < freshness && !state.attributesAreOld) else { return nil }
            var attributes = state.attributes
            if inode.isRegular { attributes.size = inode.size.load(ordering: .relaxed) }
            return attributes
        }
        return known.map { visible(inode, $0) }
    }

    /// Changes attributes, in the order that lets each of them last: owner, mode, size, times.
    package func setAttributes(
        _ node: NodeID, _ change: AttributeChange
    ) throws(Errno) -> Attributes {
        try beginMutation()
        let inode = try inode(node)
        if let size = change.size { try truncate(inode, to: size, killSetID: change.killSetID) }
        let file = try file(inode, .path)
        let map = inode.beginChange()
        defer { inode.endChange(map: map, unsynced: false) }
        if change.uid != nil || change.gid != nil {
            try backing.ask { () throws(Errno) in
                try call {
                    CLinux_change_owner(file.descriptor, change.uid ?? .max, change.gid ?? .max)
                }
            }
        }
        // A truncation has done it already; a change of owner does it by itself.
        let isAlone = change.size == nil && change.uid == nil && change.gid == nil
        if change.killSetID, isAlone { try clearSetID(file) }
        if let mode = change.mode {
            try backing.ask { () throws(Errno) in
                try call { CLinux_change_mode(file.descriptor, mode & 0o7777) }
            }
        }
        if change.accessed != nil || change.modified != nil {
            var below = change
            // The destager sets it last: until then it is in the log.
            if let modified = change.modified, try noteTime(inode, modified) {
                below.modified = nil
            }
            try setTimes(file, below)
        }
        var attributes = Attributes()
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_statx(file.descriptor, "", CLinux_AT_EMPTY_PATH, &attributes) }
        }
        absorb(inode, attributes, .none)
        return visible(inode, attributes)
    }

    private func setTimes(_ file: BackingFile, _ change: AttributeChange) throws(Errno) {
        var seconds: [2 of Int64] = [0, 0]
        var nanoseconds: [2 of Int64] = [CLinux_UTIME_OMIT, CLinux_UTIME_OMIT]
        for (index, time) in [change.accessed, change.modified].enumerated() {
            switch time {
            case nil: break
            case .now: nanoseconds[index] = CLinux_UTIME_NOW
            case .at(let second, let nanosecond):
                seconds[index] = second
                nanoseconds[index] = Int64(nanosecond)
            }
        }
        let (s0, s1, n0, n1) = (seconds[0], seconds[1], nanoseconds[0], nanoseconds[1])
        try backing.ask { () throws(Errno) in
            try call { CLinux_set_times(file.descriptor, [s0, s1], [n0, n1]) }
        }
    }

    /// Keeps the time of modification of a file with data in the log there; false for others.
    private func noteTime(_ inode: Inode, _ time: TimeChange) throws(Errno) -> Bool {
        guard let log = logIfDirty(inode) else { return false }
        return try unlessFailed(log) { () throws(Errno) in
            try whenRoomy(log, 0) { () throws(Errno) in
                try log.setTime(try dirtyFile(inode), Timestamp(time))
            }
        }
    }

    /// Cuts a file off or extends it with a hole: in the log when it has data there.
    func truncate(_ inode: Inode, to size: UInt64, killSetID: Bool) throws(Errno) {
        guard inode.isRegular else { throw inode.isDirectory ? .isDirectory : .invalid }
        guard size <= UInt64(Int64.max) else { throw .fileTooBig }
        inode.ranges.lock(0, .max)
        defer { inode.ranges.unlock(0, .max) }
        if size <= Limits.certainFileSize, let log = logIfDirty(inode) {
            let isKept = try unlessFailed(log) { () throws(Errno) in
                try truncate(inode, to: size, in: log, killSetID: killSetID)
            }
            if isKept { return }
        }
        try bringHome(inode)
        let file = try file(inode, .write)
        try cut(inode, file, to: size, isDestage: false)
        if killSetID { try clearSetID(file) }
    }

    /// Changes the size of a file at the datastore. Nobody else may change it meanwhile.
    func cut(
        _ inode: Inode, _ file: BackingFile, to size: UInt64, isDestage: Bool
    ) throws(Errno) {
        let before = inode.size.load(ordering: .relaxed)
        // Of a block that is cut in the middle the rest must read as zeros, should the file grow.
        let first = min(size, before) / UInt64(blockSize)
        try supersede(
            inode, firstBlock: first, count: .max, to: size, from: size, unsynced: true,
            isDestage: isDestage
        ) { () throws(Errno) in
            try backing.ask(.other) { () throws(Errno) in
                try call { ftruncate(file.descriptor, Int(size)) }
            }
            inode.size.store(size, ordering: .relaxed)
        }
    }

    /// Takes the set-user-ID and set-group-ID bits away: what the kernel does when a user without
    /// rights over them changes a file (inode(7)). We run as root, for whom the datastore's file
    /// system would not. The kernel lets a file that its group may not execute keep the second bit
    /// if the user is a member of the group; nobody tells us, and there it means nothing.
    func clearSetID(_ file: BackingFile) throws(Errno) {
        var attributes = Attributes()
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_statx(file.descriptor, "", CLinux_AT_EMPTY_PATH, &attributes) }
        }
        let mode = attributes.mode & 0o7777 & ~(S_ISUID | S_ISGID)
        guard mode != attributes.mode & 0o7777 else { return }
        try backing.ask { () throws(Errno) in
            try call { CLinux_change_mode(file.descriptor, mode) }
        }
    }

    /// Sizes and free space; those known last while the datastore is silent, because hypervisors
    /// take a datastore without them for lost. The corresponding C function is `fstatvfs`.
    package func fileSystem() throws(Errno) -> statvfs {
        guard WaitMode.mayWait else {
            guard backing.health.isSilent, let known = sizes.withLock({ $0 }) else {
                throw .mustWait
            }
            return known
        }
        var status = statvfs()
        try backing.ask { () throws(Errno) in
            try call { fstatvfs(backing.root.descriptor, &status) }
        }
        status.f_namemax = min(status.f_namemax, 255)
        let known = status
        sizes.withLock { $0 = known }
        return known
    }
}
