/// What `forebay set` changes while a mount serves: the tiers, the journal and the timeouts. The
/// changes are text for `-o`, kept apart from what the mount was given, and win over it.
package enum RuntimeOptions {
    /// The options that can be changed.
    package static let keys = [
        "ram", "flash", "flash_dwpd", "log", "write", "destage_delay", "destage_order",
        "dirty_max", "attr_timeout", "backend_timeout",
    ]

    /// A mount's options with changes applied, each `KEY=VALUE`; nothing is changed by half.
    /// Throws a refusal with exit status 2.
    package static func apply(
        _ changes: [String], to options: MountOptions,
        memory: UInt64 = MountOptionsParser.machineMemory
    ) throws(Refusal) -> MountOptions {
        let parts = split(changes)
        guard !parts.isEmpty else {
            throw .usage("set", "nothing is to be changed", hint: "write for example ram=8G")
        }
        // A value that a mount could not have is refused first, with the reason that mount gives.
        let changed = try MountOptionsParser.parse(
            backing: options.backing, mountpoint: options.mountpoint,
            options: [options.optionText] + parts, memory: memory)
        for part in parts where !keys.contains(key(part)) {
            throw .usage(
                "option '\(part)'", "cannot be changed while it is mounted",
                hint: "unmount and mount again")
        }
        return changed
    }

    /// The text that has both earlier and new changes, of each key the last.
    package static func merge(_ changes: [String], into earlier: String) -> String {
        var merged: [String] = []
        for part in split([earlier] + changes) {
            merged.removeAll { key($0) == key(part) }
            merged.append(part)
        }
        return merged.joined(separator: ",")
    }

    private static func split(_ texts: [String]) -> [String] {
        texts.flatMap { $0.split(separator: ",").map(String.init) }
    }

    private static func key(_ part: String) -> String { String(part.prefix { $0 != "=" }) }
}
