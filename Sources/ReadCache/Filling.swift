import Glibc
import Synchronization

/// Bringing contents in, and forgetting what is written.
extension MemoryTier {
    // MARK: - Writes

    /// A write of the range begins: nothing of it is found any more, and fills that began before,
    /// or begin before `endWrite`, admit nothing of it. `count` may be UInt64.max: to the end.
    package func beginWrite(
        _ file: CacheID, firstBlock: UInt64, count: UInt64
    ) -> WriteTicket {
        let firstGroup = firstBlock >> WriteStripes.blocksShift
        let end = firstBlock.addingReportingOverflow(max(count, 1) - 1)
        let lastGroup = (end.overflow ? .max : end.partialValue) >> WriteStripes.blocksShift
        let groups = lastGroup - firstGroup + 1
        let ticket = WriteTicket(
            file: file, firstGroup: firstGroup,
            groups: groups <= MemoryTier.mostGroups ? groups : nil)
        forEachStripe(ticket) { $0.begin($1) }
        map.remove(file, firstBlock, count)
        return ticket
    }

    /// The write has ended: what is read from now on may be admitted.
    package func endWrite(_ ticket: WriteTicket) {
        forEachStripe(ticket) { $0.end($1) }
    }

    /// Groups that a write marks one by one; beyond, it marks the file.
    private static let mostGroups: UInt64 = 16

    private func forEachStripe(_ ticket: WriteTicket, _ body: (WriteStripes, Int) -> Void) {
        guard let groups = ticket.groups else {
            return body(fileStripes, fileStripes.stripe(ticket.file, group: 0))
        }
        for group in 0..<groups {
            body(stripes, stripes.stripe(ticket.file, group: ticket.firstGroup + group))
        }
    }

    // MARK: - Fills

    /// A fill begins, before the datastore is read: the ticket knows what was written until now.
    /// A fill covers 769 blocks at least; of a longer one the rest may not be admitted.
    package func beginFill(_ file: CacheID, firstBlock: UInt64, count: Int) -> FillTicket {
        let firstGroup = firstBlock >> WriteStripes.blocksShift
        func sample(_ group: UInt64) -> UInt64 {
            stripes.sample(stripes.stripe(file, group: firstGroup &+ group))
        }
        return FillTicket(
            file: file, firstBlock: firstBlock, count: count,
            fileSample: fileStripes.sample(fileStripes.stripe(file, group: 0)),
            samples: (sample(0), sample(1), sample(2), sample(3)))
    }

    /// The fill's blocks are here: `count` times 4,096 bytes, the end of the file filled up with
    /// zeros; not more than the ticket was made for. Each is admitted unless its range was written
    /// since the ticket. `pinned` contents are kept while they are at most half of the frames.
    /// `readAhead`: nobody asked for the blocks yet, so that the first use does not count twice.
    package func endFill(
        _ ticket: FillTicket, blocks: UnsafeRawPointer, count: Int, pinned: Bool,
        readAhead: Bool = false
    ) {
        guard ticket.fileSample != WriteStripes.refused, isReady else { return }
        let mapBytes = map.bytes
        for index in 0..<min(count, ticket.count) {
            admit(
                ticket, block: ticket.firstBlock &+ UInt64(index), bytes: blocks + index * 4096,
                pinned: pinned, frequency: readAhead ? 0 : 1)
        }
        if map.bytes != mapBytes { settle() }
    }

    private func admit(
        _ ticket: FillTicket, block: UInt64, bytes: UnsafeRawPointer, pinned: Bool,
        frequency: UInt32
    ) {
        guard BlockMap.holds(ticket.file, block), let sample = ticket.sample(block) else { return }
        let stripe = stripes.stripe(ticket.file, group: block >> WriteStripes.blocksShift)
        let fileStripe = fileStripes.stripe(ticket.file, group: 0)
        func isCurrent() -> Bool {
            stripes.isUnchanged(stripe, since: sample)
                && fileStripes.isUnchanged(fileStripe, since: ticket.fileSample)
        }
        guard isCurrent() else { return }
        if memcmp(bytes, zeroPage, 4096) == 0 {
            map.insertZero(ticket.file, block, isCurrent)
            return
        }
        guard let id = content(of: bytes, frequency: frequency) else { return }
        if pinned { contents.setKept(id, generation: contents.word(id).generation, true) }
        _ = map.insert(ticket.file, block, content: id, keep: pinned, isCurrent)
        contents.unpin(id)
    }

    /// The content with these bytes, found or made; the caller unpins it. Nil when there is no
    /// frame for it.
    private func content(of bytes: UnsafeRawPointer, frequency: UInt32) -> UInt32? {
        let fingerprint = key.fingerprint(bytes)
        var unproven: UnprovenContent?
        var found = index.pin(fingerprint, unproven: &unproven)
        if found == 0, let known = unproven, prove(known) {
            found = index.pin(fingerprint, unproven: &unproven)
        }
        if found != 0 {
            merged.wrappingAdd(1, ordering: .relaxed)
            return found
        }
        guard let id = takeFrame() else { return nil }
        memcpy(frameMemory + Int(contents.frames[Int(id)]) * 4096, bytes, 4096)
        switch index.publish(fingerprint, id, frequency: frequency) {
        case .added:
            withPool { $0.eviction.admit(id, toMain: false) }
            return id
        case .present(let other):
            withPool { $0.putBack(id) }
            merged.wrappingAdd(1, ordering: .relaxed)
            return other
        case .revived(let ghost, let position):
            withPool { pool in
                pool.ghosts.leave(ghost, position: position)
                pool.putBackBare(id)
                pool.eviction.admit(ghost, toMain: true)
            }
            return ghost
        case .crowded:
            withPool { $0.putBack(id) }
            return nil
        }
    }
}
