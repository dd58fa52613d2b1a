import FuseServer
import Glibc
import Policy
import Syscalls

/// How the servers of a mount lived so far, and what follows from it: when the next one starts,
/// what it is told, and whether it does without the cache. Knows of nothing but what it is told.
struct Life: Equatable {
    /// Why a server ended, in the words that its successor is told it by.
    enum Cause: String {
        /// By a signal that a process sends itself; a request may be the reason.
        case trap
        /// By a signal from outside, or it hung.
        case other
        /// It wanted to.
        case handOver = "handover"

        var predecessor: Predecessor {
            switch self {
            case .trap: .trap
            case .other: .other
            case .handOver: .handedOver
            }
        }
    }

    /// Nil before the first end.
    private(set) var cause: Cause?
    /// Since when nobody serves, monotonic nanoseconds.
    private(set) var diedAt: UInt64 = 0
    /// Milliseconds to wait before the next start.
    private(set) var delay: UInt64 = 0
    /// When the full server is tried again, monotonic nanoseconds; nil while it is in use.
    private(set) var bypassUntil: UInt64?
    /// How long the last bypass was to be, and when it ended; nanoseconds.
    private var bypassLength: UInt64 = 0
    private var bypassEnd: UInt64 = 0
    private var lastTrap: UInt64?

    /// Signals by which a process ends itself.
    static let traps: Set<Int32> = [SIGILL, SIGTRAP, SIGSEGV, SIGABRT, SIGBUS, SIGFPE]

    /// Takes in that an earlier keeper died, and its server with it, which had shown its last sign
    /// of life at that monotonic time.
    mutating func noteLoss(since time: UInt64) {
        cause = .other
        diedAt = time
    }

    /// Takes in that a server ended so at the monotonic time `now`. `hadServed`: it had shown a
    /// sign of life. `hasCulprit`: one request was in progress at this death and at an earlier one;
    /// the next server answers it with an error.
    ///
    /// A server that had served and was killed from outside has a successor at once. Otherwise the
    /// next start would probably end as the last one, so each waits longer, up to five seconds.
    ///
    /// True when the cache is to be left out of the way from now on: two traps within seconds, and
    /// no request to blame for them.
    mutating func note(
        _ end: ServerProcess.End, at now: UInt64, hadServed: Bool, hasCulprit: Bool
    ) -> Bool {
        let sinceLast = now &- diedAt
        diedAt = now
        guard case .signal(let number) = end, Self.traps.contains(number) else {
            cause = .other
            wait(isExpected: hadServed, mayBeSoon: hadServed)
            return false
        }
        cause = .trap
        wait(isExpected: hadServed && sinceLast > .seconds(30), mayBeSoon: hadServed)
        let isRepeated = lastTrap.map { now &- $0 <= Limits.trapWindow } ?? false
        lastTrap = now
        if let until = bypassUntil {
            bypassUntil = max(until, now &+ bypassLength)
            return false
        }
        guard isRepeated, !hasCulprit else { return false }
        beginBypass(at: now)
        return true
    }

    private mutating func wait(isExpected: Bool, mayBeSoon: Bool) {
        if isExpected {
            delay = 0
        } else if delay == 0, mayBeSoon {
            delay = 100
        } else {
            delay = min(max(100, delay * 2), 5000)
        }
    }

    /// Takes in that a server ended because it wanted to; it read no requests since `time`.
    mutating func noteHandOver(since time: UInt64) {
        cause = .handOver
        diedAt = time
        delay = 0
    }

    /// A trouble that comes back soon after the last one is given twice the time.
    mutating func beginBypass(at now: UInt64) {
        let isBack = bypassLength > 0 && now &- bypassEnd < Limits.longestBypass
        bypassLength = isBack ? min(bypassLength * 2, Limits.longestBypass) : Limits.firstBypass
        bypassUntil = now &+ bypassLength
        delay = 0
    }

    /// The full server is in use from now on.
    mutating func endBypass(at now: UInt64) {
        bypassUntil = nil
        bypassEnd = now
    }
}
