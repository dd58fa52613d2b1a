import CLinux
import Glibc
import Policy
import Syscalls

/// What the machine and its kernel give.
extension Preflight {
    func user() -> PreflightCheck {
        if geteuid() == 0 { return .pass("root", "user", "is root") }
        return .fail("root", "permission", "only root mounts a datastore", mend: "use sudo")
    }

    func fuseDevice() -> PreflightCheck {
        let subject = "/dev/fuse"
        do throws(Errno) {
            _ = try Descriptor(path: subject, flags: O_RDWR)
            return .pass("fuse", subject, "can be opened")
        } catch {
            return .fail(
                "fuse", subject, "cannot be opened: \(error)",
                mend: error == .noEntry || error == Errno(ENODEV) || error == Errno(ENXIO)
                    ? "modprobe fuse" : "run where /dev/fuse is allowed")
        }
    }

    func memory() -> PreflightCheck {
        let wanted = UInt64(options.ram) + UInt64(Limits.largeSlots * Limits.requestSize)
        let total = MountOptionsParser.machineMemory
        let available = Self.availableMemory ?? total
        let subject = "ram=\(ByteSize.exact(UInt64(options.ram)))"
        let reason =
            "\(ByteSize.readable(wanted)) are locked of \(ByteSize.readable(total)),"
            + " \(ByteSize.readable(available)) are available"
        if wanted > total / 10 * 9 {
            return .fail("memory", subject, reason, mend: "choose a smaller ram=")
        }
        if wanted > available {
            return .warn("memory", subject, reason, mend: "choose a smaller ram=")
        }
        return .pass("memory", subject, reason)
    }

    static var availableMemory: UInt64? {
        for line in (TextFile.read("/proc/meminfo") ?? "").split(separator: "\n")
        where line.hasPrefix("MemAvailable:") {
            return line.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }
                .map { $0 * 1024 }
        }
        return nil
    }

    func lockedMemory() -> PreflightCheck {
        let subject = "locked memory"
        let wanted = UInt64(options.ram) + UInt64(Limits.largeSlots * Limits.requestSize)
        // CAP_IPC_LOCK, number 14 of capabilities(7), lifts the limit.
        if Self.hasCapability(14) { return .pass("memlock", subject, "is not limited") }
        let limit = Self.hardLimit("Max locked memory")
        if let limit, limit < wanted {
            return .warn(
                "memlock", subject, "at most \(ByteSize.readable(limit)) can be locked",
                mend: "set LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited")
        }
        return .pass("memlock", subject, "the limit is high enough")
    }

    func openFiles() -> PreflightCheck {
        let limit = Self.hardLimit("Max open files") ?? .max
        let wanted = UInt64(Limits.openDescriptors) * 2
        if limit < wanted {
            return .warn(
                "open-files", "open files", "at most \(limit): fewer files stay open than useful",
                mend: "set LimitNOFILE=\(wanted) in the unit, or ulimit -n \(wanted)")
        }
        return .pass("open-files", "open files", "the limit is high enough")
    }

    private static func hasCapability(_ number: UInt64) -> Bool {
        for line in (TextFile.read("/proc/self/status") ?? "").split(separator: "\n")
        where line.hasPrefix("CapEff:") {
            let digits = line.dropFirst(7).filter { !$0.isWhitespace }
            return (UInt64(digits, radix: 16) ?? 0) >> number & 1 == 1
        }
        return false
    }

    /// The hard limit of /proc/self/limits; nil for none.
    private static func hardLimit(_ title: String) -> UInt64? {
        for line in (TextFile.read("/proc/self/limits") ?? "").split(separator: "\n")
        where line.hasPrefix(title) {
            let fields = line.dropFirst(title.count).split(separator: " ")
            return fields.count > 1 ? UInt64(fields[1]) : nil
        }
        return nil
    }

    func kernel() -> PreflightCheck {
        let release = TextFile.word("/proc/sys/kernel/osrelease") ?? "unknown"
        return Self.judge(kernel: release)
    }

    /// What FUSE of this kernel release lacks that Forebay would use.
    static func judge(kernel release: String) -> PreflightCheck {
        let numbers = release.split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap {
            Int($0)
        }
        let version = numbers.count == 2 ? numbers[0] * 1000 + numbers[1] : 0
        let missing = Self.features.filter { $0.since > version }.map(\.name)
        let lacks = missing.isEmpty ? "" : "; FUSE lacks \(missing.joined(separator: ", "))"
        let subject = "kernel \(release)"
        if version < 5004 {
            return .fail(
                "kernel", subject, "is too old\(lacks)", mend: "use 5.4, better 6.1 or later")
        }
        if version < 5011 {
            return .warn(
                "kernel", subject, "asks for an attribute before every write\(lacks)",
                mend: "use 5.11, better 6.1 or later")
        }
        return .pass("kernel", subject, "has what is needed\(lacks)")
    }

    private static let features: [(since: Int, name: String)] = [
        (5011, "handle-killpriv-v2 (5.11)"), (6002, "parallel direct writes (6.2)"),
        (6006, "statx (6.6)"), (6009, "resend and passthrough (6.9)"),
        (6014, "io_uring transport (6.14)"),
    ]

    func requestTimeout() -> PreflightCheck {
        for name in ["default_request_timeout", "max_request_timeout"] {
            let value = TextFile.word("/proc/sys/fs/fuse/\(name)") ?? "0"
            if value != "0" {
                return .warn(
                    "request-timeout", "fs.fuse.\(name)",
                    "is \(value): the kernel ends the whole mount when a request takes so long",
                    mend: "sysctl fs.fuse.\(name)=0")
            }
        }
        return .pass("request-timeout", "fs.fuse request timeouts", "are off")
    }
}
