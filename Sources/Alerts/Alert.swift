import ControlPath
import Glibc
import Syscalls

/// An event as the channels tell it: with the mount, the machine and the time.
package struct Alert: Equatable, Sendable {
    /// The mount's name and place; the place is empty when it is not known.
    package let mount: String
    package let mountpoint: String
    /// Name of this machine.
    package let host: String
    package let event: Event
    /// Events of the class since the message before, which were not told one by one.
    package let suppressed: UInt64
    /// Seconds since 1970.
    package let time: Int

    /// Control characters in any of the texts become spaces: they must not end a line of a
    /// message.
    package init(
        mount: String, mountpoint: String, host: String, event: Event, suppressed: UInt64 = 0,
        time: Int
    ) {
        self.mount = Self.clean(mount)
        self.mountpoint = Self.clean(mountpoint)
        self.host = Self.clean(host)
        self.event = Event(event.eventClass, event.state, Self.clean(event.text))
        self.suppressed = suppressed
        self.time = time
    }

    private static func clean(_ text: String) -> String {
        var clean = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let isControl = scalar.properties.generalCategory == .control
            clean.append(isControl ? " " : scalar)
        }
        return String(clean)
    }

    /// This machine's name (gethostname(2)).
    package static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
        let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    // MARK: - Forms

    /// The time in a format of strftime(3), in UTC.
    package func time(_ format: String) -> String {
        var seconds = time_t(time)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, format, &parts)
        return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `[forebay] HOST NAME: STATE: TEXT`.
    package var title: String {
        "[forebay] \(host) \(mount): \(event.state.rawValue): \(event.text)"
    }

    /// The parts by name, in the order in which people read them.
    package var fields: [(name: String, value: String)] {
        [
            ("mount", mount), ("mountpoint", mountpoint), ("host", host),
            ("class", event.eventClass.rawValue), ("state", event.state.rawValue),
            ("text", event.text), ("suppressed", String(suppressed)),
            ("time", time("%Y-%m-%dT%H:%M:%SZ")),
        ]
    }

    /// One JSON object on one line.
    package var json: String {
        var writer = JSONWriter()
        for (name, value) in fields {
            if name == "suppressed" {
                writer.add(name, suppressed)
            } else {
                writer.add(name, value)
            }
        }
        return writer.finish()
    }
}
