import Passthrough
import Policy
import Syscalls

/// A moment in which nothing changes at the datastore, for a snapshot of it.
final class Quiescence: Sendable {
    /// Until when changes wait, monotonic nanoseconds; 0 when none does.
    private let end = Condition<UInt64>(0)

    var isActive: Bool { end.withLock { $0 > monotonicNanoseconds() } }

    func begin(until deadline: UInt64) { end.update { $0 = deadline } }

    func finish() { end.update { $0 = 0 } }

    /// Waits until it is over.
    func wait() {
        while true {
            let deadline = end.withLock { $0 }
            guard deadline > monotonicNanoseconds() else { return }
            _ = end.wait(until: deadline) { $0 == deadline ? nil : true }
        }
    }
}

extension Datastore {
    /// Brings all that is in the log and in the kernel's cache to the datastore and lets nothing
    /// change there until `release`, or for twice `seconds` when nobody calls it: writes into the
    /// log go on, others wait. Throws ETIMEDOUT, and lets all go on, when it takes longer than
    /// `seconds`.
    package func quiesce(seconds: Double) throws(Errno) {
        let limit = UInt64(min(max(seconds, 0), 86_400) * 1e9)
        let deadline = monotonicNanoseconds() + limit
        quiescence.begin(until: deadline + limit)
        do throws(Errno) {
            if let writeBack {
                try writeBack.drain(nil, until: deadline)
                guard writeBack.destager.pause(until: deadline) else { throw .timedOut }
            }
            try syncAll(.root)
            if monotonicNanoseconds() >= deadline { throw .timedOut }
        } catch {
            release()
            throw error
        }
    }

    /// Ends a quiescence.
    package func release() {
        writeBack?.destager.resume()
        quiescence.finish()
    }

    /// Lets a change on its way to the datastore wait while nothing may change there.
    func awaitRelease() throws(Errno) {
        guard quiescence.isActive else { return }
        guard WaitMode.mayWait else { throw .mustWait }
        quiescence.wait()
    }
}
