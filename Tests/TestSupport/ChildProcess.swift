import CLinux
import Glibc
import Synchronization
import Syscalls

/// What a program left behind when it ended.
package struct ProgramResult: Sendable {
    /// The exit status, or 128 plus the number of the signal that ended it.
    package let status: Int32
    /// What it wrote to standard output.
    package let output: String
    /// What it wrote to standard error.
    package let errorOutput: String

    /// Both outputs, for messages.
    package var text: String { "status \(status)\n\(output)\(errorOutput)" }
}

/// A running program. Its outputs go to memory files, not pipes: a program that goes on in the
/// background cannot hold up whoever reads them. The program and its children are killed when the
/// object goes.
package final class ChildProcess: Sendable {
    /// The process's number.
    package let pid: Int32
    private let output: Int32
    private let errorOutput: Int32
    private let pidfd: Int32
    private let status = Mutex<Int32?>(nil)

    /// Starts a program in a process group of its own, with standard input from /dev/null; it is
    /// looked for in PATH when its name has no slash. `environment` adds to this process's own.
    package init(
        _ program: String, _ arguments: [String] = [], environment: [String: String] = [:]
    ) throws(Errno) {
        let outputs = (try call { CLinux_memfd("output") }, try call { CLinux_memfd("errors") })
        (output, errorOutput) = outputs
        pid = try Self.spawn(program, arguments, environment, outputs)
        let child = pid
        pidfd = try call { CLinux_pidfd_open(child) }
    }

    deinit {
        if wait(seconds: 0) == nil {
            kill()
            // Without bound: a process that hangs in a dead mount would hang the tests.
            _ = wait(seconds: 10)
        }
        close(pidfd)
        close(output)
        close(errorOutput)
    }

    /// Runs a program to its end. Throws a `TestFailure` and kills it, with its children, when it
    /// takes longer than `limit` seconds.
    package static func run(
        _ program: String, _ arguments: [String] = [], environment: [String: String] = [:],
        limit: UInt64 = 60
    ) throws -> ProgramResult {
        let process = try ChildProcess(program, arguments, environment: environment)
        if let result = process.wait(seconds: limit) { return result }
        process.kill()
        _ = process.wait(seconds: 5)
        let line = ([program] + arguments).joined(separator: " ")
        throw TestFailure("still running after \(limit) s: \(line)\n\(process.outputs)")
    }

    /// Runs a program to its end like `run`, and throws as well when its exit status is not 0.
    @discardableResult
    package static func check(
        _ program: String, _ arguments: [String] = [], environment: [String: String] = [:],
        limit: UInt64 = 60
    ) throws -> ProgramResult {
        let result = try run(program, arguments, environment: environment, limit: limit)
        guard result.status == 0 else {
            let line = ([program] + arguments).joined(separator: " ")
            throw TestFailure("\(line): \(result.text)")
        }
        return result
    }

    /// Waits for the end; nil when it is still running after so many seconds.
    package func wait(seconds: UInt64) -> ProgramResult? {
        if status.withLock({ $0 == nil }) {
            var poller = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
            let milliseconds = Int32(clamping: seconds &* 1000)
            guard poll(&poller, 1, milliseconds) > 0 else { return nil }
        }
        return status.withLock { status in
            var word: Int32 = 0
            if status == nil, waitpid(pid, &word, WNOHANG) == pid {
                status = word & 0x7f == 0 ? (word >> 8) & 0xff : 128 + (word & 0x7f)
            }
            return status.map {
                let (output, errorOutput) = outputTexts
                return ProgramResult(status: $0, output: output, errorOutput: errorOutput)
            }
        }
    }

    /// Whether it has not ended yet.
    package var isRunning: Bool { wait(seconds: 0) == nil }

    /// What it has written so far, both outputs.
    package var outputs: String { outputTexts.0 + outputTexts.1 }

    /// Sends a signal to the program alone.
    package func signal(_ number: Int32) { CLinux_pidfd_signal(pidfd, number) }

    /// SIGTERM, and SIGKILL when it does not end in time.
    package func terminate(within seconds: UInt64 = 10) {
        signal(SIGTERM)
        if wait(seconds: seconds) == nil { kill() }
        _ = wait(seconds: 5)
    }

    /// SIGKILL to the program and its children.
    package func kill() {
        // While the child is not reaped its group's number cannot be another's.
        if status.withLock({ $0 == nil }) { Glibc.kill(-pid, SIGKILL) }
    }

    private var outputTexts: (String, String) {
        func text(_ descriptor: Int32) -> String {
            let path = "/proc/self/fd/\(descriptor)"
            return String(decoding: (try? Files.read(path)) ?? [], as: UTF8.self)
        }
        return (text(output), text(errorOutput))
    }
}

extension ChildProcess {
    private static func spawn(
        _ program: String, _ arguments: [String], _ environment: [String: String],
        _ outputs: (Int32, Int32)
    ) throws(Errno) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, outputs.0, 1)
        posix_spawn_file_actions_adddup2(&actions, outputs.1, 2)
        // The test runner's threads may block signals; programs begin without.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))
        var words = ([program] + arguments).map { (word: String) in strdup(word) } + [nil]
        var variables = inherited(adding: environment).map { (word: String) in strdup(word) }
        variables.append(nil)
        defer { for word in words + variables { free(word) } }
        var child: pid_t = 0
        let code = posix_spawnp(&child, program, &actions, &attributes, &words, &variables)
        guard code == 0 else { throw Errno(code) }
        return child
    }

    /// This process's environment as it was at its start, with changes.
    private static func inherited(adding changes: [String: String]) -> [String] {
        let own = ((try? Files.read("/proc/self/environ")) ?? []).split(separator: 0).map {
            String(decoding: $0, as: UTF8.self)
        }
        let kept = own.filter { line in
            guard let name = line.split(separator: "=").first else { return false }
            return changes[String(name)] == nil
        }
        return kept + changes.map { "\($0.key)=\($0.value)" }
    }
}
