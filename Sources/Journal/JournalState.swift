/// What the lock of a journal protects. Not within the class, so that it is no generic type.
struct JournalState {
    var header: LogHeader
    var checkpoint: LogCheckpoint
    var isCheckpointSure: Bool
    var phase = JournalPhase.closed
    var isPoisoned = false
    /// The frame that is filled, by the number of its memory; nil when the log is full.
    var filling: Int?
    var open = [FillingFrame(), FillingFrame()]
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

enum JournalPhase { case closed, recovering, open }

/// A frame that is filled or written.
struct FillingFrame {
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

extension JournalState {
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
