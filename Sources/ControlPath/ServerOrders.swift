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

    package init(_ text: String, afterwards: (@Sendable () -> Void)? = nil) {
        self.text = text
        self.afterwards = afterwards
    }
}
