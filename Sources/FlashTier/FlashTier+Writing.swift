import ReadCache
import Syscalls

/// A write to the datastore that is under way.
package struct FlashWrite: Sendable {
    let file: UInt64
    let blocks: Range<UInt64>
    fileprivate let first: UInt32
    fileprivate let last: UInt32
    /// For which of the ranges, from the first on, it counts as a writer of their marks.
    fileprivate var counted: UInt32 = 0
}

/// Forgetting what is written, and making sure that it stays forgotten.
extension FlashTier {
    /// Most ranges that one write marks one by one; beyond, it marks the file.
    private static var mostRanges: UInt64 { 16 }

    /// A write of blocks begins (`count` may reach beyond everything): before it returns they are
    /// not found any more, and will not be after a power cut. Waits for the device the first time
    /// that a range of 1 MiB is written. Every write is ended by `endWrite`.
    package func beginWrite(_ file: UInt64, firstBlock: UInt64, count: UInt64) -> FlashWrite {
        let end = firstBlock.addingReportingOverflow(count)
        let upper = end.overflow ? FlashMap.blockLimit : min(end.partialValue, FlashMap.blockLimit)
        let blocks = min(firstBlock, upper)..<upper
        let first = blocks.lowerBound / FlashMap.rangeBlocks
        let last = (max(upper, blocks.lowerBound + 1) - 1) / FlashMap.rangeBlocks
        let isMany = last - first >= Self.mostRanges
        var write = FlashWrite(
            file: file, blocks: blocks, first: isMany ? WriteMark.everything : UInt32(first),
            last: isMany ? WriteMark.everything : UInt32(last))
        versions.begin(file, blocks)
        guard phase != .off else {
            awaitForgotten()
            return write
        }
        mark(&write)
        if let index = files.index(file) { map.remove(index, blocks) }
        return write
    }

    /// The write has ended, whatever came of it.
    package func endWrite(_ write: FlashWrite) {
        let now = monotonicNanoseconds()
        log.withState { state in
            for range in write.first...write.last
            where write.counted & 1 << (range - write.first) != 0 {
                let mark = WriteMark(identity: write.file, range: range)
                state.marks[mark]?.writers -= 1
                state.marks[mark]?.lastWrite = now
            }
        }
        versions.end(write.file, write.blocks)
    }

    private func mark(_ write: inout FlashWrite) {
        let isLoading = phase == .loading
        let (ticket, isRoom) = log.withState { state -> (UInt64, Bool) in
            var ticket: UInt64 = 0
            var isRoom = true
            for range in write.first...write.last {
                let mark = WriteMark(identity: write.file, range: range)
                if let entry = state.marks[mark] {
                    ticket = max(ticket, entry.ticket)
                } else if isLoading ? believesMaps : state.mayKnow(mark) {
                    isRoom = state.append(.mark(mark)) && isRoom
                    state.marks[mark] = .init(ticket: state.appended)
                    ticket = state.appended
                } else {
                    continue
                }
                state.marks[mark]?.writers += 1
                write.counted |= 1 << (range - write.first)
            }
            return (ticket, isRoom)
        }
        guard isRoom else { return giveUp("its log is full") }
        do throws(Errno) {
            if ticket > 0 { try log.commit(ticket) }
        } catch {
            giveUp("it fails: \(error)")
        }
    }

    /// Nothing of a file is found any more: it was removed, or changed behind the mount. What is
    /// offered of it afterwards counts as of a new file.
    package func dropFile(_ file: UInt64) {
        let write = FlashWrite(
            file: file, blocks: 0..<FlashMap.blockLimit, first: WriteMark.everything,
            last: WriteMark.everything)
        versions.begin(file, write.blocks)
        defer { versions.end(file, write.blocks) }
        log.withState { state in
            if phase == .loading {
                let mark = WriteMark(identity: file, range: WriteMark.everything)
                _ = state.append(.mark(mark))
                state.marks[mark] = .init(ticket: state.appended)
            } else if let index = files.remove(file) {
                _ = state.append(.drop(index: index))
            }
        }
    }

    /// Attributes of a file as the datastore gave them while nothing of it was being written; kept
    /// with its map. Does nothing for a file without a map.
    package func sample(_ file: UInt64, _ sample: FileSample) {
        guard let before = files.sample(file), before != sample,
            files.add(file, sample) != nil
        else { return }
        log.withState { state in
            if let entry = files.takeIfChanged(file) {
                _ = state.append(
                    .file(index: entry.index, identity: file, sample: entry.sample))
            }
        }
    }

    /// What was sampled when the map of a file was stored; the mount drops a file that looks
    /// different now, unless its own writes explain it. Nil for a file without a map, and while loading.
    package func storedSample(_ file: UInt64) -> FileSample? {
        phase == .loading ? nil : files.sample(file)
    }
}
