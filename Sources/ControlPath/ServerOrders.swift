import Policy

/// What the control socket asks of the server process itself, beside its datastore.
package protocol ServerOrders: Sendable {
    /// Changes options, each `KEY=VALUE`, here and for every successor.
    func set(_ changes: [String]) throws(Refusal) -> OrderResult
    /// Leaves the cache out of the way, or uses it again.
    func bypass(_ isOn: Bool) throws(Refusal) -> OrderResult
    /// Hands over to the program that is installed now, after it has said that it can go on.
    func upgrade() throws(Refusal) -> OrderResult
}

/// What came of an order.
package struct OrderResult: Sendable {
    /// Members of the answer beside `done`.
    package var members: [(name: String, text: String)] = []
    /// To be done once the client has the answer: the end of this server. The client then waits for
    /// the successor.
    package var afterwards: (@Sendable () -> Void)?

    package init(
        members: [(name: String, text: String)] = [], afterwards: (@Sendable () -> Void)? = nil
    ) {
        self.members = members
        self.afterwards = afterwards
    }
}

/// The answer to a line of the control socket, and what follows once it is sent.
package struct ControlAnswer: Sendable {
    package let text: String
    package let afterwards: (@Sendable () -> Void)?
    /// What lasts beyond the answer.
    package let hold: ControlHold?

    package init(
        _ text: String, afterwards: (@Sendable () -> Void)? = nil, hold: ControlHold? = nil
    ) {
        self.text = text
        self.afterwards = afterwards
        self.hold = hold
    }
}

/// What the server does for as long as a client keeps its connection and says nothing more.
package struct ControlHold: Sendable {
    /// Seconds after which it ends by itself.
    package let seconds: UInt64
    /// Ends it; true when the client did, false when the time was over. Answers what the client is
    /// told then.
    package let end: @Sendable (_ isByClient: Bool) -> String

    package init(seconds: UInt64, end: @escaping @Sendable (_ isByClient: Bool) -> String) {
        self.seconds = seconds
        self.end = end
    }
}
