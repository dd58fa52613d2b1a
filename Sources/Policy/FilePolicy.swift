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

extension WritePolicy {
    /// True for the names of files whose writes never wait in the journal unless the file itself is
    /// given a policy: locks of hypervisors (`.lck-*`, `*.lck`), which other hosts may have to see
    /// on the datastore, and memory that a hypervisor swaps out (`*.vswp`), which is large and
    /// worthless after a crash.
    package static func isExcepted(_ name: [UInt8]) -> Bool {
        name.starts(with: ".lck-".utf8) || ends(name, ".lck") || ends(name, ".vswp")
    }

    private static func ends(_ name: [UInt8], _ end: String) -> Bool {
        name.count >= end.utf8.count && name.suffix(end.utf8.count).elementsEqual(end.utf8)
    }
}
