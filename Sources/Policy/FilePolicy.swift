/// What may be cached of a file (`user.forebay.cache`).
package enum ReadPolicy: UInt8, Sendable, CaseIterable {
    /// Cached and evicted as the eviction policy finds right.
    case normal = 1
    /// Never cached.
    case bypass = 2
    /// Cached, and kept when others are evicted.
    case pin = 3

    /// The name that users read and write.
    package var text: String {
        switch self {
        case .normal: "normal"
        case .bypass: "bypass"
        case .pin: "pin"
        }
    }

    package init?(text: some StringProtocol) {
        guard let match = Self.allCases.first(where: { $0.text == text }) else { return nil }
        self = match
    }
}

/// When a write is acknowledged (`user.forebay.policy`).
package enum WritePolicy: UInt8, Sendable, CaseIterable {
    /// When the datastore has it.
    case through = 1
    /// When the journal has it.
    case back = 2

    /// The name that users read and write.
    package var text: String {
        switch self {
        case .through: "through"
        case .back: "back"
        }
    }

    package init?(text: some StringProtocol) {
        guard let match = Self.allCases.first(where: { $0.text == text }) else { return nil }
        self = match
    }
}
