import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// Which files may be cached, and how: set on a file or a folder, inherited downwards, kept in the
// state folder under the node id, so that a policy follows the file and not its name.
extension Datastore {
    /// What holds for a file: its own policy, or its folder's.
    package func readPolicy(of node: NodeID) throws(Errno) -> ReadPolicy {
        effectiveReadPolicy(try inode(node))
    }

    /// Sets a file's or folder's read policy; nil = inherited again.
    package func setReadPolicy(_ policy: ReadPolicy?, of node: NodeID) throws(Errno) {
        let inode = try inode(node)
        var policies = identity.policies(of: node)
        policies.read = policy
        identity.setPolicies(policies, of: node)
        policyEpoch.wrappingAdd(1, ordering: .relaxed)
        meetInherited()
        for below in nodes(below: inode) where below.isRegular { keepInFlash(below) }
        // What must not be cached must not stay cached.
        for below in nodes(below: inode) where effectiveReadPolicy(below) == .bypass {
            if below.isRegular { dropMap(below) }
        }
    }

    /// What holds for writes to a file: its own policy, or `through` for what its name excepts
    /// (`WritePolicy.isExcepted`), or its folder's, or the mount's.
    package func writePolicy(of node: NodeID) throws(Errno) -> WritePolicy {
        effectiveWritePolicy(try inode(node))
    }

    /// Sets a file's or folder's write policy; nil = inherited again. Throws EINVAL for `back` on a
    /// mount without a log.
    package func setWritePolicy(_ policy: WritePolicy?, of node: NodeID) throws(Errno) {
        _ = try inode(node)
        guard policy != .back || options.log != nil else { throw .invalid }
        var policies = identity.policies(of: node)
        policies.write = policy
        identity.setPolicies(policies, of: node)
        policyEpoch.wrappingAdd(1, ordering: .relaxed)
    }

    /// The write policy of what has none from now on: `write=`.
    package func setWritePolicy(_ policy: WritePolicy) {
        settings.write = policy
        policyEpoch.wrappingAdd(1, ordering: .relaxed)
    }

    /// The read policy of an inode, remembered until any policy or any place changes.
    func effectiveReadPolicy(_ inode: Inode) -> ReadPolicy {
        ReadPolicy(rawValue: UInt8(truncatingIfNeeded: effectivePolicies(inode))) ?? .normal
    }

    /// Likewise the write policy. Without a log that can be used it is `through` all the same.
    func effectiveWritePolicy(_ inode: Inode) -> WritePolicy {
        WritePolicy(rawValue: UInt8(truncatingIfNeeded: effectivePolicies(inode) >> 8)) ?? .through
    }

    /// Both policies with the epoch that they were found in.
    private func effectivePolicies(_ inode: Inode) -> UInt64 {
        let epoch = policyEpoch.load(ordering: .relaxed)
        let remembered = inode.policy.load(ordering: .relaxed)
        if remembered >> 16 == epoch { return remembered }
        let read = inherited(inode) { $0.read } ?? .normal
        let write = findWritePolicy(inode)
        let found = epoch << 16 | UInt64(write.rawValue) << 8 | UInt64(read.rawValue)
        inode.policy.store(found, ordering: .relaxed)
        return found
    }

    private func findWritePolicy(_ inode: Inode) -> WritePolicy {
        if let own = identity.policies(of: inode.node).write { return own }
        let name = inode.state.withLock { $0.name }
        if inode.isRegular, WritePolicy.isExcepted(name) { return .through }
        return inherited(inode) { $0.write } ?? settings.write
    }

    /// The nearest setting on the way from a file up to the root.
    private func inherited<Setting>(
        _ inode: Inode, _ setting: (StoredPolicies) -> Setting?
    ) -> Setting? {
        var node = inode.node
        // A path has at most 2,048 folders; a loop in the table must not become one here.
        for _ in 0..<2048 {
            if let found = setting(identity.policies(of: node)) { return found }
            if node == .root { return nil }
            let parent = parent(of: node)
            guard parent != 0 else { return setting(identity.policies(of: .root)) }
            node = NodeID(parent)
        }
        return nil
    }

    /// The folder that a file was last seen in; 0 when nobody knows. An inode that was not found by
    /// its name does not know, but the table may.
    private func parent(of node: NodeID) -> UInt64 {
        let inMemory = inodes.find(node)?.parent.load(ordering: .relaxed) ?? 0
        return inMemory != 0 ? inMemory : identity.find(node)?.parent ?? 0
    }

    /// The inodes in memory at and below one.
    func nodes(below top: Inode) -> [Inode] {
        guard top.isDirectory else { return [top] }
        let all = inodes.all()
        guard top.node != .root else { return all }
        var isBelow: [UInt64: Bool] = [NodeID.root.rawValue: false]
        isBelow[top.node.rawValue] = true
        return all.filter { isUnder($0, &isBelow) }
    }

    private func isUnder(_ inode: Inode, _ known: inout [UInt64: Bool]) -> Bool {
        var path: [UInt64] = []
        var node = inode.node.rawValue
        var answer = false
        while path.count < 2048 {
            if let decided = known[node] {
                answer = decided
                break
            }
            path.append(node)
            let parent = parent(of: NodeID(node))
            if parent == 0 { break }
            node = parent
        }
        for step in path { known[step] = answer }
        return answer
    }

    /// Forgets what is cached of a file, or of everything below a folder, here and in the kernel.
    package func drop(_ node: NodeID) throws(Errno) {
        let top = try inode(node)
        meetInherited()
        for inode in nodes(below: top) where inode.isRegular {
            dropMap(inode)
            invalidateKernel(.file(inode.node))
        }
        // Contents that other files may share leave by eviction; all of them leave at once.
        if node == .root { tier.evictAll() }
    }
}
