import Journal
import Syscalls
import TestSupport
import Testing

/// What a power cut may leave of writes that were not durable, in cases that chance meets once in a
/// hundred thousand. What does not count after one recovery must not count after later ones.
@Suite struct LogPowerCutTests {
    private static let segmentSize: LogPosition = 32 << 10
    /// The end of the segment that the first record is in, and of the one behind it.
    private static let ends = (2 * segmentSize, 3 * segmentSize)
    private let contents: LogContents

    init() throws { contents = try LogContents(seed: 6) }

    /// Appends records that are not durable until one lies far enough behind `end`; answers where
    /// they are.
    private func fill(
        _ journal: Journal<SimulatedLogDevice>, from first: UInt64, past end: LogPosition
    ) throws -> [LogPosition] {
        var positions: [LogPosition] = []
        while positions.last ?? 0 < end + 2000 {
            positions.append(
                try LogContents.append(
                    journal, 1, first + UInt64(positions.count), 1000, isDurable: false))
        }
        return positions
    }

    private func place(_ position: LogPosition) -> Int {
        128 << 10 + Int(position % (8 * Self.segmentSize))
    }

    /// What the device never wrote.
    private func lose(_ positions: Range<LogPosition>) {
        contents.device.withState { state in
            for position in positions { state.current[place(position)] = 0 }
        }
    }

    /// Recovers again and again, with a record more each time.
    private func expect(_ offsets: [UInt64], rounds: Int) throws {
        for round in 0..<UInt64(rounds) {
            let (journal, found) = try contents.recovered()
            #expect(found.report.damage == [])
            #expect(found.wrong == [] && found.unreadable == 0)
            #expect(found.order.map(\.offset) == offsets + (0..<round).map { 1000 + $0 })
            try LogContents.append(journal, 1, 1000 + round, 100)
        }
    }

    /// Most of a segment is lost, with its footer and the first write of the next one, and some of
    /// what came later is not.
    @Test func whatLiesBehindTheEndNeverCounts() throws {
        let (journal, _) = try contents.recovered()
        try LogContents.append(journal, 1, 0, 100)
        let positions = try fill(journal, from: 1, past: Self.ends.0)
        let left = try #require(positions.last { $0 < Self.ends.0 })
        // A frame's header of 64 bytes lies before its only record.
        lose(positions[0] - 64..<left - 64)
        lose(Self.ends.0 - 512..<Self.ends.0 + 512)
        try expect([0], rounds: 3)
    }

    /// A footer is lost in a segment where an earlier life had written one.
    @Test func theFooterOfAnEarlierLifeNeverCounts() throws {
        var (journal, _) = try contents.recovered()
        var positions = try fill(journal, from: 0, past: Self.ends.1)
        lose(Self.segmentSize..<Self.ends.0)
        let footer = place(Self.ends.1 - 1024)..<place(Self.ends.1 - 1) + 1
        let old = contents.device.withState { Array($0.current[footer]) }

        (journal, _) = try contents.recovered()
        positions = try fill(journal, from: 100, past: Self.ends.1)
        contents.device.withState { $0.current.replaceSubrange(footer, with: old) }
        try expect((0..<UInt64(positions.count)).map { 100 + $0 }, rounds: 3)
    }
}
