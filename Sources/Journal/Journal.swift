import Devices
import Policy
import Synchronization
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
    let monitor: Monitor<JournalState>
    let readBuffers: LogReadBuffers
    /// `completed` and `durable` of the state, for those who cannot wait for its lock.
    let completedMark = Atomic<LogPosition>(0)
    let durableMark = Atomic<LogPosition>(0)

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
            JournalState(header: header, checkpoint: checkpoint, isCheckpointSure: isSure),
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

    /// Everything that an `append` has returned for survives a power cut. Takes no lock, so that it
    /// may be false for a moment while a write ends.
    package var isAllDurable: Bool {
        // This order: what is complete only later does not count.
        let completed = completedMark.load(ordering: .acquiring)
        return durableMark.load(ordering: .acquiring) >= completed
    }

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
    func canOpen(_ start: LogPosition, _ state: JournalState) -> Bool {
        let count = geometry.segmentCount - Limits.spareLogSegments
        return geometry.segment(of: start) < geometry.segment(of: state.checkpoint.tail) + count
    }

    /// Whether a frame of so many bytes fits in its segment, with the summary behind it.
    func fitsSegment(_ frame: FillingFrame, _ bytes: Int, _ state: JournalState) -> Bool {
        let summary = state.summaries[state.summary]
        let place = Int(frame.base % geometry.segmentSize)
        return summary.hasRoom
            && place + bytes.roundedUp(to: geometry.unit) + summary.room(unit: geometry.unit)
                <= Int(geometry.segmentSize)
    }

    /// Begins the segment at `start`.
    func openSegment(_ start: LogPosition, slot: Int, _ state: inout JournalState) {
        state.summary = 1 - state.summary
        state.summaries[state.summary].begin(at: start)
        state.open[slot] = FillingFrame(base: start)
        state.filling = slot
    }
}
