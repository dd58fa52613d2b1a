import ControlPath
import Glibc
import Synchronization
import Syscalls

/// What the keeper tells the service manager that started it (sd_notify(3)): that the mount serves,
/// and again and again that somebody looks after it.
enum ServiceReport {
    private struct State {
        var isReady = false
        var nextBeat: UInt64 = 0
    }

    private static let state = Mutex(State())

    /// Nanoseconds between two signs of life, half of what WatchdogSec= allows; nil where nobody
    /// waits for any.
    private static let interval: UInt64? = getenv("WATCHDOG_USEC")
        .flatMap { UInt64(String(cString: $0)) }
        .map { $0 * 1000 / 2 }

    /// To be called ten times a second or so from the loop that looks after the server, and from
    /// nowhere else: a keeper that hangs must not be told from one that works. `isServing` once
    /// requests are answered.
    static func beat(isServing: Bool) {
        guard ServiceManager.isMainProcess else { return }
        let now = monotonicNanoseconds()
        let messages = state.withLock { state in
            var messages: [String] = []
            if isServing, !state.isReady {
                state.isReady = true
                messages.append("READY=1\nSTATUS=Serving\n")
            }
            if let interval, now >= state.nextBeat {
                state.nextBeat = now + interval
                messages.append("WATCHDOG=1\n")
            }
            return messages
        }
        for message in messages { ServiceManager.notify(message) }
    }
}
