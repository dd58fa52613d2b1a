/// Whether the cache is left out of the way; the numbers are part of the format of the request
/// slots.
package enum BypassMode: UInt64, Sendable {
    case off = 0
    /// Somebody asked for it; only they end it.
    case byCommand = 1
    /// Servers died one after the other; the full one is tried again by itself.
    case automatic = 2

    /// The name that `status` shows.
    package var text: String {
        switch self {
        case .off: "off"
        case .byCommand: "on"
        case .automatic: "automatic"
        }
    }

    /// Why the cache is left out of the way; nil when it is not.
    package var reason: String? {
        switch self {
        case .off: nil
        case .byCommand: "by command"
        case .automatic: "the server crashed repeatedly; the cache is tried again by itself"
        }
    }
}
