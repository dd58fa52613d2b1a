import CLinux
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
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &bytes, bytes.count)
        guard count > 0 else { return nil }
        let own = String(decoding: bytes[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = own.prefix(upTo: own.lastIndex(of: "/") ?? own.startIndex)
        return ["\(folder)/forebay", "\(folder)/../../bin/forebay"]
            .first { access($0, X_OK) == 0 }
    }

    /// Starts it. The events lie in a memory file: no pipe could hold this process up.
    init(_ program: String, name: String, events: [String]) throws(Errno) {
        let input = Descriptor(owning: try call { CLinux_memfd("forebay-events") })
        let bytes = Array(events.map { $0 + "\n" }.joined().utf8)
        let raw = input.raw
        try call { pwrite(raw, bytes, bytes.count, 0) }
        pid = try Self.spawn([program, "alert", "deliver", "--name", name], input: raw)
        let child = pid
        handle = Descriptor(owning: try call { CLinux_pidfd_open(child) })
        deadline = monotonicNanoseconds() + .seconds(Limits.alertLife)
    }

    private static func spawn(_ command: [String], input: Int32) throws(Errno) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, 2, 1)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))
        var words = command.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var child = pid_t()
        let status = posix_spawn(&child, command[0], &actions, &attributes, words, environ)
        guard status == 0 else { throw Errno(status) }
        return child
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
