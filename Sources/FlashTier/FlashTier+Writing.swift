import ReadCache
import Syscalls

/// A write to the datastore that is under way.
package struct FlashWrite: Sendable {
    let file: UInt64
    let blocks: Range<UInt64>
    /// The marks that it counts as a writer of, a bit for each of `ranges`.
    fileprivate var counted: UInt32 = 0

    /// Most ranges that one write marks one by one; beyond, it marks the file.
    private static let mostRanges: UInt64 = 16

    fileprivate init(_ file: UInt64, _ blocks: Range<UInt64>) {
        self.file = file
        self.blocks = blocks
    }

    /// The ranges that it marks: the last one tells that the file is being written at all.
    fileprivate var ranges: [UInt32] {
        let first = blocks.lowerBound / FlashMap.rangeBlocks
        let last = (max(blocks.upperBound, blocks.lowerBound + 1) - 1) / FlashMap.rangeBlocks
        if last - first >= Self.mostRanges { return [WriteMark.everything] }
        return (first...last).map { UInt32($0) } + [WriteMark.nothing]
    }
}

/// Forgetting what is written, and making sure that it stays forgotten.
extension FlashTier {
    /// A write of blocks begins (`count` may reach beyond everything): before it returns they are
    /// not found any more, and will not be after a power cut. Waits for the device the first time
    /// that a range of 1 MiB is written. Every write is ended by `endWrite`.
    package func beginWrite(_ file: UInt64, firstBlock: UInt64, count: UInt64) -> FlashWrite {
        let end = firstBlock.addingReportingOverflow(count)
        let upper = end.overflow ? FlashMap.blockLimit : min(end.partialValue, FlashMap.blockLimit)
        let blocks = min(firstBlock, upper)..<upper
        var write = FlashWrite(file, blocks)
        versions.begin(file, blocks)
        guard !isAway else {
            awaitForgotten()
            return write
        }
        mark(&write)
        if let index = files.index(file) { map.remove(index, blocks) }
        return write
    }

    /// The write has ended, whatever came of it.
    package func endWrite(_ write: FlashWrite) {
        let now = clock()
        log.withState { state in
            for (bit, range) in write.ranges.enumerated() where write.counted & 1 << bit != 0 {
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
            for (bit, range) in write.ranges.enumerated() {
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
                write.counted |= 1 << bit
            }
            return (ticket, isRoom)
        }
        guard isRoom else { return giveUp("its log is full") }
        if ticket > 0 { makeDurable(ticket) }
    }

    /// Nothing of a file is found any more: it was removed, or changed behind the mount. What is
    /// offered of it afterwards counts as of a new file.
    package func dropFile(_ file: UInt64) {
        let all = 0..<FlashMap.blockLimit
        versions.begin(file, all)
        defer { versions.end(file, all) }
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
}
