import Glibc

/// Lines for the service's log: standard error, each with the level prefix that the system's
/// journal understands (sd-daemon(3)). One write(2) a line, so that threads do not mix.
package enum SystemLog {
    package enum Level: Int, Sendable {
        case error = 3
        case warning = 4
        case notice = 5
        case info = 6
    }

    /// Writes one line; line feeds in the text become spaces.
    package static func write(_ level: Level, _ text: String) {
        var bytes = Array("<\(level.rawValue)>forebay: ".utf8)
        bytes.append(contentsOf: text.utf8.map { $0 == 10 ? 32 : $0 })
        bytes.append(10)
        _ = Glibc.write(2, bytes, bytes.count)
    }

    package static func error(_ text: String) { write(.error, text) }
    package static func warning(_ text: String) { write(.warning, text) }
    package static func notice(_ text: String) { write(.notice, text) }
    package static func info(_ text: String) { write(.info, text) }
}
