import Glibc
import Policy
import Synchronization
import Syscalls

/// The inodes in memory, by node id: bounded, the least recently used go first. One that was let
/// go comes back through its handle, so its absence costs time and nothing else.
package final class InodeTable: @unchecked Sendable {
    private struct Shard: Sendable {
        var inodes: [UInt64: Inode] = [:]
    }

    /// In place: a lookup for each request would count references of objects.
    private let shards: UnsafeMutablePointer<Mutex<Shard>>
    private static let shardCount = 64
    private let limitPerShard: Int
    /// Called for an inode that leaves the table.
    private let onEviction: @Sendable (Inode) -> Void

    /// `limit` inodes at most, about.
    package init(
        limit: Int = Limits.inodes, onEviction: @escaping @Sendable (Inode) -> Void = { _ in }
    ) {
        shards = .allocate(capacity: Self.shardCount)
        for index in 0..<Self.shardCount { (shards + index).initialize(to: Mutex(Shard())) }
        limitPerShard = max(16, limit / Self.shardCount)
        self.onEviction = onEviction
    }

    deinit {
        shards.deinitialize(count: Self.shardCount)
        shards.deallocate()
    }

    @inline(__always)
    private func shard(_ node: NodeID) -> UnsafeMutablePointer<Mutex<Shard>> {
        shards + Int(truncatingIfNeeded: (node.rawValue ^ node.rawValue >> 32) & 63)
    }

    /// The inode, when it is in memory.
    package func find(_ node: NodeID) -> Inode? {
        let inode = shard(node).pointee.withLock { $0.inodes[node.rawValue] }
        // What is there already is not written again: the line is shared by all readers.
        let now = Self.now()
        if let inode, inode.lastUse.load(ordering: .relaxed) != now {
            inode.lastUse.store(now, ordering: .relaxed)
        }
        return inode
    }

    /// The inode in memory, or the one that `make` makes, which it then is for everybody. `make` is
    /// called for no inode that is not used, and under a lock: it must not take long.
    package func findOrInsert(_ node: NodeID, make: () -> Inode) -> Inode {
        if let inode = find(node) { return inode }
        let (inode, evicted) = shard(node).pointee.withLock { shard -> (Inode, [Inode]) in
            if let present = shard.inodes[node.rawValue] { return (present, []) }
            let evicted =
                shard.inodes.count >= limitPerShard ? evict(from: &shard) : []
            let fresh = make()
            fresh.lastUse.store(Self.now(), ordering: .relaxed)
            shard.inodes[node.rawValue] = fresh
            return (fresh, evicted)
        }
        evicted.forEach(onEviction)
        return inode
    }

    /// Forgets an inode at once, as after its file was removed.
    package func remove(_ node: NodeID) {
        _ = shard(node).pointee.withLock { $0.inodes.removeValue(forKey: node.rawValue) }
    }

    /// Takes an eighth of a full shard out, the oldest of those that are not in use.
    private func evict(from shard: inout Shard) -> [Inode] {
        let wanted = max(1, shard.inodes.count / 8)
        let byAge = shard.inodes.map { entry in
            (lastUse: entry.value.lastUse.load(ordering: .relaxed), node: entry.key)
        }.sorted { $0.lastUse < $1.lastUse }
        var evicted: [Inode] = []
        for (_, key) in byAge where evicted.count < wanted {
            guard var inode = shard.inodes.removeValue(forKey: key) else { continue }
            // Nobody can gain a reference while the shard is locked, so unique means unused.
            let isIdle =
                key != NodeID.root.rawValue
                && isKnownUniquelyReferenced(&inode)
                && inode.state.withLock { $0.openCount == 0 && $0.orphan == nil }
            if isIdle {
                evicted.append(inode)
            } else {
                shard.inodes[key] = inode
            }
        }
        return evicted
    }

    /// Every inode in memory, as of some moment during the call.
    package func all() -> [Inode] {
        (0..<Self.shardCount).flatMap { index in
            shards[index].withLock { Array($0.inodes.values) }
        }
    }

    /// How many inodes are in memory.
    package var count: Int {
        (0..<Self.shardCount).reduce(0) { sum, index in
            sum + shards[index].withLock { $0.inodes.count }
        }
    }

    private static func now() -> UInt32 {
        UInt32(truncatingIfNeeded: monotonicNanoseconds() >> 28)
    }
}
