import Glibc
import Passthrough
import Synchronization
import Syscalls
import Testing

@Suite struct InodeTableTests {
    @Test func everybodyGetsTheSameInode() {
        let table = InodeTable(limit: 1024)
        #expect(table.find(NodeID(7)) == nil)
        let first = table.findOrInsert(NodeID(7)) { inode(7) }
        let second = table.findOrInsert(NodeID(7)) { inode(7) }
        #expect(first === second)
        #expect(table.find(NodeID(7)) === first)
        #expect(table.count == 1)
        table.remove(NodeID(7))
        #expect(table.find(NodeID(7)) == nil)
    }

    @Test func theTableIsBounded() {
        let evictions = Evictions()
        let table = InodeTable(limit: 2048) { evictions.note($0) }
        for number in 2..<8002 as Range<UInt64> {
            _ = table.findOrInsert(NodeID(number)) { inode(number) }
        }
        #expect(table.count <= 2048)
        #expect(table.count + evictions.nodes.count == 8000)
        #expect(table.all().count == table.count)
    }

    @Test func theOldestGoFirst() {
        let evictions = Evictions()
        let table = InodeTable(limit: 1024) { evictions.note($0) }
        let nodes = fillOneShard(of: table)
        _ = table.findOrInsert(NodeID(Self.shard * 100)) { inode(Self.shard * 100) }
        #expect(!evictions.nodes.isEmpty)
        #expect(evictions.nodes.isSubset(of: nodes.prefix(3)))
        #expect(nodes.dropFirst(3).allSatisfy { table.find(NodeID($0)) != nil })
    }

    @Test func whatIsInUseOrOpenStays() {
        let evictions = Evictions()
        let table = InodeTable(limit: 1024) { evictions.note($0) }
        let nodes = fillOneShard(of: table)
        let held = table.find(NodeID(nodes[0]))
        held?.lastUse.store(1, ordering: .relaxed)
        table.find(NodeID(nodes[1]))?.state.withLock { $0.openCount = 1 }
        table.find(NodeID(nodes[1]))?.lastUse.store(1, ordering: .relaxed)
        let file = BackingFile(owning: dup(0), access: .path)
        table.find(NodeID(nodes[2]))?.state.withLock { $0.orphan = file }
        for number in 100..<400 as Range<UInt64> {
            let node = number * Self.shard
            _ = table.findOrInsert(NodeID(node)) { inode(node) }
        }
        #expect(evictions.nodes.isDisjoint(with: nodes.prefix(3)))
        #expect(withExtendedLifetime(held) { table.find(NodeID(nodes[0])) === held })
        // Those that stay do not keep the others: the table is bounded all the same.
        #expect(table.count <= 16)
    }

    @Test func theRootStays() {
        let evictions = Evictions()
        let table = InodeTable(limit: 1024) { evictions.note($0) }
        _ = table.findOrInsert(.root) { inode(1) }
        for number in 1..<500 as Range<UInt64> {
            let node = number * Self.shard + 1
            _ = table.findOrInsert(NodeID(node)) { inode(node) }
        }
        #expect(evictions.nodes.count > 400)
        #expect(!evictions.nodes.contains(1))
        #expect(table.find(.root) != nil)
    }

    /// Node ids that are this far apart share a shard.
    private static let shard: UInt64 = 64

    /// 16 inodes, as many as a shard holds, the first the oldest.
    private func fillOneShard(of table: InodeTable) -> [UInt64] {
        let nodes = (1...16).map { $0 * Self.shard }
        for (age, node) in nodes.enumerated() {
            let made = table.findOrInsert(NodeID(node)) { inode(node) }
            made.lastUse.store(UInt32(age), ordering: .relaxed)
        }
        return nodes
    }

    private func inode(_ number: UInt64) -> Inode {
        Inode(node: NodeID(number), handle: FileHandle(type: 1, bytes: []), type: S_IFREG)
    }
}

/// The nodes that left a table.
private final class Evictions: Sendable {
    private let all = Mutex<Set<UInt64>>([])
    var nodes: Set<UInt64> { all.withLock { $0 } }
    func note(_ inode: Inode) { _ = all.withLock { $0.insert(inode.node.rawValue) } }
}
