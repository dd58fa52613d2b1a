import FlashTier
import Passthrough
import ReadCache
import Syscalls

// Reading what flash has: on threads that may wait for the device, never for the datastore.
extension Datastore {
    /// What a thread that may wait for nothing must leave to others, because of a block that is not
    /// in memory.
    func whatToWaitFor(_ inode: Inode, _ block: UInt64) -> Errno {
        guard let stored = believedFlash(inode) else { return .mustWait }
        return stored.has(inode.node.rawValue, block: block) ? .mustReadFlash : .mustWait
    }

    /// Reads the leading blocks of a run that flash has to `place`, aligned to a block; they enter
    /// memory when the reply is sent. Answers how many there were, and how many of them are zero.
    func readFlash(
        _ inode: Inode, _ map: UInt32, from block: UInt64, count: Int,
        _ place: UnsafeMutableRawPointer, _ reply: inout ReadReply, isPinned: Bool
    ) -> (blocks: Int, zeros: Int) {
        guard let stored = believedFlash(inode) else { return (0, 0) }
        // Before the lookup: a write that begins now must keep what was from entering memory.
        let ticket = tier.beginFill(CacheID(rawValue: map), firstBlock: block, count: count)
        let mayFill = inode.mayFill(map)
        let (good, zeros) = withUnsafeTemporaryAllocation(of: FlashAddress.self, capacity: count) {
            addresses -> (Int, Int) in
            let found = stored.lookup(inode.node.rawValue, firstBlock: block, into: addresses)
            guard found > 0 else { return (0, 0) }
            let known = UnsafeBufferPointer(rebasing: addresses[..<found])
            let good = stored.read(known, into: place)
            return (good, known[..<good].count { $0.isZero })
        }
        if good > 0 {
            reply.owner = self
            reply.pending.append(
                PendingFill(
                    claim: nil, ticket: ticket, firstBlock: block, blocks: place,
                    count: mayFill ? good : 0, isPinned: isPinned, isReadAhead: false, flash: nil))
        }
        return (good, zeros)
    }

    /// How many blocks from `block` on flash does not have; at least the first, which could not be
    /// read from it, unless `mayBeNone`.
    func unstoredRun(
        _ inode: Inode, from block: UInt64, count: Int, mayBeNone: Bool = false
    ) -> Int {
        guard let stored = believedFlash(inode) else { return count }
        var run = mayBeNone ? 0 : 1
        while run < count,
            !stored.has(inode.node.rawValue, block: block + UInt64(run))
        {
            run += 1
        }
        return run
    }
}

extension FlashTier {
    /// Whether a block is in the tier, all zero or not.
    func has(_ file: UInt64, block: UInt64) -> Bool {
        withUnsafeTemporaryAllocation(of: FlashAddress.self, capacity: 1) {
            lookup(file, firstBlock: block, into: $0) > 0
        }
    }
}
