import Policy

/// How the datastore itself is mounted.
extension Preflight {
    private var subject: String { "backing '\(options.backing)'" }

    /// An option of an NFS mount that makes trouble.
    private struct Trouble {
        let options: Set<String>
        let reason: String
        let mend: String
    }

    /// The worst first: one is told.
    private static let troubles = [
        Trouble(
            options: ["soft", "softerr"],
            reason: "is a soft mount: a slow filer ends in errors and lost writes",
            mend: "mount it with hard"),
        Trouble(
            options: ["vers=4.0", "vers=2"],
            reason: "speaks an old NFS version, which recovers badly after a restart of the filer",
            mend: "mount it with vers=3 or vers=4.1 or later"),
        Trouble(
            options: ["proto=udp", "proto=udp6"],
            reason: "uses UDP, which mixes up large requests on fast networks",
            mend: "mount it with proto=tcp"),
        Trouble(
            options: ["noac", "sync"], reason: "is mounted with noac or sync, which is slow",
            mend: "mount it without them"),
        Trouble(
            options: ["lookupcache=none"],
            reason: "asks the filer for every name again (lookupcache)",
            mend: "mount it without lookupcache="),
        Trouble(
            options: ["fsc"],
            reason: "has a second cache below Forebay's (fsc), which costs disk and saves nothing",
            mend: "mount it without fsc"),
    ]

    /// Options of the datastore's own mount that make trouble.
    func backingOptions() -> PreflightCheck {
        let name = "backing-options"
        guard let entry = table.entry(containing: options.backing) else {
            return .warn(name, subject, "its mount cannot be found", mend: "mount /proc")
        }
        if entry.type == "fuse.forebay" {
            return .warn(
                name, subject, "is a mount of Forebay: its cache would be cached",
                mend: "name the datastore itself")
        }
        guard entry.type.hasPrefix("nfs") else {
            return .pass(name, subject, "is on \(entry.type)")
        }
        let set = Set(entry.superOptions + entry.options)
        if let trouble = Self.troubles.first(where: { !$0.options.isDisjoint(with: set) }) {
            return .warn(name, subject, trouble.reason, mend: trouble.mend)
        }
        for key in ["rsize", "wsize"] {
            if let size = Self.number(key, in: set), size < Limits.nfsRequestSize {
                return .warn(
                    name, subject, "sends requests of \(size) bytes (\(key)), smaller than needed",
                    mend: "mount it with \(key)=1048576, if the filer takes it")
            }
        }
        return .pass(name, subject, "is on \(entry.type), hard")
    }

    /// One connection carries only so much, and a request waits in it behind all before it.
    func backingConnections() -> PreflightCheck {
        let name = "backing-connections"
        guard let entry = table.entry(containing: options.backing), entry.type.hasPrefix("nfs")
        else { return .pass(name, subject, "is not on NFS") }
        let count = Self.number("nconnect", in: Set(entry.superOptions)) ?? 1
        if count > 1 { return .pass(name, subject, "has \(count) connections to the filer") }
        return .warn(
            name, subject,
            "has one connection to the filer, in which small requests wait for large",
            mend: "mount it with nconnect=4")
    }

    private static func number(_ key: String, in options: Set<String>) -> Int? {
        options.first { $0.hasPrefix("\(key)=") }.flatMap { Int($0.dropFirst(key.count + 1)) }
    }
}
