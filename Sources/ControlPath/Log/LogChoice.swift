import DataPath
import Devices
import Glibc
import Journal
import Policy
import Syscalls

/// What a mount may do about its log, looked at before anything is mounted: the log that is named
/// must be there and its own, and so must the one that may hold the datastore's latest writes.
package struct LogChoice: Sendable {
    private let options: MountOptions
    private let remembered: RememberedLog
    /// The log before it is left empty, whatever its mark says now.
    private var isEmptied = false
    /// The log that is named; nil when none is.
    let place: LogPlace?

    /// What the mount is to know.
    package struct Outcome: Sendable {
        /// A file that was made and has to go again if the mount fails.
        fileprivate var made: String?
        /// What an administrator is told although the mount goes on; empty when there is nothing.
        package fileprivate(set) var warning = ""

        /// Takes back what was made.
        package func takeBack() { if let made { unlink(made) } }
    }

    package init(_ options: MountOptions) {
        self.options = options
        remembered = RememberedLog(folder: options.state)
        place = options.log.map { LogPlace($0.path) }
    }

    /// Likewise for a mount that serves: the log that it has goes home before another is used.
    package func prepare(whenEmpty isEmptied: Bool) throws(Refusal) -> Outcome {
        var choice = self
        choice.isEmptied = isEmptied
        return try choice.prepare()
    }

    /// Refuses what cannot be mounted; makes, fills and formats a file that is not there and has a
    /// size. `isUnattended`: nobody reads a refusal, so the datastore is served without its log as
    /// long as nothing is missed. After a refusal everything is as it was.
    package func prepare(isUnattended: Bool = false) throws(Refusal) -> Outcome {
        var outcome = Outcome()
        guard let place else {
            outcome.warning = try judge(found: nil)
            return outcome
        }
        try place.device.checkOutside(options)
        guard place.device.isThere else {
            // First whether another log is missed: what is made here would not be it.
            outcome.warning = try judge(found: nil)
            if options.readOnly { return outcome }
            do throws(Refusal) {
                try make(place)
                outcome.made = place.path
            } catch {
                guard isUnattended || options.discardLog else { throw error }
                outcome.warning = withoutLog(error)
            }
            return outcome
        }
        let header: LogHeader
        do throws(Refusal) {
            header = try look(at: place, readOnly: false)
        } catch {
            // What is missed counts more than what is wrong with the device that is there.
            let warning = try judge(found: nil, problem: error)
            guard isUnattended || options.readOnly else { throw error }
            outcome.warning = warning.isEmpty ? withoutLog(error) : warning
            return outcome
        }
        outcome.warning = try judge(found: header.uuid)
        return outcome
    }

    /// The header of a log that may be used. Refuses what is not formatted, damaged or another
    /// mount's.
    func look(at place: LogPlace, readOnly: Bool) throws(Refusal) -> LogHeader {
        let header = try place.header(of: try place.open(readOnly: readOnly))
        try place.device.checkOwner(header.owner, of: options, what: "log")
        return header
    }

    /// Bytes of the file to be made.
    func sizeToMake(_ place: LogPlace) throws(Refusal) -> UInt64 {
        try place.device.sizeToMake(options.log?.size)
    }

    private func make(_ place: LogPlace) throws(Refusal) {
        try place.device.make(size: try sizeToMake(place)) { (device) throws(Refusal) in
            try place.fill(device)
            try place.format(device)
        }
    }

    private func withoutLog(_ error: Refusal) -> String {
        "\(error.what): \(error.why); the datastore is served without it, and writes wait for the"
            + " datastore"
    }

    // MARK: - What is missed

    /// Whether the log with this UUID (nil: none can be used) is the one with the latest writes.
    /// Answers what is to be said; refuses the mount when writes would be missed. `problem`: why a
    /// log that is there cannot be used.
    func judge(found: [UInt8]?, problem: Refusal? = nil) throws(Refusal) -> String {
        if isEmptied { return "" }
        let verdict: RememberedLog.Verdict
        do throws(Errno) {
            verdict = try remembered.verdict(found: found, options: options, isFirst: true)
        } catch {
            throw Refusal(
                "state folder '\(options.state)'", "cannot tell which log is in use: \(error)",
                hint: "see the disk that it lies on")
        }
        switch verdict {
        case .fine: return ""
        case .stale(let mark):
            return "\(mark.log) is not there: the latest writes may be missing in what is read"
        case .discarded(let mark):
            return "\(mark.loss) given up"
        case .missing(let mark): throw refusal(mark, found: found, problem: problem)
        }
    }

    private func refusal(_ mark: LogMark, found: [UInt8]?, problem: Refusal?) -> Refusal {
        let hint =
            "bring it back, or mount with 'ro' to read without them, with 'discard_log' to give"
            + " them up"
        if let problem {
            return Refusal(
                problem.what, "\(problem.why), and the latest writes may be in \(mark.log)",
                hint: hint)
        }
        guard found != nil, let place else {
            let what = mark.path.isEmpty ? "the log" : "log '\(mark.path)'"
            return Refusal(what, "is missing and may hold the latest writes", hint: hint)
        }
        return Refusal(
            "log '\(place.path)'", "is not the one that may hold the latest writes, \(mark.log)",
            hint: hint)
    }
}
