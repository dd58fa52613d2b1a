import Policy
import ReadCache
import Synchronization
import Syscalls

/// What is done from time to time, by one thread of the mount's.
extension FlashTier {
    /// Tells the log what it does not know yet, clears marks of ranges that are not written any
    /// more, makes a checkpoint when one is due, and judges the device: gives it up when it hangs,
    /// takes it back when it is well again. Call it every second or so, once `load` has returned.
    /// Waits for the device.
    package func upkeep() {
        if phase == .off { return probe(monotonicNanoseconds()) }
        judge()
        guard phase == .on else { return }
        let now = clock()
        do throws(Errno) {
            filling.withLock { tellLog(&$0, all: false) }
            let isFull = log.withState { state in
                let room = state.current.capacity - state.checkpointPages
                return state.current.pages > state.checkpointPages + room / 2
            }
            if takeCheckpointNeed() || isFull {
                forgetEmptyFiles()
                try checkpoint(keepingMarksSince: now &- Limits.flashMarkIdle)
            } else {
                try clearMarks(idleSince: now &- Limits.flashMarkIdle)
                try log.commit()
            }
            noteWritten()
        } catch {
            giveUp("it fails: \(error)")
        }
    }

    /// Makes everything durable and leaves the device as it is after a clean stop. Nothing is found
    /// from now on; a write that begins later makes the maps on the device void. The caller tells
    /// before what all marked files look like now. `forSuccessor`: one opens it in a moment, so no
    /// time is spent on a checkpoint, and the device counts as in use.
    package func close(forSuccessor: Bool = false) {
        mustForget()
        commits.stop()
        guard setClosed() == .on else { return }
        let failure = filling.withLock { filling -> Errno? in
            do throws(Errno) {
                try writeRegion(&filling)
                return nil
            } catch {
                return error
            }
        }
        do throws(Errno) {
            if let failure { throw failure }
            if forSuccessor {
                try clearMarks(idleSince: .max)
                return try log.commit()
            }
            try checkpoint()
            try storeGhosts(filling.withLock { $0.ghosts })
            try withHeader { $0.isInUse = false }
        } catch {
            awaitForgotten()
            Events.raise(.cache, .problem, "flash was not closed: \(error)")
        }
    }

    func withHeader(_ change: (inout FlashHeader) -> Void) throws(Errno) {
        try header.withLock { header throws(Errno) in
            change(&header)
            counters.writtenBytes.count(2 * 4096)
            header.written = writtenBefore + counters.writtenBytes.load(ordering: .relaxed)
            try header.write(to: device)
        }
    }

    /// Makes room for other files where many are known: those whose contents all had to go.
    private func forgetEmptyFiles() {
        for (identity, index) in files.numbersWhenMany where map.stored(index) == 0 {
            dropFile(identity)
        }
    }

    // MARK: - Marks

    /// Tells the log what is known of ranges that were not written since, so that they need no
    /// mark any more.
    func clearMarks(idleSince time: UInt64) throws(Errno) {
        let (cleared, isRoom) = log.withState { state -> (Bool, Bool) in
            guard state.next == nil else { return (false, true) }
            let idle = state.marks.filter { mark, entry in
                !isNeeded(mark, entry, idleSince: time) && mark.range != WriteMark.everything
            }
            var isRoom = true
            for mark in idle.keys {
                isRoom = isRoom && clear(mark, &state)
                if isRoom { state.marks[mark] = nil }
            }
            return (!idle.isEmpty, isRoom)
        }
        if !isRoom { needCheckpoint() }
        if cleared { try log.commit() }
    }

    /// Whether a range is being written, was so a moment ago, or its file is still to be believed.
    private func isNeeded(
        _ mark: WriteMark, _ entry: MapLog<Device>.Mark, idleSince time: UInt64
    ) -> Bool {
        entry.writers > 0 || entry.lastWrite > time || files.isToBeBelieved(mark.identity)
    }

    private func clear(_ mark: WriteMark, _ state: inout MapLog<Device>.State) -> Bool {
        var isRoom = state.append(.clear(mark))
        guard mark.range != WriteMark.nothing, let number = files.index(mark.identity) else {
            return isRoom
        }
        map.runs(number, range: mark.range) { key, mask, addresses in
            guard isRoom else { return }
            isRoom = state.append(record(key, mask, addresses))
            state.noteKnown(mark.identity, block: mark.blocks.lowerBound)
        }
        return isRoom
    }

    private func record(
        _ key: UInt64, _ mask: UInt16, _ addresses: some Sequence<UInt32>
    ) -> LogRecord {
        .run(
            index: FlashMap.file(ofKey: key), run: FlashMap.run(ofKey: key), mask: mask,
            addresses.map { place(FlashAddress(rawValue: $0)) })
    }

    // MARK: - Checkpoints

    /// Writes the whole map to the half that does not count, and makes it the one that does.
    /// Marks of ranges that were written since the given time stay. Throws ENOSPC when the map is
    /// too large for it, and what the device says.
    func checkpoint(keepingMarksSince time: UInt64 = .max) throws(Errno) {
        try checkpointing.withLock { _ throws(Errno) in
            let epoch = UInt64.random(in: 1...UInt64.max)
            let before = header.withLock { $0 }
            let half = 1 - before.half
            begin(epoch, half: Int(half), keepingMarksSince: time)
            var isRoom = true
            for (identity, entry) in files.takeAll() {
                isRoom =
                    isRoom
                    && append(
                        .file(
                            index: entry.index, identity: identity, sample: entry.sample))
            }
            for shard in 0..<map.shardCount where isRoom {
                isRoom = append(shard: shard)
                if log.withState({ $0.next?.waiting ?? 0 }) > 64 { try log.drain() }
            }
            guard isRoom else { throw .noSpace }
            try log.commit()
            try withHeader { header in
                header.epoch = epoch
                header.half = half
            }
            log.withState { state in
                if let next = state.next { state.current = next }
                state.next = nil
                state.checkpointPages = state.current.pages
                if let known = state.nextKnown { state.known = known }
                state.nextKnown = nil
            }
        }
    }

    /// From now on marks go to both logs. Ranges that nobody writes need none any more: what the
    /// checkpoint says of them is what the map says.
    private func begin(_ epoch: UInt64, half: Int, keepingMarksSince time: UInt64) {
        log.withState { state in
            state.next = LogStream(
                .log, epoch: epoch, offset: geometry.logOffset(half: half),
                capacity: geometry.logBlocks)
            state.nextKnown = RangeFilter(slots: slots.count)
            state.marks = state.marks.filter { isNeeded($0.key, $0.value, idleSince: time) }
            for mark in state.marks.keys { _ = state.next?.append(.mark(mark)) }
            state.appended += 1
        }
    }

    private func append(_ record: LogRecord) -> Bool {
        log.withState { $0.appendNewest(record) }
    }

    private func append(shard: Int) -> Bool {
        log.withState { state in
            var isRoom = true
            map.forEach(shard: shard) { key, mask, addresses in
                let index = FlashMap.file(ofKey: key)
                guard isRoom, let identity = files.identity(index: index) else { return }
                isRoom = state.appendNewest(record(key, mask, addresses))
                state.noteKnown(
                    identity, block: FlashMap.run(ofKey: key) * RunShard.runBlocks)
            }
            return isRoom
        }
    }
}
