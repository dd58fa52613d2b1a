import Policy
import Syscalls

/// Lets writes wait for their marks no longer than a healthy device takes: a thread makes them
/// durable, and whoever waits gives up when it hangs. Without the thread each does it itself.
final class MarkCommits: Sendable {
    private struct State {
        /// Up to which ticket of the log somebody waits, what is durable, and what failed.
        var wanted: UInt64 = 0
        var durable: UInt64 = 0
        var failed: UInt64 = 0
        var isRunning = false
        var isStopping = false
    }

    private let state = Condition(State())

    /// Waits until a ticket is durable. False when it cannot be, or the device takes too long; nil
    /// when no thread runs.
    func wait(for ticket: UInt64) -> Bool? {
        let isRunning = state.update { state in
            if state.isRunning { state.wanted = max(state.wanted, ticket) }
            return state.isRunning
        }
        guard isRunning else { return nil }
        return state.wait(until: monotonicNanoseconds() + Limits.flashHang) { state in
            if state.durable >= ticket { return true }
            return state.failed >= ticket ? false : nil
        } ?? false
    }

    /// A thread is about to run, or could not be started.
    func setRunning(_ isRunning: Bool) { state.withLock { $0.isRunning = isRunning } }

    /// The body of the thread: returns after `stop`. `commit` answers whether all up to a ticket is
    /// durable.
    func run(_ commit: (UInt64) -> Bool) {
        while let ticket = next() {
            let isDurable = commit(ticket)
            state.update { state in
                if isDurable {
                    state.durable = max(state.durable, ticket)
                } else {
                    state.failed = max(state.failed, ticket)
                }
            }
        }
        state.withLock { $0.isRunning = false }
    }

    private enum Work {
        case commit(UInt64)
        case stop
    }

    private func next() -> UInt64? {
        let work = state.wait { state -> Work? in
            if state.isStopping { return .stop }
            let isWanted = state.wanted > max(state.durable, state.failed)
            return isWanted ? .commit(state.wanted) : nil
        }
        guard case .commit(let ticket)? = work else { return nil }
        return ticket
    }

    func stop() { state.update { $0.isStopping = true } }
}

extension FlashTier {
    /// Starts a thread that makes marks of writes durable, so that a device that hangs in writes is
    /// given up after `Limits.flashHang`; it ends once the tier is closed.
    package func startCommits() {
        commits.setRunning(true)
        do throws(Errno) {
            try Thread(name: "flash-marks") { self.commitMarks() }.detach()
        } catch {
            // Without it each write waits for the device itself.
            commits.setRunning(false)
        }
    }

    private func commitMarks() {
        commits.run { ticket in
            do throws(Errno) {
                try log.commit(ticket)
                return true
            } catch {
                giveUp("it fails: \(error)")
                return false
            }
        }
    }

    /// Returns when a mark is durable, or the device was given up.
    func makeDurable(_ ticket: UInt64) {
        switch commits.wait(for: ticket) {
        case true?: return
        case false?: giveUp("it does not answer")
        case nil:
            do throws(Errno) {
                try log.commit(ticket)
            } catch {
                giveUp("it fails: \(error)")
            }
        }
    }

    /// Gives the device up when reads of it hang; to be called a few times a second. Waits for no
    /// device.
    package func judge() {
        if phase == .on, health.isHung(monotonicNanoseconds()) { giveUp("it does not answer") }
    }
}
