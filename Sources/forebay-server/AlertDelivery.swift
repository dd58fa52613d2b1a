import CLinux
import ControlPath
import Glibc
import Policy
import Syscalls

/// One run of `forebay alert deliver`: a process group of its own that gets some events as lines on
/// standard input.
final class AlertDelivery {
    private let pid: pid_t
    private let handle: Descriptor
    private let deadline: UInt64
    private(set) var hasEnded = false

    /// The program `forebay` of the same installation: beside this program, or where this one is
    /// in its libexec folder; nil when there is none.
    static func findProgram() -> String? {
        guard let own = TextFile.link("/proc/self/exe") else { return nil }
        let folder = AbsolutePath.parent(own)
        return ["\(folder)/forebay", "\(folder)/../../bin/forebay"]
            .first { access($0, X_OK) == 0 }
    }

    /// Starts it. The events lie in a memory file: no pipe could hold this process up.
    init(_ program: String, name: String, events: [String]) throws(Errno) {
        let input = Descriptor(owning: try call { CLinux_memfd("forebay-events") })
        let bytes = Array(events.map { $0 + "\n" }.joined().utf8)
        let raw = input.raw
        try call { pwrite(raw, bytes, bytes.count, 0) }
        pid = try Spawn.start(
            program, [program, "alert", "deliver", "--name", name],
            descriptors: [(raw, 0), (2, 1)], group: .own)
        let child = pid
        handle = Descriptor(owning: try call { CLinux_pidfd_open(child) })
        deadline = monotonicNanoseconds() + .seconds(Limits.alertLife)
    }

    /// Looks whether it has ended; then answers whether it left something to be told later. Kills
    /// one that takes too long.
    func end(now: UInt64) -> Bool? {
        var event = pollfd(fd: handle.raw, events: Int16(POLLIN), revents: 0)
        guard poll(&event, 1, 0) > 0 else {
            // Nobody has waited for it, so the number is still that of its group.
            if now > deadline { kill(-pid, SIGKILL) }
            return nil
        }
        hasEnded = true
        var status: Int32 = 0
        // Whoever collects the servers' remains may have collected this one too.
        guard waitpid(pid, &status, WNOHANG) == pid else { return true }
        if status & 0x7f != 0 {
            SystemLog.error("the delivery of alerts ended by signal \(status & 0x7f)")
            return true
        }
        return (status >> 8) & 0xff == AlertFile.laterStatus
    }
}
