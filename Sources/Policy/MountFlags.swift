import Glibc

/// The options of mount(8) that mean the same for every file system, and the flags of mount(2)
/// that they stand for.
package enum MountFlags {
    /// What a word sets and what it takes back.
    package struct Change: Sendable {
        let set: UInt
        let cleared: UInt
    }

    /// MS_RDONLY of mount(2).
    package static let readOnly: UInt = 1

    private static let noSetID: UInt = 2
    private static let noDevices: UInt = 4
    private static let noExecution: UInt = 8
    private static let noAccessTimes: UInt = 1024
    private static let noDirectoryAccessTimes: UInt = 2048
    private static let relativeAccessTimes: UInt = 1 << 21
    private static let strictAccessTimes: UInt = 1 << 24

    /// Every word that changes a flag.
    static let byName: [String: Change] = [
        "ro": Change(set: readOnly, cleared: 0),
        "rw": Change(set: 0, cleared: readOnly),
        "nosuid": Change(set: noSetID, cleared: 0),
        "suid": Change(set: 0, cleared: noSetID),
        "nodev": Change(set: noDevices, cleared: 0),
        "dev": Change(set: 0, cleared: noDevices),
        "noexec": Change(set: noExecution, cleared: 0),
        "exec": Change(set: 0, cleared: noExecution),
        "noatime": Change(
            set: noAccessTimes, cleared: relativeAccessTimes | strictAccessTimes),
        "atime": Change(set: 0, cleared: noAccessTimes),
        "nodiratime": Change(set: noDirectoryAccessTimes, cleared: 0),
        "diratime": Change(set: 0, cleared: noDirectoryAccessTimes),
        "relatime": Change(
            set: relativeAccessTimes, cleared: noAccessTimes | strictAccessTimes),
        "norelatime": Change(set: 0, cleared: relativeAccessTimes),
        "strictatime": Change(
            set: strictAccessTimes, cleared: noAccessTimes | relativeAccessTimes),
        "nostrictatime": Change(set: 0, cleared: strictAccessTimes),
    ]

    /// The words that set exactly these flags.
    static func names(of flags: UInt) -> [String] {
        byName.filter { $0.value.set != 0 && flags & $0.value.set != 0 }.keys.sorted()
    }

    /// True for words that concern mount(8), systemd or fstab's readers, or are always on.
    static func isForOthers(_ key: String) -> Bool {
        switch key {
        case "defaults", "auto", "noauto", "nofail", "_netdev", "nouser", "async",
            "allow_other", "default_permissions", "comment":
            true
        default: key.hasPrefix("x-") || key.hasPrefix("X-")
        }
    }

    /// Words that are understood and cannot be granted.
    static let refused: [String: (why: String, hint: String)] = {
        var all: [String: (why: String, hint: String)] = [:]
        for key in ["user", "users", "owner", "group"] {
            all[key] = ("only root mounts a datastore", "leave it out")
        }
        all["remount"] = ("a mount cannot be changed in place", "unmount it and mount it again")
        for key in ["bind", "rbind", "move"] {
            all[key] = ("is not for this type of file system", "leave out -t forebay")
        }
        return all
    }()
}
