import Policy
import Syscalls
import TestSupport
import Testing

@testable import Journal

@Suite struct PaceTests {
    /// A datastore that does one batch after the other: what is under way waits.
    @Test func theWindowStaysSmallWhereWritesOnlyQueue() {
        var pace = DestagePace()
        var widest = 0
        for _ in 0..<500 {
            let window = pace.window(pressure: 0)
            widest = max(widest, window)
            pace.ended(bytes: 1 << 20, nanoseconds: 10_000_000 * UInt64(window))
        }
        #expect(widest <= 5)
        #expect(pace.window(pressure: 0) >= 1)
    }

    /// One that does any number at once.
    @Test func theWindowOpensWhereWritesDoNotDisturbOneAnother() {
        var pace = DestagePace()
        for _ in 0..<200 { pace.ended(bytes: 1 << 20, nanoseconds: 10_000_000) }
        #expect(pace.window(pressure: 0) == Limits.destageWindow)
    }

    @Test func theWindowShrinksWhenTheDatastoreIsBusy() {
        var pace = DestagePace()
        for _ in 0..<200 { pace.ended(bytes: 1 << 20, nanoseconds: 10_000_000) }
        for _ in 0..<20 { pace.ended(bytes: 1 << 20, nanoseconds: 90_000_000) }
        #expect(pace.window(pressure: 0) <= 2)
        // It is not mistaken for the usual at once, and is believed in the end.
        for _ in 0..<2000 { pace.ended(bytes: 1 << 20, nanoseconds: 90_000_000) }
        #expect(pace.window(pressure: 0) == Limits.destageWindow)
    }

    @Test func smallAndLargeWritesAreNotCompared() {
        var pace = DestagePace()
        for _ in 0..<200 {
            pace.ended(bytes: 4096, nanoseconds: 1_000_000)
            pace.ended(bytes: 4 << 20, nanoseconds: 40_000_000)
        }
        #expect(pace.window(pressure: 0) == Limits.destageWindow)
    }

    @Test func aFullLogOpensTheWindow() {
        var pace = DestagePace()
        pace.failed()
        #expect(pace.window(pressure: 0.3) == 1)
        #expect(pace.window(pressure: 0.6) > 1)
        #expect(pace.window(pressure: 1) == Limits.destageWindow)
    }
}

@Suite struct ThrottleTests {
    private static let capacity: UInt64 = 1 << 30
    private static let from: UInt64 = 3 << 28

    @Test func nobodyWaitsWhileThereIsRoom() {
        let throttle = Throttle(from: Self.from, capacity: Self.capacity)
        #expect(throttle.delay(bytes: 1 << 20, used: Self.from, now: 5) == 0)
        #expect(throttle.delay(bytes: 1 << 20, used: Self.from + 4096, now: 5) < 1_000_000)
    }

    @Test func delaysGrowWithoutAStepUntilTheLogIsFull() {
        var last: UInt64 = 0
        for step in UInt64(1)...64 {
            let throttle = Throttle(from: Self.from, capacity: Self.capacity)
            let used = Self.from + (Self.capacity - Self.from) / 64 * step
            let delay = throttle.delay(bytes: 65536, used: used, now: 0)
            #expect(delay >= last && delay <= Limits.longestDelay)
            if step < 48 { #expect(delay < last * 2 + 1_000_000) }
            last = delay
        }
        #expect(last == Limits.longestDelay)
    }

    /// Writers that take all they get and a destager of a steady rate: the log settles, and the
    /// destager is always at work.
    @Test func writersSettleAtTheSpeedOfTheDestager() {
        let rate: UInt64 = 100 << 20
        let throttle = Throttle(from: Self.from, capacity: Self.capacity)
        for _ in 0..<20 { throttle.freed(bytes: rate, nanoseconds: 1_000_000_000) }
        #expect(throttle.rate > rate * 9 / 10 && throttle.rate < rate * 11 / 10)
        var (used, written, now) = (Self.from, UInt64(0), UInt64(0))
        var most: UInt64 = 0
        let write: UInt64 = 256 << 10
        while now < 60_000_000_000 {
            let delay = max(100_000, throttle.delay(bytes: write, used: used, now: now))
            now += delay
            let freed = UInt64(Double(rate) * Double(delay) / 1e9)
            used = used + write - min(used, freed)
            written += write
            most = max(most, used)
        }
        #expect(most < Self.capacity / 100 * 97)
        #expect(used > Self.from)
        let speed = written / 60
        #expect(speed > rate * 9 / 10 && speed < rate * 12 / 10)
    }

    @Test func manyWritersWaitOneAfterAnother() {
        let throttle = Throttle(from: Self.from, capacity: Self.capacity)
        let used = Self.from + (Self.capacity - Self.from) / 2
        let first = throttle.delay(bytes: 1 << 20, used: used, now: 0)
        let second = throttle.delay(bytes: 1 << 20, used: used, now: 0)
        #expect(first > 0 && second > first * 3 / 2)
    }
}
