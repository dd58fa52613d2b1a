import Policy

/// The kernel's NFS server.
extension Preflight {
    private var subject: String { "NFS server" }

    /// Whether it runs, with enough threads: each request that waits for the datastore holds one.
    func serverThreads() -> PreflightCheck {
        let name = "nfs-threads"
        let (running, wanted) = (files.serverThreads, Limits.serverThreads)
        guard running > 0 else {
            return .warn(
                name, subject, "does not run",
                mend: "apt-get install nfs-kernel-server, systemctl enable --now nfs-server")
        }
        guard running >= wanted else {
            return .warn(
                name, subject,
                "has \(running) threads: so many requests that wait for the datastore stop all"
                    + " others",
                mend:
                    "echo \(wanted) > /proc/fs/nfsd/threads, and threads=\(wanted) below [nfsd] in"
                    + " /etc/nfs.conf")
        }
        // What runs now may have been set by hand.
        let configured = serverConfiguration.value("nfsd", "threads").flatMap { Int($0) } ?? 8
        guard configured >= wanted else {
            return .warn(
                name, subject, "has \(running) threads now, and \(configured) after its next start",
                mend: "write threads=\(wanted) below [nfsd] in /etc/nfs.conf")
        }
        return .pass(name, subject, "has \(running) threads")
    }

    /// Versions 3 and 4.1 of one datastore are two datastores to ESXi.
    func serverVersions() -> PreflightCheck {
        let name = "nfs-versions"
        let versions = servedVersions
        let (three, four) = (versions.contains("3"), versions.contains { $0.hasPrefix("4.") })
        let restart = "below [nfsd] in /etc/nfs.conf, then 'systemctl restart nfs-server'"
        if three && four {
            return .warn(
                name, subject,
                "serves versions 3 and 4: hypervisors that mount one datastore both ways do not see"
                    + " each other's locks",
                mend: "write vers4=n (or vers3=n) \(restart)")
        }
        if three || four {
            return .pass(name, subject, "serves version \(three ? "3" : "4.1 and later") only")
        }
        return .warn(
            name, subject, "serves neither version 3 nor 4.1",
            mend: "write vers3=y or vers4.1=y \(restart)")
    }

    /// Versions that are on: now, or at the next start when it does not run.
    private var servedVersions: Set<String> {
        let text = TextFile.read("\(files.nfsServer)/versions") ?? ""
        let running = text.split(whereSeparator: \.isWhitespace).filter { $0.hasPrefix("+") }
        if !running.isEmpty { return Set(running.map { String($0.dropFirst()) }) }
        let configuration = serverConfiguration
        var versions: Set<String> = []
        if configuration.isOn("nfsd", "vers3", otherwise: true) { versions.insert("3") }
        let four = configuration.isOn("nfsd", "vers4", otherwise: true)
        for minor in ["4.1", "4.2"]
        where configuration.isOn("nfsd", "vers\(minor)", otherwise: four) {
            versions.insert(minor)
        }
        return versions
    }

    /// Version 4 answers no open for so long after the server's start, unless it knows that every
    /// client is back.
    func serverGrace() -> PreflightCheck {
        let name = "nfs-grace"
        let grace = "\(subject)'s grace period"
        guard servedVersions.contains(where: { $0.hasPrefix("4.") }) else {
            return .pass(name, grace, "does not matter to version 3")
        }
        let text =
            TextFile.word("\(files.nfsServer)/nfsv4gracetime")
            ?? serverConfiguration.value("nfsd", "grace-time")
        let seconds = text.flatMap { Int($0) } ?? 90
        guard seconds > Limits.graceTime else {
            return .pass(name, grace, "is \(seconds) seconds")
        }
        return .warn(
            name, grace,
            "is \(seconds) seconds: after a restart of this machine opens may wait so long, and"
                + " disks of virtual machines time out after 30 to 60",
            mend: "write grace-time=\(Limits.graceTime) and lease-time=\(Limits.graceTime) below"
                + " [nfsd] in /etc/nfs.conf")
    }

    private var serverConfiguration: ServerConfiguration { ServerConfiguration(files) }
}
