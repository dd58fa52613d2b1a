import Devices
import Syscalls

/// A part of the log that is not as it was written.
package struct LogDamage: Equatable, Sendable {
    /// Where it begins and ends.
    package let range: Range<LogPosition>
    /// What is damaged, in words.
    package let what: String
}

/// Finds out what is in a log, from the tail to the end, which nothing but the log itself tells.
struct LogScan<Device: BlockDevice> {
    /// A segment, at first sight.
    private enum Found {
        case closed(SegmentFooter)
        case open([FoundFrame])
        /// Nothing in it belongs to the log.
        case missing
    }

    private(set) var reader: LogReader<Device>
    private let checkpoint: LogCheckpoint
    private let geometry: LogGeometry
    /// Whether every byte is verified, not only what may not have become durable.
    private let verifiesAll: Bool
    private let first: UInt64
    private var found: [Found] = []
    private(set) var damage: [LogDamage] = []

    /// Records before it are of no interest.
    let tail: LogPosition
    /// The latest life that has left anything.
    private(set) var life: UInt64
    /// Everything before it was durable once.
    private(set) var durable: LogPosition
    /// Where the last frame that counts ends.
    private(set) var end: LogPosition
    /// Where the last frame before segment `last` ends.
    private(set) var before: LogPosition
    /// The segment that must be ended before the log can go on behind it, and what counts in it.
    private(set) var last: UInt64
    private(set) var lastContents = SegmentContents()
    private(set) var lastLife: UInt64 = 0
    private(set) var records: UInt64 = 0

    init(
        _ reader: LogReader<Device>, _ checkpoint: LogCheckpoint, isSure: Bool,
        verifiesAll: Bool = false
    ) {
        self.reader = reader
        self.checkpoint = checkpoint
        self.verifiesAll = verifiesAll
        geometry = reader.geometry
        tail = isSure ? checkpoint.tail : max(checkpoint.tail, self.reader.latestTail())
        first = geometry.segment(of: tail)
        last = first
        life = checkpoint.life
        durable = checkpoint.durable
        end = geometry.start(of: first)
        before = end
        survey()
    }

    // MARK: - First sight

    /// Looks at the end of each segment, and into those that have none.
    private mutating func survey() {
        var least: UInt64 = 0
        var missing = 0
        for segment in first..<first + geometry.segmentCount {
            let start = geometry.start(of: segment)
            if start >= checkpoint.lifeStart { least = max(least, checkpoint.life) }
            let one = look(at: segment, least, isFar: missing > 0 && start >= durable)
            switch one {
            case .closed(let footer): least = footer.life
            case .open(let frames): least = frames.last?.header.life ?? least
            case .missing: break
            }
            if case .missing = one { missing += 1 } else { missing = 0 }
            life = max(life, least)
            if missing == 2 && start >= durable { break }
            found.append(one)
        }
        while case .missing? = found.last { found.removeLast() }
    }

    /// `isFar`: nothing is expected there, and a frame is looked for only where one would begin.
    private mutating func look(at segment: UInt64, _ least: UInt64, isFar: Bool) -> Found {
        if let footer = reader.footer(segment), footer.life >= least {
            durable = max(durable, footer.durable)
            return .closed(footer)
        }
        if isFar && reader.frame(at: geometry.start(of: segment), ahead: false) == nil {
            return .missing
        }
        let frames = reader.frames(of: segment, life: least, durable: durable)
        for frame in frames { durable = max(durable, frame.header.durable) }
        return frames.isEmpty ? .missing : .open(frames)
    }

    // MARK: - What counts

    /// Tells every record, in order, and the handle of its file. `progress` is told bytes of the
    /// log that are done.
    mutating func run(
        progress: (UInt64, UInt64) -> Void = { _, _ in },
        _ visit: (LogEntry, [UInt8]) -> Void
    ) {
        for index in found.indices {
            let segment = first + UInt64(index)
            let size = geometry.segmentSize
            progress(UInt64(index) * size, UInt64(found.count) * size)
            (last, lastContents, lastLife, before) = (segment, SegmentContents(), 0, end)
            let isLastOne: Bool
            switch found[index] {
            case .missing: isLastOne = skip(segment)
            case .closed(let footer): isLastOne = take(footer, segment)
            case .open(let frames):
                lastLife = frames.first?.header.life ?? 0
                isLastOne = walk(frames, segment, end: knownEnd(of: index))
            }
            tell(visit)
            if isLastOne { return }
        }
        guard case .closed? = found.last else { return }
        last += 1
        (lastContents, lastLife, before) = (SegmentContents(), 0, end)
    }

    private mutating func tell(_ visit: (LogEntry, [UInt8]) -> Void) {
        for entry in lastContents.entries where entry.position >= tail {
            records += 1
            visit(entry, lastContents.handles[entry.record.file] ?? [])
        }
    }

    /// A segment without anything, before others: true when the log ends here.
    private mutating func skip(_ segment: UInt64) -> Bool {
        let start = geometry.start(of: segment)
        guard start < durable else { return true }
        let end = min(durable, start + geometry.segmentSize)
        if end > tail { report(start..<end, "nothing of a segment can be read") }
        return false
    }

    /// A segment that has ended; true when the log ends within it nevertheless.
    private mutating func take(_ footer: SegmentFooter, _ segment: UInt64) -> Bool {
        lastLife = footer.frameLife
        if footer.end <= durable && !verifiesAll, let contents = reader.summary(footer) {
            lastContents = contents
            end = footer.end
            return false
        }
        if verifiesAll, reader.summary(footer) == nil {
            let end = footer.start + geometry.segmentSize
            let region = UInt64(footer.region(unit: geometry.unit))
            report(end - region..<end, "the summary of a segment is damaged")
        }
        let frames = reader.frames(of: segment, life: footer.frameLife, durable: footer.end)
        return walk(frames.filter { $0.end <= footer.end }, segment, end: footer.end)
    }

    /// Where the frames of a segment without a footer end, as the next segment tells.
    private func knownEnd(of index: Int) -> LogPosition? {
        let start = geometry.start(of: first + UInt64(index))
        let next = start + geometry.segmentSize
        guard index + 1 < found.count else {
            return durable > start && durable < next ? durable : nil
        }
        var previous: LogPosition?
        switch found[index + 1] {
        case .closed(let footer): previous = footer.previous
        case .open(let frames):
            if let header = frames.first?.header, header.position == next {
                previous = header.previous
            }
        case .missing: break
        }
        // Something behind the segment is durable and nothing tells where this one ends.
        guard let previous, previous <= next else { return durable >= next ? next : nil }
        return max(previous, start)
    }

    /// Takes the frames of a segment in order; true when the log ends at a hole among them.
    private mutating func walk(
        _ frames: [FoundFrame], _ segment: UInt64, end known: LogPosition?
    ) -> Bool {
        end = geometry.start(of: segment)
        for frame in frames {
            let start = frame.header.position
            if start > end, isHole(end..<start, "a write is missing") { return true }
            if !frame.isWhole, isHole(start..<frame.end, "a write is damaged") { return true }
            for name in frame.names { lastContents.handles[name.file] = name.handle }
            lastContents.entries += frame.entries
            end = frame.end
        }
        guard let known, end < known else { return false }
        return isHole(end..<known, "a write is missing")
    }

    /// Whether something that is not there ends the log. What had been durable does not, it is
    /// damage.
    private mutating func isHole(_ range: Range<LogPosition>, _ what: String) -> Bool {
        guard range.upperBound <= durable else { return true }
        if range.upperBound > tail { report(range, what) }
        return false
    }

    private mutating func report(_ range: Range<LogPosition>, _ what: String) {
        damage.append(LogDamage(range: range, what: what))
    }
}
