import ControlPath
import Glibc
import Policy
import Syscalls

/// The alert channels of a mount, as its configuration describes them.
package struct AlertConfiguration: Sendable {
    /// Seconds between two messages of a class.
    package let interval: UInt64
    package let channels: [any AlertChannel]

    /// Where the channels of a mount are configured; nil when they are not.
    package static func path(name: String) -> String? {
        AlertFile.paths(name: name).first { access($0, F_OK) == 0 }
    }

    /// Reads a file. Throws a refusal with exit status 2 that names file and key.
    package init(path: String) throws(Refusal) {
        guard let text = TextFile.read(path, limit: Limits.alertFile) else {
            throw .usage(path, "cannot be read")
        }
        try self.init(parsing: text, path: path)
    }

    /// Reads a text as if it stood in a file of that path.
    package init(parsing text: String, path: String) throws(Refusal) {
        var file = try ConfigurationSection(parsing: text, file: path)
        interval = UInt64(
            try file.number("interval", in: 1...86400, else: Int(Limits.alertInterval)))
        // The server reads it by itself; here it is only looked at.
        _ = try file.number("dirty_age", in: 1...86400, else: Int(Limits.dirtyAge))
        var channels: [any AlertChannel] = []
        if var section = try file.section("mail") {
            channels.append(try MailChannel(&section))
            try section.finish()
        }
        if var section = try file.section("snmp") {
            channels.append(try TrapChannel(&section))
            try section.finish()
        }
        if var section = try file.section("webhook") {
            channels.append(try WebhookChannel(&section))
            try section.finish()
        }
        if var section = try file.section("script") {
            channels.append(try ScriptChannel(&section))
            try section.finish()
        }
        try file.finish()
        self.channels = channels
    }
}
