import Glibc
import Passthrough
import Synchronization

/// Which node a name led to: asked only while the datastore is silent, so that files known by then
/// can still be opened. Bounded; a name is 16 bytes here, whatever its length.
final class NameCache: Sendable {
    private static let namesPerShard = 4096

    private final class Shard: Sendable {
        let nodes = Mutex<[UInt64: UInt64]>([:])
    }

    private let shards = (0..<32).map { _ in Shard() }

    /// A keyed hash of folder and name; two names meet on one with a chance of 2^-64 a pair.
    private func key(_ parent: NodeID, _ name: Name) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(parent)
        hasher.combine(bytes: UnsafeRawBufferPointer(start: name, count: strlen(name)))
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    func find(parent: NodeID, name: Name) -> NodeID? {
        let key = key(parent, name)
        return shards[Int(key & 31)].nodes.withLock { $0[key] }.map { NodeID($0) }
    }

    func insert(parent: NodeID, name: Name, node: NodeID) {
        let key = key(parent, name)
        shards[Int(key & 31)].nodes.withLock { nodes in
            if nodes.count >= Self.namesPerShard { nodes.removeAll(keepingCapacity: true) }
            nodes[key] = node.rawValue
        }
    }

    func remove(parent: NodeID, name: Name) {
        let key = key(parent, name)
        _ = shards[Int(key & 31)].nodes.withLock { $0.removeValue(forKey: key) }
    }
}
