import Policy
import Testing

@Suite struct LatencyJudgeTests {
    private static let millisecond: UInt64 = 1_000_000

    @Test func bucketsHoldWhatTheySay() {
        var last = -1
        for microseconds in [0, 1, 2, 3, 4, 5, 7, 8, 9, 100, 1000, 4095, 4096, 1 << 26] as [UInt64]
        {
            let bucket = LatencyCounts.bucket(of: microseconds * 1000)
            #expect(bucket >= last)
            last = bucket
            let bound = LatencyCounts.upperBound(of: bucket)
            #expect(bound > microseconds * 1000)
            #expect(bound <= max(1000, microseconds * 1250) + 1000)
        }
        #expect(LatencyCounts.bucket(of: .max) == LatencyCounts.count - 1)
        for bucket in 1..<LatencyCounts.count {
            let (below, bound) = (
                LatencyCounts.upperBound(of: bucket - 1), LatencyCounts.upperBound(of: bucket)
            )
            #expect(below < bound)
            #expect(LatencyCounts.bucket(of: below) == bucket)
        }
    }

    @Test func theMedianIsThatOfMost() {
        var counts = LatencyCounts()
        #expect(counts.median == 0)
        for _ in 0..<60 { counts.add(2 * Self.millisecond) }
        for _ in 0..<40 { counts.add(9000 * Self.millisecond) }
        #expect(counts.total == 100)
        #expect(counts.median > 2 * Self.millisecond)
        #expect(counts.median < 3 * Self.millisecond)
    }

    private func judge(_ medians: [UInt64], bound: UInt64 = 200) -> [Bool] {
        var judge = LatencyJudge(bound: bound * Self.millisecond)
        return medians.map { judge.isSlow(median: $0 * Self.millisecond) }
    }

    @Test func whatIsUnusualIsSlow() {
        let usual = [UInt64](repeating: 10, count: 100)
        #expect(
            judge(usual + [60, 199, 201, 400, 10]).suffix(5) == [false, false, true, true, false])
    }

    @Test func whatHasAlwaysBeenSlowIsNot() {
        let far = [UInt64](repeating: 300, count: 100)
        #expect(!judge(far + [900]).contains(true))
        #expect(judge(far + [1900]).last == true)
        #expect(!judge([900, 900, 900]).contains(true), "nothing is known at first")
        #expect(judge([2100]) == [true], "but nobody lives with this")
    }

    @Test func aSicknessDoesNotBecomeUsual() {
        let medians = [UInt64](repeating: 10, count: 20) + [UInt64](repeating: 500, count: 5000)
        #expect(judge(medians).suffix(5000).allSatisfy { $0 })
    }

    @Test func whatIsUsualMayChangeSlowly() {
        var judge = LatencyJudge(bound: 200 * Self.millisecond, usual: 10 * Self.millisecond)
        for median in stride(from: 10, to: 190, by: 0.2) {
            let isSlow = judge.isSlow(median: UInt64(median * 1e6))
            #expect(!isSlow)
        }
        #expect(judge.usual > 150 * Self.millisecond)
        let isSlow = judge.isSlow(median: 400 * Self.millisecond)
        #expect(!isSlow)
    }

    @Test func whatWasUsualIsKeptByASuccessor() {
        var judge = LatencyJudge(bound: 200 * Self.millisecond, usual: 10 * Self.millisecond)
        let isSlow = judge.isSlow(median: 300 * Self.millisecond)
        #expect(isSlow)
        #expect(judge.usual == 10 * Self.millisecond)
        _ = judge.isSlow(median: .max)
        _ = judge.isSlow(median: 0)
    }
}
