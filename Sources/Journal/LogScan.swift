import Devices
import Syscalls

/// A part of the log that is not as it was written.
package struct LogDamage: Equatable, Sendable {
    /// Where it begins and ends.
    package let range: Range<LogPosition>
    /// What is damaged, in words.
    package let what: String
}

/// A segment as far as it counts, and what its footer tells.
struct ScannedSegment {
    let number: UInt64
    var contents = SegmentContents()
    /// The life that wrote its frames; 0 when it has none.
    var life: UInt64 = 0
    /// Where the last frame before it ends …
    let previous: LogPosition
    /// … and its own last one.
    var end: LogPosition
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
    /// The segment that must be ended before the log can go on behind it.
    private(set) var last: ScannedSegment
    /// Those before it that lost their footers, and nothing else.
    private(set) var unended: [ScannedSegment] = []
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
        life = checkpoint.life
        durable = checkpoint.durable
        end = geometry.start(of: first)
        last = ScannedSegment(number: first, previous: end, end: end)
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
            let size = geometry.segmentSize
            progress(UInt64(index) * size, UInt64(found.count) * size)
            begin(first + UInt64(index))
            let damages = damage.count
            let isLastOne: Bool
            switch found[index] {
            case .missing: isLastOne = skip()
            case .closed(let footer): isLastOne = take(footer)
            case .open(let frames):
                last.life = frames.first?.header.life ?? 0
                isLastOne = walk(frames, end: toldEnd(of: index))
            }
            last.end = max(last.end, end)
            tell(visit)
            if isLastOne { return }
            if case .open = found[index], damage.count == damages { unended.append(last) }
        }
        guard case .closed? = found.last else { return }
        begin(last.number + 1)
    }

    private mutating func begin(_ segment: UInt64) {
        last = ScannedSegment(
            number: segment, previous: end, end: geometry.start(of: segment))
    }

    private mutating func tell(_ visit: (LogEntry, [UInt8]) -> Void) {
        for entry in last.contents.entries where entry.position >= tail {
            records += 1
            visit(entry, last.contents.handles[entry.record.file] ?? [])
        }
    }

    /// A segment without anything, before others: true when the log ends here.
    private mutating func skip() -> Bool {
        let start = geometry.start(of: last.number)
        guard start < durable else { return true }
        let end = min(durable, start + geometry.segmentSize)
        if end > tail { report(start..<end, "nothing of a segment can be read") }
        return false
    }

    /// A segment that has ended; true when the log ends within it nevertheless.
    private mutating func take(_ footer: SegmentFooter) -> Bool {
        last.life = footer.frameLife
        if footer.end <= durable && !verifiesAll, let contents = reader.summary(footer) {
            last.contents = contents
            end = footer.end
            return false
        }
        if verifiesAll, reader.summary(footer) == nil {
            let end = footer.start + geometry.segmentSize
            let region = UInt64(footer.region(unit: geometry.unit))
            report(end - region..<end, "the summary of a segment is damaged")
        }
        let frames = reader.frames(of: last.number, life: last.life, durable: footer.end)
        return walk(frames, end: footer.end)
    }

    /// Where the frames of a segment without a footer end, as what follows it tells; nil when
    /// nothing does.
    private func toldEnd(of index: Int) -> LogPosition? {
        let start = geometry.start(of: first + UInt64(index))
        let next = start + geometry.segmentSize
        guard index + 1 < found.count else { return nil }
        var previous: LogPosition?
        switch found[index + 1] {
        case .closed(let footer): previous = footer.previous
        case .open(let frames):
            if let header = frames.first?.header, header.position == next {
                previous = header.previous
            }
        case .missing: break
        }
        guard let previous, previous <= next else { return nil }
        return max(previous, start)
    }

    /// Takes the frames of a segment in order, up to where it is told to end. True when the log
    /// ends at a hole among them, or here because nothing leads on to what lies behind.
    private mutating func walk(_ frames: [FoundFrame], end told: LogPosition?) -> Bool {
        end = geometry.start(of: last.number)
        let next = end + geometry.segmentSize
        // What lies behind its end never counted, even if it arrived after all.
        for frame in frames where frame.end <= told ?? next {
            let start = frame.header.position
            if start > end, isHole(end..<start, "a write is missing") { return true }
            if !frame.isWhole, isHole(start..<frame.end, "a write is damaged") { return true }
            for name in frame.names { last.contents.handles[name.file] = name.handle }
            last.contents.entries += frame.entries
            end = frame.end
        }
        let least = told ?? min(durable, next)
        if end < least, isHole(end..<least, "a write is missing") { return true }
        return told == nil && durable < next
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
