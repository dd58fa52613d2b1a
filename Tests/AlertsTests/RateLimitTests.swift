import Glibc
import Syscalls
import Testing

@testable import Alerts

@Suite struct RateLimitTests {
    private let problem = Event(.datastore, .problem, "away")
    private let recovered = Event(.datastore, .recovered, "back")
    private let notice = Event(.datastore, .notice, "changed")

    /// A limit with an interval of 100 s that is told events at given times.
    private struct Desk {
        var limit = RateLimit()
        mutating func take(_ event: Event, _ now: UInt64) -> RateLimit.Message? {
            // Each delivery is another process: all that counts survives as text.
            limit = RateLimit(line: limit.line) ?? RateLimit()
            return limit.take(event, at: now, interval: 100)
        }
        mutating func due(_ now: UInt64) -> RateLimit.Message? {
            limit = RateLimit(line: limit.line) ?? RateLimit()
            return limit.due(at: now, interval: 100)
        }
    }

    private func message(_ event: Event, _ suppressed: UInt64 = 0) -> RateLimit.Message {
        RateLimit.Message(event: event, suppressed: suppressed)
    }

    @Test func theFirstIsToldAtOnceAndSoIsItsEnd() {
        var desk = Desk()
        #expect(desk.take(problem, 1000) == message(problem))
        #expect(desk.take(recovered, 1000) == message(recovered))
        #expect(!desk.limit.isHolding)
    }

    @Test func oneInEachIntervalWithTheNumberOfTheOthers() {
        var desk = Desk()
        #expect(desk.take(problem, 1000) == message(problem))
        for second in 1001...1050 { #expect(desk.take(problem, UInt64(second)) == nil) }
        #expect(desk.due(1099) == nil)
        #expect(desk.due(1100) == message(problem, 49))
        #expect(desk.due(1300) == nil)
        #expect(desk.take(problem, 1150) == nil)
        #expect(desk.take(problem, 1200) == message(problem, 1))
    }

    @Test func anEndIsToldOnlyWhenTheBeginningWas() {
        var desk = Desk()
        #expect(desk.take(recovered, 1) == nil)
        #expect(desk.take(problem, 1000) == message(problem))
        #expect(desk.take(recovered, 1001) == message(recovered))
        #expect(desk.take(problem, 1002) == nil)
        #expect(desk.take(recovered, 1003) == nil)
        let late = desk.due(1100)
        #expect(late?.event == Event(.datastore, .notice, "away; over: back"))
        #expect(late?.suppressed == 0)
        #expect(desk.take(recovered, 1101) == nil)
    }

    @Test func aProblemThatLastsIsToldLateAndThenItsEnd() {
        var desk = Desk()
        _ = desk.take(problem, 1000)
        _ = desk.take(recovered, 1001)
        #expect(desk.take(problem, 1002) == nil)
        #expect(desk.limit.isHolding)
        #expect(desk.due(1100) == message(problem))
        #expect(desk.take(recovered, 1101) == message(recovered))
        #expect(!desk.limit.isHolding)
    }

    @Test func theEndOfAProblemCountsWhatWasHeldBack() {
        var desk = Desk()
        _ = desk.take(problem, 1000)
        _ = desk.take(problem, 1001)
        _ = desk.take(notice, 1002)
        #expect(desk.take(recovered, 1003) == message(recovered, 2))
        #expect(desk.due(2000) == nil)
    }

    @Test func newsDoNotDisplaceAProblem() {
        var desk = Desk()
        _ = desk.take(notice, 1000)
        _ = desk.take(problem, 1001)
        _ = desk.take(notice, 1002)
        #expect(desk.due(1100) == message(problem, 1))
    }

    @Test func aClockThatWentBackHoldsNothingBack() {
        var desk = Desk()
        _ = desk.take(problem, 1000)
        #expect(desk.take(problem, 5) == message(problem))
    }

    @Test(arguments: ["", "x", "1 open", "1 open x", "1 open 0 server problem x", "1 open 1 what"])
    func damagedStatesAreNotRead(line: String) {
        #expect(RateLimit(line: line) == nil)
    }

    @Test func processesShareTheStateThroughTheFile() throws {
        let path = "/tmp/forebay-alert-state-\(UInt64.random(in: 0...UInt64.max))"
        defer { unlink(path) }
        let one = try AlertState(path)
        let first = try one.update { limits in
            limits[.server, default: RateLimit()].take(problem, at: 10, interval: 100)
        }
        #expect(first == message(problem))
        let other = try AlertState(path)
        let second = try other.update { limits in
            limits[.server, default: RateLimit()].take(problem, at: 11, interval: 100)
        }
        #expect(second == nil)
        try other.update { limits in
            #expect(limits[.server]?.suppressed == 1)
            #expect(limits[.server]?.held == problem)
            limits = [:]
        }
        try other.update { #expect($0.isEmpty) }
    }
}
