import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// Reading ahead of sequential readers, by threads that no client waits for: a reader is answered
// when its own blocks are there, and finds the next ones cached or under way. A read-ahead is a
// fill like any other, with the same claims and tickets, and nothing that was written, cut or
// changed by others since it began is admitted.
extension Datastore {
    /// Blocks that come along with a read, at most.
    private var mostTogether: Int { Limits.firstReadAhead / Limits.blockSize }

    /// Blocks that one read of the datastore takes.
    private var mostAtOnce: Int { Limits.readAhead / Limits.blockSize }

    /// Blocks to be ordered at once, at most; none while the datastore has trouble, or is as busy
    /// with what clients wait for as it should be.
    private var readAheadLimit: Int {
        guard backing.health.state == .healthy, fills.count < Limits.readsBesideReadAhead else {
            return 0
        }
        return min(Limits.readAheadWindow, options.ram / Limits.readAheadDivisor)
            / Limits.blockSize
    }

    /// Notes a request of which blocks are missing, and orders what is behind it. Answers how many
    /// blocks behind it are to be read along with its last ones instead.
    func orderAhead(_ inode: Inode, _ range: ByteRange) -> Int {
        guard WaitMode.mayWait else { return 0 }
        let order = advance(inode, range)
        if order.lowerBound == range.endBlock, order.count <= mostTogether,
            Int(range.endBlock - range.firstBlock) + order.count <= mostAtOnce
        {
            return order.count
        }
        _ = blockMap(of: inode)
        self.order(inode, order)
        return 0
    }

    /// Orders more for a reader that found everything cached and has come to its mark.
    @inline(__always)
    func orderAtMark(_ inode: Inode, _ range: ByteRange) {
        let marks = inode.streamMarks.load(ordering: .relaxed)
        guard ReadStreams.mayMeet(marks, range.firstBlock, range.endBlock),
            inode.state.withLock({ $0.streams.isAtMark(range.firstBlock, range.endBlock) })
        else { return }
        order(inode, advance(inode, range))
    }

    private func advance(_ inode: Inode, _ range: ByteRange) -> Range<UInt64> {
        let limit = readAheadLimit
        return inode.state.withLock { state in
            let order = state.streams.advance(
                from: range.firstBlock, count: Int(range.endBlock - range.firstBlock),
                limit: limit, at: monotonicNanoseconds())
            inode.streamMarks.store(state.streams.marks, ordering: .relaxed)
            return order
        }
    }

    /// Has what the file has of these blocks read, in as few reads as possible.
    private func order(_ inode: Inode, _ blocks: Range<UInt64>) {
        let size = inode.size.load(ordering: .relaxed)
        let end = min(blocks.upperBound, (size + UInt64(blockSize) - 1) / UInt64(blockSize))
        var start = blocks.lowerBound
        while start < end {
            let next = min(end, start + UInt64(mostAtOnce))
            let order = ReadAhead.Order(datastore: self, inode: inode, blocks: start..<next)
            if ahead.add(order) { startReadingAhead() }
            start = next
        }
    }

    private func startReadingAhead() {
        do throws(Errno) {
            try Thread(name: "read-ahead") { [ahead] in
                WaitMode.set(.datastore)
                var reply = ReadReply()
                ahead.run { order in
                    order.datastore.readAhead(order.inode, order.blocks, with: &reply)
                }
            }.detach()
        } catch {
            ahead.threadIsMissing()
        }
    }

    /// Reads what is nowhere cached of some blocks into the cache.
    private func readAhead(
        _ inode: Inode, _ blocks: Range<UInt64>, with reply: inout ReadReply
    ) {
        let policy = effectiveReadPolicy(inode)
        guard !settings.isBypassing, policy != .bypass else { return }
        var block = blocks.lowerBound
        while block < blocks.upperBound {
            let map = inode.blockMap.load(ordering: .acquiring)
            let mayGoOn =
                map != Inode.noBlockMap && tier.isReady && inode.mayFill(map)
                && backing.health.state == .healthy && !isClosing.load(ordering: .relaxed)
            guard mayGoOn else { return }
            let run = runBehind(inode, map, block, count: Int(blocks.upperBound - block))
            guard run > 0 else {
                block += 1
                continue
            }
            do throws(Errno) {
                let file = try file(inode, .read)
                guard let claim = fills.begin(map: map, block: block, count: run) else {
                    block += 1
                    continue
                }
                // A reader may have had some of them in the meantime.
                let left = runBehind(inode, map, block, count: claim.count)
                guard left > 0 else {
                    fills.end(claim.id)
                    block += 1
                    continue
                }
                let length = try fill(
                    inode, file, map, block, (claim.id, left), wanted: 0, reply.landing(), &reply,
                    isPinned: policy == .pin)
                reply.reset()
                if length < left * blockSize { return }
                block += UInt64(left)
            } catch {
                // Whoever wants the blocks will hear of it.
                return
            }
        }
    }

    /// How many blocks from `block` on, at most `count`, are in the file and in no cache.
    func runBehind(_ inode: Inode, _ map: UInt32, _ block: UInt64, count: Int) -> Int {
        let size = inode.size.load(ordering: .relaxed)
        let endOfFile = (size + UInt64(blockSize) - 1) / UInt64(blockSize)
        guard count > 0, block < endOfFile, !tier.contains(CacheID(rawValue: map), block: block)
        else { return 0 }
        let uncached = missingRun(map, from: block, to: min(endOfFile, block + UInt64(count)))
        return unstoredRun(inode, from: block, count: uncached, mayBeNone: true)
    }
}
