import Devices
import Policy
import ReadCache
import Synchronization
import Syscalls

/// Makes changes of the map durable. Records are appended in memory; whoever needs them durable
/// commits, and a commit serves all that were appended before it.
final class MapLog<Device: BlockDevice>: Sendable {
    /// A range that is being written, or was.
    struct Mark {
        /// When it is durable.
        var ticket: UInt64
        var writers = 0
        /// Monotonic nanoseconds of the end of the last write.
        var lastWrite: UInt64 = 0
    }

    struct State {
        var current: LogStream
        /// Of a checkpoint that is under way.
        var next: LogStream?
        var marks: [WriteMark: Mark] = [:]
        /// Ranges that the log, and that of the checkpoint, may know blocks of.
        var known: RangeFilter
        var nextKnown: RangeFilter?
        /// Pages of the log that its checkpoint took.
        var checkpointPages = 0
        /// Counts appends.
        var appended: UInt64 = 0
    }

    private let device: Device
    private let key: PageKey
    private let counters: FlashCounters
    private let state: Mutex<State>
    /// Held while pages are written.
    private let progress = Mutex(Progress())

    private struct Progress {
        /// The last ticket that is durable.
        var durable: UInt64 = 0
        /// Set when pages were lost: nothing can be made durable after that.
        var failure: Errno?
    }

    init(
        _ device: Device, key: PageKey, _ counters: FlashCounters, current: LogStream, slots: Int
    ) {
        self.device = device
        self.key = key
        self.counters = counters
        state = Mutex(State(current: current, known: RangeFilter(slots: slots)))
    }

    /// Runs `body` on the state, under its lock; locks of the map are taken inside it, never
    /// outside.
    func withState<Result>(_ body: (inout State) -> Result) -> Result {
        state.withLock { body(&$0) }
    }

    /// Begins anew with an empty log, after the device failed.
    func restart(_ current: LogStream, slots: Int) {
        progress.withLock { progress in
            state.withLock { state in
                state.current = current
                state.next = nil
                state.marks = [:]
                state.known = RangeFilter(slots: slots)
                state.nextKnown = nil
                state.checkpointPages = 0
                progress = Progress(durable: state.appended)
            }
        }
    }

    /// Everything appended so far is durable when it returns. Throws what the device says.
    func commit() throws(Errno) {
        try commit(state.withLock { $0.appended })
    }

    /// Everything up to a ticket is durable when it returns.
    func commit(_ ticket: UInt64) throws(Errno) {
        try progress.withLock { progress throws(Errno) in
            if progress.durable >= ticket { return }
            let (reached, pages) = take()
            try write(pages, &progress)
            do throws(Errno) {
                try device.flush()
            } catch {
                progress.failure = error
                throw error
            }
            progress.durable = reached
        }
    }

    /// Writes what waits without making it durable: bounds the memory of a long checkpoint.
    func drain() throws(Errno) {
        try progress.withLock { progress throws(Errno) in
            try write(take().pages, &progress)
        }
    }

    private typealias Page = (position: UInt64, page: BlockBuffer, length: Int)

    private func take() -> (
        reached: UInt64, pages: [(pages: [Page], kind: SealedPage.Kind, epoch: UInt64)]
    ) {
        state.withLock { state in
            var pages = [(state.current.take(), state.current.kind, state.current.epoch)]
            if let next = state.next {
                pages.append((state.next?.take() ?? [], next.kind, next.epoch))
            }
            return (state.appended, pages)
        }
    }

    private func write(
        _ streams: [(pages: [Page], kind: SealedPage.Kind, epoch: UInt64)],
        _ progress: inout Progress
    ) throws(Errno) {
        if let failure = progress.failure { throw failure }
        for stream in streams {
            var first = 0
            while first < stream.pages.count {
                let count = min(stream.pages.count - first, Limits.flashLogBatch)
                let batch = stream.pages[first..<first + count]
                do throws(Errno) {
                    try write(batch, stream.kind, stream.epoch)
                } catch {
                    progress.failure = error
                    throw error
                }
                first += count
            }
        }
    }

    /// Seals pages that lie one behind the other, and writes them at once.
    private func write(
        _ batch: ArraySlice<Page>, _ kind: SealedPage.Kind, _ epoch: UInt64
    ) throws(Errno) {
        guard let start = batch.first?.position else { return }
        let buffer = BlockBuffer(blocks: batch.count)
        for (index, page) in batch.enumerated() {
            let block = buffer.block(index)
            block.copyMemory(from: UnsafeRawBufferPointer(page.page.bytes))
            SealedPage.seal(
                block, kind, sequence: epoch, position: page.position, length: page.length,
                key: key)
        }
        try device.write(UnsafeRawBufferPointer(buffer.bytes), at: start)
        counters.writtenBytes.count(UInt64(batch.count) * 4096)
    }
}

/// Remembers ranges of 1 MiB in bits; may take one that it does not know for one that it does.
struct RangeFilter {
    private var bits: [UInt64]

    /// A bit for eight slots, which is 32 for each range that is cached as a whole.
    init(slots: Int) { bits = Array(repeating: 0, count: max(64, slots / 512)) }

    private func place(_ mark: WriteMark) -> (Int, UInt64) {
        let hash = spread(mark.identity ^ spread(UInt64(mark.range)))
        return (scaled(hash, bits.count), 1 << (hash & 63))
    }

    mutating func insert(_ mark: WriteMark) {
        let (word, bit) = place(mark)
        bits[word] |= bit
    }

    func contains(_ mark: WriteMark) -> Bool {
        let (word, bit) = place(mark)
        return bits[word] & bit != 0
    }
}

extension MapLog.State {
    /// Whether the log may have blocks of a range: then a write of it must be marked first.
    func mayKnow(_ mark: WriteMark) -> Bool {
        var mark = mark
        if mark.range == WriteMark.nothing { mark.range = WriteMark.everything }
        return known.contains(mark) || nextKnown?.contains(mark) ?? false
    }

    /// The log is told of a block of this range, or was when it was read.
    mutating func noteKnown(_ identity: UInt64, block: UInt64) {
        let range = UInt32(truncatingIfNeeded: block / FlashMap.rangeBlocks)
        for range in [range, WriteMark.everything] {
            let mark = WriteMark(identity: identity, range: range)
            if nextKnown == nil { known.insert(mark) } else { nextKnown?.insert(mark) }
        }
    }

    /// Appends to the log that counts, and to the one of a checkpoint. Answers false when there is
    /// no room.
    mutating func append(_ record: LogRecord) -> Bool {
        appended += 1
        let isRoom = current.append(record)
        let isRoomInNext = next?.append(record) ?? true
        return isRoom && isRoomInNext
    }

    /// Appends to the log of the checkpoint that is under way, to the one that counts when there is
    /// none.
    mutating func appendNewest(_ record: LogRecord) -> Bool {
        appended += 1
        if next != nil { return next?.append(record) ?? false }
        return current.append(record)
    }
}
