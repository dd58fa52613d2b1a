import Syscalls

/// A way by which an administrator is told.
package protocol AlertChannel: Sendable {
    /// Name of its section in the configuration.
    var name: String { get }
    /// What is told on it.
    var classes: Set<EventClass> { get }
    /// Delivers one message and returns once the other side has it. Takes at most about so many
    /// milliseconds.
    func send(_ alert: Alert, milliseconds: UInt64) throws(AlertFailure)
}

/// Why a message could not be delivered.
package struct AlertFailure: Error, Equatable, Sendable {
    /// A clause in plain words; holds no secret.
    package let reason: String

    package init(_ reason: String) { self.reason = reason }
}
