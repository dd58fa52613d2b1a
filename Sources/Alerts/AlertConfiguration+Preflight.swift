import ControlPath
import Policy

extension AlertConfiguration {
    /// Whether an administrator will hear of problems with a mount.
    package static func preflight(name: String) -> PreflightCheck {
        let title = "alerts"
        guard let path = path(name: name) else {
            return .warn(
                title, "alerts of '\(name)'", "have no channel: nobody is told of a problem",
                mend: "write /etc/forebay/alerts.toml")
        }
        do throws(Refusal) {
            let channels = try AlertConfiguration(path: path).channels.map(\.name)
            guard !channels.isEmpty else {
                return .warn(
                    title, "'\(path)'", "has no channel: nobody is told of a problem",
                    mend: "add a channel, see forebay(8)")
            }
            return .pass(title, "'\(path)'", "has \(channels.joined(separator: ", "))")
        } catch {
            return .fail(
                title, error.what, error.why,
                mend: error.hint.isEmpty ? "correct '\(path)'" : error.hint)
        }
    }
}
