import Policy

/// One requirement of a mount, and whether it is met.
package struct PreflightCheck: Equatable, Sendable {
    package enum Result: String, Sendable {
        case pass
        /// It works, but worse than it could, or it could not be found out.
        case warn
        case fail
    }

    /// A short name, the same in every version.
    package let name: String
    package let result: Result
    /// What was looked at, for a refusal's line.
    package let subject: String
    package let reason: String
    /// The command or change that mends it; empty when it passes.
    package let mend: String

    /// A requirement that is met.
    package static func pass(_ name: String, _ subject: String, _ reason: String) -> PreflightCheck
    {
        PreflightCheck(name: name, result: .pass, subject: subject, reason: reason, mend: "")
    }

    /// A requirement that is not met and not needed.
    package static func warn(
        _ name: String, _ subject: String, _ reason: String, mend: String
    ) -> PreflightCheck {
        PreflightCheck(name: name, result: .warn, subject: subject, reason: reason, mend: mend)
    }

    /// A requirement that is not met.
    package static func fail(
        _ name: String, _ subject: String, _ reason: String, mend: String
    ) -> PreflightCheck {
        PreflightCheck(name: name, result: .fail, subject: subject, reason: reason, mend: mend)
    }

    /// The result that counts for all of them.
    package static func worst(of checks: [PreflightCheck]) -> Result {
        if checks.contains(where: { $0.result == .fail }) { return .fail }
        return checks.contains { $0.result == .warn } ? .warn : .pass
    }

    /// The check as a JSON object.
    package var json: String {
        var writer = JSONWriter()
        writer.add("name", name)
        writer.add("result", result.rawValue)
        writer.add("subject", subject)
        writer.add("reason", reason)
        writer.add("mend", mend)
        return writer.finish()
    }
}

/// Looks at everything that a mount needs and changes nothing; in particular it never writes into
/// the datastore.
package struct Preflight: Sendable {
    let options: MountOptions
    let table: MountTable
    let runFolder: RunFolder
    /// Folders that must be mounts, or what lies below them is not the datastore.
    let expectedMounts: [String]
    let files: SystemFiles

    /// Milliseconds that the datastore may take to answer one question.
    static let patience: UInt64 = 5000

    /// `options` as they will be given to the mount, with paths that `AbsolutePath` made.
    /// `expectedMounts` are those of fstab(5) unless given.
    package init(
        options: MountOptions, table: MountTable = .current(), runFolder: RunFolder = RunFolder(),
        expectedMounts: [String]? = nil, files: SystemFiles = SystemFiles()
    ) {
        self.options = options
        self.expectedMounts = expectedMounts ?? ExpectedMounts.above(options.backing)
        self.table = table
        self.runFolder = runFolder
        self.files = files
    }

    /// What a mount cannot do without, the most telling first. Stops at the first that fails.
    package func requirements() -> [PreflightCheck] {
        let all: [() -> PreflightCheck] = [
            user, fuseDevice, backingMounted, backing, mountpoint, apart, mountpointInUse,
            nameInUse, statePlace,
        ]
        var done: [PreflightCheck] = []
        for check in all {
            done.append(check())
            if done.last?.result == .fail { return done }
        }
        if let choice = FlashChoice(options) { done.append(flashPlace(choice)) }
        if let place = LogChoice(options).place { done.append(logPlace(place)) }
        return done
    }

    /// The refusal that a mount answers when a requirement fails, exit status 1.
    package func refusal() -> Refusal? {
        requirements().first { $0.result == .fail }.map {
            Refusal($0.subject, $0.reason, hint: $0.mend)
        }
    }

    /// Everything, for the administrator. What asks the datastore is left out once it does not
    /// answer.
    package func all() -> [PreflightCheck] {
        var checks = [user(), fuseDevice()]
        checks.append(backingMounted())
        let reachable = backing()
        checks.append(reachable)
        if reachable.result != .fail { checks += [access(), handles(), nestedMounts()] }
        checks += backingMount()
        let place = mountpoint()
        checks.append(place)
        if place.result != .fail { checks += [apart(), mountpointInUse(), mountpointEmpty()] }
        checks += [
            nameInUse(), statePlace(), stateDisk(), memory(), lockedMemory(), openFiles(),
            kernel(), requestTimeout(),
        ]
        return checks + flash() + log() + services()
    }

    /// How the datastore is mounted; asks it nothing.
    package func backingMount() -> [PreflightCheck] {
        [backingOptions(), backingConnections(), backingAtBoot()]
    }

    /// What serves the mount to hypervisors and brings it back after a restart.
    package func services() -> [PreflightCheck] {
        exports() + [
            neighbours(), serverThreads(), serverVersions(), serverGrace(), mountAtBoot(), alerts(),
        ]
    }
}
