import Glibc
import Policy
import Syscalls

/// Brings messages to channels: each channel has a thread of its own, so that one that hangs holds
/// up no other, and each attempt and each channel has its time.
package struct Dispatch: Sendable {
    private let channels: [any AlertChannel]
    /// Milliseconds of one attempt, and of all that one channel does.
    private let attempt: UInt64
    private let patience: UInt64

    package init(
        _ channels: [any AlertChannel], attempt: UInt64 = Limits.alertAttempt * 1000,
        patience: UInt64 = Limits.alertPatience * 1000
    ) {
        self.channels = channels
        self.attempt = attempt
        self.patience = patience
    }

    /// What one channel could not deliver.
    package struct Loss: Equatable, Sendable {
        package let channel: String
        package let alert: Alert
        package let reason: String
    }

    /// Delivers messages in their order on every channel that tells their class, and answers when
    /// all channels are done. A failed delivery is repeated after a pause. `state` keeps other
    /// processes from the same channels meanwhile.
    package func deliver(_ alerts: [Alert], state: AlertState?) -> [Loss] {
        let losses = Condition<[Loss]>([])
        var threads: [Thread] = []
        for (number, channel) in channels.enumerated() {
            let wanted = alerts.filter { channel.classes.contains($0.event.eventClass) }
            guard !wanted.isEmpty else { continue }
            let work: @Sendable () -> Void = {
                let lost = deliver(wanted, on: channel, number, state)
                losses.withLock { $0 += lost }
            }
            if let thread = try? Thread(name: channel.name, work) {
                threads.append(thread)
            } else {
                work()
            }
        }
        for thread in threads { thread.join() }
        return losses.withLock { $0 }
    }

    private func deliver(
        _ alerts: [Alert], on channel: any AlertChannel, _ number: Int, _ state: AlertState?
    ) -> [Loss] {
        let deadline = monotonicNanoseconds() + .milliseconds(patience)
        func loss(_ alert: Alert, _ reason: String) -> Loss {
            Loss(channel: channel.name, alert: alert, reason: reason)
        }
        if let state, !state.takeChannel(number, until: deadline) {
            return alerts.map { loss($0, "earlier messages are still under way") }
        }
        defer { state?.leaveChannel(number) }
        return alerts.compactMap { alert in
            deliver(alert, on: channel, deadline).map { loss(alert, $0) }
        }
    }

    /// Answers why it failed; nil when it did not.
    private func deliver(
        _ alert: Alert, on channel: any AlertChannel, _ deadline: UInt64
    ) -> String? {
        var reason = "no time is left"
        var pause: UInt64 = 1000
        for number in 1...Limits.alertAttempts {
            let now = monotonicNanoseconds()
            guard now < deadline else { break }
            let left = (deadline - now) / .milliseconds(1) + 1
            do throws(AlertFailure) {
                try channel.send(alert, milliseconds: min(attempt, left))
                return nil
            } catch {
                reason = error.reason
            }
            guard number < Limits.alertAttempts,
                monotonicNanoseconds() + .milliseconds(pause) < deadline
            else { break }
            sleep(milliseconds: pause)
            pause *= 3
        }
        return reason
    }
}
