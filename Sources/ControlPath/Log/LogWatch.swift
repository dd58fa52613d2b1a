import DataPath
import Policy
import Syscalls

/// Tells from what the journal reports whether an administrator should know: once when something
/// begins, and once when everything is well again.
package struct LogWatch: Sendable {
    private enum Trouble: CaseIterable {
        case failed
        case filling
        case old
    }

    /// Seconds that dirty data may wait.
    private let dirtyAge: UInt64
    /// Since when it has been above `dirty_max`, in seconds.
    private var fullSince: UInt64?
    private var told: Set<Trouble> = []

    /// `dirtyAge`: seconds that dirty data may wait in the log before it is told.
    package init(dirtyAge: UInt64 = Limits.dirtyAge) { self.dirtyAge = dirtyAge }

    /// Looks at a report; `now` in seconds of any clock that does not jump. To be called about
    /// once a second.
    package mutating func look(at report: LogReport, now: UInt64) -> [Event] {
        if report.dirtyMax > 0, report.dirtyBytes > report.dirtyMax {
            fullSince = fullSince ?? now
        } else {
            fullSince = nil
        }
        var events: [Event] = []
        var present: Set<Trouble> = []
        for trouble in Trouble.allCases {
            guard let text = text(of: trouble, report, now) else { continue }
            present.insert(trouble)
            if !told.contains(trouble) { events.append(Event(.log, .problem, text)) }
        }
        if present.isEmpty, !told.isEmpty {
            let text = "the log works, and what it holds goes to the datastore as it should"
            events.append(Event(.log, .recovered, text))
        }
        told = present
        return events
    }

    /// What is wrong; nil when it is not.
    private func text(of trouble: Trouble, _ report: LogReport, _ now: UInt64) -> String? {
        let dirty = "\(ByteSize.readable(report.dirtyBytes)) of \(report.dirtyFiles) files"
        switch trouble {
        case .failed:
            guard report.isPoisoned || report.state.hasPrefix("off") else { return nil }
            let rest = report.isAllHome ? "all data is home" : "\(dirty) are still in it"
            return "the log '\(report.path)' is not used: \(reason(report)); writes wait for the"
                + " datastore, \(rest)"
        case .filling:
            guard let fullSince, now >= fullSince + Limits.logFilling else { return nil }
            return "the log fills up and writers are slowed: it holds \(dirty), more than"
                + " \(ByteSize.readable(report.dirtyMax)), and the datastore takes"
                + " \(ByteSize.readable(report.destageRate)) a second"
        case .old:
            guard report.oldestSeconds > dirtyAge, !report.isAllHome else { return nil }
            return "data waits in the log for more than \(dirtyAge) s, \(dirty): see whether the"
                + " datastore takes writes"
        }
    }

    private func reason(_ report: LogReport) -> String {
        let text = report.state.hasPrefix("off: ") ? String(report.state.dropFirst(5)) : ""
        return text.isEmpty ? "the device failed" : text
    }

    // MARK: - Configuration

    /// `dirty_age` of a mount's configuration of alerts; what is not there, or cannot be used, is
    /// the default: `forebay alert test` refuses it by name.
    package static func dirtyAge(name: String) -> UInt64 {
        for path in AlertFile.paths(name: name) {
            guard let text = TextFile.read(path, limit: Limits.alertFile) else { continue }
            return dirtyAge(in: text)
        }
        return Limits.dirtyAge
    }

    /// Likewise of a text.
    package static func dirtyAge(in text: String) -> UInt64 {
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0.isWhitespace || $0 == "=" })
            if words.first?.hasPrefix("[") == true { break }
            guard words.first == "dirty_age", words.count > 1 else { continue }
            let digits = words[1].prefix { $0 != "#" }
            if let age = UInt64(digits), (1...86400).contains(age) { return age }
        }
        return Limits.dirtyAge
    }
}
