import FuseServer
import Glibc
import Policy
import Syscalls
import Testing

@testable import forebay_server

/// What follows from the ends of servers, by ends and times alone.
@Suite struct LifeTests {
    private let start: UInt64 = .seconds(1000)

    /// Takes in that a server that had served died by a signal `seconds` after the start.
    private func die(
        _ life: inout Life, _ signal: Int32, at seconds: Double, hasCulprit: Bool = false
    ) -> Bool {
        life.note(
            .signal(signal), at: start + UInt64(seconds * 1e9), hadServed: true,
            hasCulprit: hasCulprit)
    }

    @Test func aDeathFromOutsideHasASuccessorAtOnce() {
        var life = Life()
        #expect(life.arguments.isEmpty)
        for round in 0..<20 {
            let number = [SIGKILL, SIGTERM][round % 2]
            let isWithout = die(&life, number, at: Double(round) / 100)
            #expect(!isWithout)
            #expect(life.delay == 0)
            #expect(life.cause == .other)
            #expect(life.bypassUntil == nil)
        }
        #expect(life.arguments == ["--died", "other", "--died-at", "\(start + 190_000_000)"])
    }

    @Test func aServerThatNeverServedIsTriedAgainLaterAndLater() {
        var life = Life()
        var delays: [UInt64] = []
        for _ in 0..<8 {
            _ = life.note(.exit(1), at: start, hadServed: false, hasCulprit: false)
            delays.append(life.delay)
        }
        #expect(delays == [100, 200, 400, 800, 1600, 3200, 5000, 5000])
    }

    @Test(arguments: [SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGTRAP])
    func twoTrapsWithinSecondsDoWithoutTheCache(signal: Int32) {
        var life = Life()
        let first = die(&life, signal, at: 0)
        #expect(!first)
        #expect(life.cause == .trap)
        let second = die(&life, signal, at: 2)
        #expect(second)
        #expect(life.delay == 0)
        #expect(life.bypassUntil == start + .seconds(2) + Limits.firstBypass)
    }

    @Test func trapsFarApartAreTwoTroubles() {
        var life = Life()
        for round in 0..<5 {
            let isWithout = die(&life, SIGSEGV, at: Double(round) * 6)
            #expect(!isWithout)
        }
    }

    @Test func killsBetweenTrapsChangeNothing() {
        var life = Life()
        _ = die(&life, SIGSEGV, at: 0)
        _ = die(&life, SIGKILL, at: 1)
        let isWithout = die(&life, SIGSEGV, at: 2)
        #expect(isWithout)
        var other = Life()
        _ = die(&other, SIGSEGV, at: 0)
        let isWithoutByKill = die(&other, SIGKILL, at: 1)
        #expect(!isWithoutByKill)
    }

    @Test func aRequestToBlameIsAnsweredInstead() {
        var life = Life()
        _ = die(&life, SIGSEGV, at: 0)
        let second = die(&life, SIGSEGV, at: 1, hasCulprit: true)
        #expect(!second)
        // It was not that one after all.
        let third = die(&life, SIGSEGV, at: 2)
        #expect(third)
    }

    @Test func handingOverIsNoDeath() {
        var life = Life()
        _ = die(&life, SIGSEGV, at: 0)
        for second in 1...3 as ClosedRange<UInt64> {
            life.noteHandOver(since: start + .seconds(second))
            #expect(life.delay == 0)
            #expect(life.cause == .handOver)
            #expect(life.cause?.predecessor == .handedOver)
            #expect(life.diedAt == start + .seconds(second))
            #expect(life.bypassUntil == nil)
        }
    }

    @Test func troubleThatComesBackIsGivenTwiceTheTime() throws {
        var life = Life()
        var now = 0.0
        var lengths: [UInt64] = []
        for _ in 0..<8 {
            _ = die(&life, SIGABRT, at: now)
            _ = die(&life, SIGABRT, at: now + 1)
            let until = try #require(life.bypassUntil)
            lengths.append(until - (start + UInt64((now + 1) * 1e9)))
            life.endBypass(at: until)
            #expect(life.bypassUntil == nil)
            now = Double(until - start) / 1e9 + 20
        }
        #expect(lengths.map { $0 / .seconds(1) } == [10, 20, 40, 80, 160, 300, 300, 300])
        // After a long time without trouble it is a new one.
        now += Double(Limits.longestBypass) / 1e9
        _ = die(&life, SIGABRT, at: now)
        _ = die(&life, SIGABRT, at: now + 1)
        let until = try #require(life.bypassUntil)
        #expect(until - (start + UInt64((now + 1) * 1e9)) == Limits.firstBypass)
    }

    /// A server that dies without the cache too is not tried with it any sooner.
    @Test func trapsWithoutTheCachePutOffItsUse() throws {
        var life = Life()
        _ = die(&life, SIGSEGV, at: 0)
        _ = die(&life, SIGSEGV, at: 1)
        let again = die(&life, SIGSEGV, at: 9)
        #expect(!again)
        #expect(life.bypassUntil == start + .seconds(9) + Limits.firstBypass)
        #expect(life.delay > 0)
    }
}
