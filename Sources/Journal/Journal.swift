import Devices
import Policy
import Syscalls

/// The log: changes of files, kept in order on a device of their own until they are released.
/// Any number of threads may use it. docs/on-disk-format.md ("The log") tells the format and what
/// it relies on.
package final class Journal<Device: BlockDevice>: Sendable {
    let device: Device
    let geometry: LogGeometry
    let seal: LogSeal
    /// Two frames in turn: one is filled while the other is written.
    let frames: [BlockBuffer]
    let monitor: Monitor<State>
    let readBuffers: LogReadBuffers

    /// What is under the lock.
    struct State {
        var header: LogHeader
        var checkpoint: LogCheckpoint
        var isCheckpointSure: Bool
        var phase = Phase.closed
        var isPoisoned = false
        /// The frame that is filled, by the number of its memory; nil when the log is full.
        var filling: Int?
        var open = [OpenFrame(), OpenFrame()]
        /// The summary of the segment that is filled, and the one of the segment before.
        var summaries: [SummaryBuilder] = []
        var summary = 0
        /// Where the segment after the last one begins, when there is no room to begin it.
        var next: LogPosition = 0
        var isCommitting = false
        var isFlushing = false
        var isCheckpointing = false
        /// Everything before it is on the device.
        var completed: LogPosition = 0
        /// Everything before it is durable.
        var durable: LogPosition = 0
        /// Where the last frame that is on the device ends.
        var previous: LogPosition = 0
        /// Where the last frame before the segment ends that is written.
        var beforeSegment: LogPosition = 0
    }

    enum Phase { case closed, recovering, open }

    /// A frame that is filled or written.
    struct OpenFrame {
        var base: LogPosition = 0
        /// Bytes, with the header.
        var used = FrameHeader.size
        var records: UInt32 = 0
        /// Writers that copy into it.
        var copying = 0
        var isDurable = false
        /// Nothing is added any more, and the segment ends behind it.
        var endsSegment = false
    }

    /// Reads header and checkpoint; nothing else before `recover`. Throws what is wrong.
    package init(_ device: Device) throws(JournalProblem) {
        let header = try LogHeader.read(from: device).header
        guard let geometry = header.geometry else { throw .damagedHeader }
        guard device.size >= header.size else { throw .tooSmall }
        guard device.logicalBlockSize <= header.unit else {
            throw .blockSize(device.logicalBlockSize)
        }
        let seal = LogSeal(salt: header.salt)
        let (checkpoint, isSure) = try LogCheckpoint.read(from: device, geometry, seal)
        self.device = device
        self.geometry = geometry
        self.seal = seal
        frames = (0..<2).map { _ in BlockBuffer(blocks: geometry.frameSize / 4096) }
        readBuffers = LogReadBuffers(blocks: geometry.frameSize / 4096 + 2)
        monitor = Monitor(
            State(header: header, checkpoint: checkpoint, isCheckpointSure: isSure),
            conditions: Wait.count)
    }

    // MARK: - What it tells

    /// What the device says of itself.
    package var header: LogHeader { monitor.withLock { $0.header } }

    /// Where the next record will be, about: behind records that are still being written.
    package var head: LogPosition { monitor.withLock { $0.head } }

    /// Everything before it has been released.
    package var tail: LogPosition { monitor.withLock { $0.checkpoint.tail } }

    /// Everything before it survives a power cut.
    package var durable: LogPosition { monitor.withLock { $0.durable } }

    /// Bytes that writers can fill.
    package var capacity: UInt64 { geometry.capacity }

    /// Bytes in use, with everything that belongs to the records.
    package var used: UInt64 {
        monitor.withLock { state in
            let start = geometry.start(of: geometry.segment(of: state.checkpoint.tail))
            return min(max(state.head, start) - start, capacity)
        }
    }

    /// Bytes of the largest payload of one record.
    package var largestPayload: Int { geometry.largestPayload }

    /// Whether a write or a flush failed: nothing is taken any more, and what is there can be read
    /// as far as the device reads it.
    package var isPoisoned: Bool { monitor.withLock { $0.isPoisoned } }

    /// Writes the owner into a header that has none, durably. Throws EBUSY when it has another one,
    /// EINVAL for one of more than 1,024 bytes, and what the device says. For one thread at a time.
    package func claim(owner: String) throws(Errno) {
        var header = header
        guard header.owner != owner else { return }
        guard header.owner.isEmpty else { throw .busy }
        header.owner = owner
        try header.write(to: device)
        monitor.withLock { $0.header = header }
    }

    /// Room for a record of so many payload bytes, and for as many more as others take meanwhile
    /// in the rest of a segment.
    package func hasRoom(bytes: Int) -> Bool {
        monitor.withLock { state in
            guard state.phase == .open else { return false }
            guard let slot = state.filling else { return false }
            let frame = state.open[slot]
            let next = geometry.start(of: geometry.segment(of: frame.base) + 1)
            if canOpen(next, state) { return true }
            let size =
                RecordHeader.room(payload: bytes) + 2 * RecordHeader.size + FrameHeader.size
                + Limits.loggedHandle + 2 * geometry.unit
            return fitsSegment(frame, frame.used + size, state)
        }
    }

    // MARK: - Room; the lock is held

    /// Whether a segment may be filled: the ring has come round, and what recoveries need is left.
    func canOpen(_ start: LogPosition, _ state: State) -> Bool {
        let count = geometry.segmentCount - Limits.spareLogSegments
        return geometry.segment(of: start) < geometry.segment(of: state.checkpoint.tail) + count
    }

    /// Whether a frame of so many bytes fits in its segment, with the summary behind it.
    func fitsSegment(_ frame: OpenFrame, _ bytes: Int, _ state: State) -> Bool {
        let summary = state.summaries[state.summary]
        let place = Int(frame.base % geometry.segmentSize)
        return summary.hasRoom
            && place + bytes.roundedUp(to: geometry.unit) + summary.room(unit: geometry.unit)
                <= Int(geometry.segmentSize)
    }

    /// Begins the segment at `start`.
    func openSegment(_ start: LogPosition, slot: Int, _ state: inout State) {
        state.summary = 1 - state.summary
        state.summaries[state.summary].begin(at: start)
        state.open[slot] = OpenFrame(base: start)
        state.filling = slot
    }
}

extension Journal.State {
    /// Where the next record would be; the start of a frame while it is empty.
    var head: LogPosition {
        guard let slot = filling else { return max(next, completed) }
        let frame = open[slot]
        return frame.records == 0 ? frame.base : frame.base + UInt64(frame.used)
    }
}

/// What threads wait for.
enum Wait {
    // 0 and 1: the frame in this memory is written, or needs somebody who writes it.
    static let copied = 2
    static let space = 3
    static let flush = 4
    static let checkpoint = 5
    static let count = 6
}
