import CLinux
import Glibc
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// read: RAM tier, flash tier, then the datastore.
extension Datastore {
    var blockSize: Int { Limits.blockSize }

    /// Reads at most `count` bytes from `offset` on into `reply`; fewer only at the end of the
    /// file. The pieces stay valid until `reply.reset()`.
    package func read(
        _ node: NodeID, offset: UInt64, count: Int, into reply: inout ReadReply
    ) throws(Errno) {
        let inode = try inode(node)
        guard inode.isRegular else { throw inode.isDirectory ? .isDirectory : .invalid }
        let wanted = UInt64(min(count, Limits.requestSize))
        var size = visibleSize(inode)
        if offset >= size, wanted > 0, offset < UInt64(Int64.max) {
            // Somebody else may have made the file longer.
            guard WaitMode.mayWait else { throw .mustWait }
            _ = try sample(inode, forced: true)
            size = visibleSize(inode)
        }
        let end = min(size, offset &+ wanted)
        guard offset < end else { return self.count(inode, .reads, 1) }
        let range = ByteRange(start: offset, end: end)
        if try !readDirty(inode, range, into: &reply) {
            try readStored(inode, range, into: &reply)
        }
        self.count(inode, .reads, 1)
        self.count(inode, .readBytes, UInt64(reply.bytes))
    }

    /// Reads what the tiers and the datastore have.
    func readStored(
        _ inode: Inode, _ range: ByteRange, into reply: inout ReadReply
    ) throws(Errno) {
        switch settings.isBypassing ? .bypass : effectiveReadPolicy(inode) {
        case .bypass: try readPast(inode, range, into: &reply)
        case .normal: try readThrough(inode, range, into: &reply, isPinned: false)
        case .pin: try readThrough(inode, range, into: &reply, isPinned: true)
        }
    }

    /// Bytes [start, end) of a file.
    struct ByteRange {
        let start: UInt64
        let end: UInt64
        var firstBlock: UInt64 { start / UInt64(Limits.blockSize) }
        /// Behind the last block.
        var endBlock: UInt64 { (end + UInt64(Limits.blockSize) - 1) / UInt64(Limits.blockSize) }

        /// The part of the blocks from `block` on, `length` bytes at `base`, that was asked for.
        func part(
            of base: UnsafeRawPointer, from block: UInt64, length: Int
        ) -> (UnsafeRawPointer, Int) {
            let position = block * UInt64(Limits.blockSize)
            let from = max(start, position)
            let to = min(end, position + UInt64(length))
            guard from < to else { return (base, 0) }
            return (base + Int(from - position), Int(to - from))
        }
    }

    /// What one read met, in blocks.
    private struct Tally {
        var hits = 0
        var flashHits = 0
        var zeros = 0
        var misses = 0
    }

    private func readThrough(
        _ inode: Inode, _ range: ByteRange, into reply: inout ReadReply, isPinned: Bool
    ) throws(Errno) {
        var tally = Tally()
        let map = inode.blockMap.load(ordering: .acquiring)
        let found = addCached(map, range, from: range.firstBlock, to: &reply, &tally)
        if range.firstBlock + UInt64(found) == range.endBlock {
            orderAtMark(inode, range)
        } else {
            do throws(Errno) {
                try readMissing(
                    inode, range, from: range.firstBlock + UInt64(found), into: &reply, &tally,
                    isPinned: isPinned)
            } catch {
                reply.clear()
                throw error
            }
        }
        if tally.misses == 0 {
            count(inode, .savedReads, 1)
            count(inode, .savedBytes, UInt64(reply.bytes))
        }
        if tally.hits > 0 { count(inode, .hitsRAM, UInt64(tally.hits)) }
        if tally.flashHits > 0 { count(inode, .hitsFlash, UInt64(tally.flashHits)) }
        if tally.zeros > 0 { count(inode, .hitsZero, UInt64(tally.zeros)) }
        if tally.misses > 0 { count(inode, .misses, UInt64(tally.misses)) }
    }

    /// Adds the cached blocks from `block` on, up to the first that is not; answers how many.
    private func addCached(
        _ map: UInt32, _ range: ByteRange, from block: UInt64, to reply: inout ReadReply,
        _ tally: inout Tally
    ) -> Int {
        let before = reply.lease.count
        var zeros = 0
        let found = tier.lookup(
            CacheID(rawValue: map), firstBlock: block, count: Int(range.endBlock - block),
            into: &reply.lease, zeros: &zeros)
        for index in 0..<found {
            let (base, length) = range.part(
                of: reply.lease.address(before + index), from: block + UInt64(index),
                length: blockSize)
            reply.append(base, length)
        }
        tally.hits += found - zeros
        tally.zeros += zeros
        return found
    }

    /// Reads what is missing, in runs as long as they come, and takes what is cached in between.
    private func readMissing(
        _ inode: Inode, _ range: ByteRange, from start: UInt64, into reply: inout ReadReply,
        _ tally: inout Tally, isPinned: Bool
    ) throws(Errno) {
        guard WaitMode.mayReadFlash else { throw whatToWaitFor(inode, start) }
        let landing = reply.landing()
        let together = orderAhead(inode, range)
        var block = start
        // How often we waited for one block: a request may have to wait for several.
        var (awaited, waits) = (UInt64.max, 0)
        while block < range.endBlock {
            let map = blockMap(of: inode)
            block += UInt64(addCached(map, range, from: block, to: &reply, &tally))
            if block >= range.endBlock { break }
            let place = landing + Int(block - range.firstBlock) * blockSize
            let uncached = missingRun(map, from: block, to: range.endBlock)
            let stored = readFlash(
                inode, map, from: block, count: uncached, place, &reply, isPinned: isPinned)
            if stored.blocks > 0 {
                let (base, part) = range.part(
                    of: place, from: block, length: stored.blocks * blockSize)
                reply.append(base, part)
                tally.flashHits += stored.blocks - stored.zeros
                tally.zeros += stored.zeros
                block += UInt64(stored.blocks)
                continue
            }
            guard WaitMode.mayWait else { throw .mustWait }
            let file = try file(inode, .read)
            let missing = unstoredRun(inode, from: block, count: uncached)
            let isLast = block + UInt64(missing) == range.endBlock
            let ahead = isLast ? runBehind(inode, map, range.endBlock, count: together) : 0
            guard let claim = fills.begin(map: map, block: block, count: missing + ahead) else {
                // Another request reads this block. When it cannot be cached, we read it ourselves.
                waits = awaited == block ? waits + 1 : 1
                awaited = block
                if waits > 2 {
                    try readDirectly(inode, file, range, from: block, into: &reply)
                    tally.misses += Int(range.endBlock - block)
                    return
                }
                fills.wait(map: map, block: block)
                continue
            }
            if tier.contains(CacheID(rawValue: map), block: block) {
                // It came in just before we claimed it.
                fills.end(claim.id)
                continue
            }
            let taken = min(missing, claim.count)
            let length = try fill(
                inode, file, map, block, claim, wanted: taken, place, &reply, isPinned: isPinned)
            let (base, part) = range.part(
                of: place, from: block, length: min(length, taken * blockSize))
            reply.append(base, part)
            tally.misses += taken
            block += UInt64(taken)
            // The file ends earlier than we knew.
            if length < taken * blockSize { return }
        }
    }

    /// The name of a file's block map, which is made when it has none.
    func blockMap(of inode: Inode) -> UInt32 {
        inode.blockMap { isNoted in
            let map = tier.newFile()
            return (map.rawValue, isNoted && map != .none ? notes.take() : nil)
        }
    }

    func missingRun(_ map: UInt32, from block: UInt64, to end: UInt64) -> Int {
        var run = 1
        while block + UInt64(run) < end,
            !tier.contains(CacheID(rawValue: map), block: block + UInt64(run))
        {
            run += 1
        }
        return run
    }

    /// Reads claimed blocks to `place`, of which `wanted` were asked for and the rest is read
    /// ahead; they enter the cache when the reply is sent. Answers the bytes that there were.
    func fill(
        _ inode: Inode, _ file: BackingFile, _ map: UInt32, _ block: UInt64,
        _ claim: (id: UInt64, count: Int), wanted: Int, _ place: UnsafeMutableRawPointer,
        _ reply: inout ReadReply, isPinned: Bool
    ) throws(Errno) -> Int {
        let id = CacheID(rawValue: map)
        let ahead = claim.count - wanted
        let ticket = tier.beginFill(id, firstBlock: block, count: wanted)
        let aheadTicket = tier.beginFill(
            id, firstBlock: block + UInt64(wanted), count: ahead)
        let mayFill = inode.mayFill(map)
        let tickets = mayFill ? flashTickets(inode, from: block, count: claim.count) : nil
        let length: Int
        do throws(Errno) {
            length = try readBacking(
                inode, file, place, claim.count * blockSize, at: block * UInt64(blockSize))
        } catch {
            fills.end(claim.id)
            throw error
        }
        let blocks = (length + blockSize - 1) / blockSize
        memset(place + length, 0, blocks * blockSize - length)
        let admitted = mayFill ? blocks : 0
        reply.owner = self
        reply.pending.append(
            PendingFill(
                claim: ahead == 0 ? claim.id : nil, ticket: ticket, firstBlock: block,
                blocks: place, count: min(admitted, wanted), isPinned: isPinned,
                isReadAhead: false, flash: tickets.map { (inode, $0) }))
        guard ahead > 0 else { return length }
        reply.pending.append(
            PendingFill(
                claim: claim.id, ticket: aheadTicket, firstBlock: block + UInt64(wanted),
                blocks: place + wanted * blockSize, count: max(0, admitted - wanted),
                isPinned: isPinned, isReadAhead: true, flash: tickets.map { (inode, $0) }))
        return length
    }

    /// Admits what was read, and lets those go on who wait for it.
    func finish(_ fill: PendingFill) {
        if fill.count > 0 {
            tier.endFill(
                fill.ticket, blocks: fill.blocks, count: fill.count, pinned: fill.isPinned,
                readAhead: fill.isReadAhead)
        }
        if let claim = fill.claim { fills.end(claim) }
        guard fill.count > 0, let (inode, tickets) = fill.flash else { return }
        offer(
            inode, from: fill.firstBlock, fill.blocks, count: fill.count, tickets: tickets,
            isWanted: fill.isPinned)
    }

    /// Reads from the datastore until `length` bytes are there or the file ends.
    private func readBacking(
        _ inode: Inode, _ file: BackingFile, _ place: UnsafeMutableRawPointer, _ length: Int,
        at offset: UInt64
    ) throws(Errno) -> Int {
        var done = 0
        while done < length {
            let read = try backing.ask(.read) { () throws(Errno) in
                try call {
                    CLinux_pread(
                        file.descriptor, place + done, length - done,
                        Int64(offset) + Int64(done))
                }
            }
            count(inode, .backendReads, 1)
            count(inode, .backendReadBytes, UInt64(read))
            done += read
            // A short read at the end of the file needs no second one to say so.
            let isAtEnd = offset + UInt64(done) >= inode.size.load(ordering: .relaxed)
            if read == 0 || isAtEnd { break }
        }
        // What we keep ourselves need not stay in the kernel's cache as well.
        _ = CLinux_drop_page_cache(file.descriptor, Int64(offset), Int64(length))
        return done
    }

    /// Reads past the cache, for a file that must not be cached.
    private func readPast(
        _ inode: Inode, _ range: ByteRange, into reply: inout ReadReply
    ) throws(Errno) {
        guard WaitMode.mayWait else { throw .mustWait }
        try readDirectly(
            inode, try file(inode, .read), range, from: range.firstBlock, into: &reply)
        count(inode, .bypassed, range.endBlock - range.firstBlock)
    }

    private func readDirectly(
        _ inode: Inode, _ file: BackingFile, _ range: ByteRange, from block: UInt64,
        into reply: inout ReadReply
    ) throws(Errno) {
        let place = reply.landing() + Int(block - range.firstBlock) * blockSize
        let length = Int(range.endBlock - block) * blockSize
        let read = try readBacking(
            inode, file, place, length, at: block * UInt64(blockSize))
        let (base, part) = range.part(of: place, from: block, length: read)
        reply.append(base, part)
    }
}
