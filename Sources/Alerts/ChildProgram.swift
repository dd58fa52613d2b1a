import CLinux
import Glibc
import Policy
import Syscalls

/// A program that a channel runs, in a process group of its own.
struct ChildProgram {
    private let program: String
    private let arguments: [String]
    private let environment: [String]
    private let input: String

    /// `environment` is all that the program gets, as `NAME=VALUE`.
    init(_ program: String, _ arguments: [String], environment: [String], input: String = "") {
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.input = input
    }

    /// Runs it to its end. Throws when it cannot be started, ends with another status than 0 or
    /// takes longer than so many milliseconds; then it is killed with its children.
    func run(milliseconds: UInt64) throws(AlertFailure) {
        let child: Child
        do throws(Errno) {
            child = try Child(program, arguments, environment: environment, input: input)
        } catch {
            throw AlertFailure("'\(program)' cannot be started: \(error)")
        }
        let deadline = monotonicNanoseconds() + .milliseconds(milliseconds)
        guard let status = child.wait(until: deadline) else {
            throw AlertFailure("'\(program)' did not end in \(milliseconds / 1000) s")
        }
        guard status == 0 else {
            let how = status & 0x7f == 0 ? "status \(status >> 8)" : "signal \(status & 0x7f)"
            let said = child.lastWords.isEmpty ? "" : ": \(child.lastWords)"
            throw AlertFailure("'\(program)' ended with \(how)\(said)")
        }
    }
}

/// A running program, with its outputs in one pipe. Killed when the object goes.
private final class Child {
    private let pid: pid_t
    private let handle: Descriptor
    private let output: Descriptor
    private var said: [UInt8] = []
    private var isCollected = false

    init(
        _ program: String, _ arguments: [String], environment: [String], input: String
    ) throws(Errno) {
        let text = Descriptor(owning: try call { CLinux_memfd("input") })
        let (raw, bytes) = (text.raw, Array(input.utf8))
        try call { pwrite(raw, bytes, bytes.count, 0) }
        var ends: [Int32] = [-1, -1]
        try call { pipe(&ends) }
        output = Descriptor(owning: ends[0])
        let writer = Descriptor(owning: ends[1])
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(output.raw, F_SETFL, O_NONBLOCK)
        let started = try Spawn.start(
            program, [program] + arguments,
            descriptors: [(raw, 0), (writer.raw, 1), (writer.raw, 2)], group: .own,
            environment: environment)
        pid = started
        handle = Descriptor(owning: try call { CLinux_pidfd_open(started) })
    }

    deinit {
        guard !isCollected else { return }
        // Nobody has waited for it, so the number is still that of its group.
        kill(-pid, SIGKILL)
        var event = pollfd(fd: handle.raw, events: Int16(POLLIN), revents: 0)
        // One that hangs in the kernel is left to whoever adopts it.
        if poll(&event, 1, 1000) > 0 { waitpid(pid, nil, WNOHANG) }
    }

    /// Waits for the end and answers the status of waitpid(2); nil when it comes too late.
    func wait(until deadline: UInt64) -> Int32? {
        while true {
            var events = [
                pollfd(fd: handle.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0),
            ]
            let now = monotonicNanoseconds()
            guard now < deadline else { return nil }
            let left = Int32(clamping: (deadline - now) / .milliseconds(1) + 1)
            // With its output closed, only the end of the process is waited for.
            guard poll(&events, nfds_t(events.count), left) > 0 else { continue }
            let isAtEnd = !collectOutput()
            if events[0].revents != 0 {
                var status: Int32 = 0
                isCollected = waitpid(pid, &status, 0) == pid
                return status
            }
            if isAtEnd { sleep(milliseconds: 10) }
        }
    }

    /// Takes what the program has written; false when nobody can write any more.
    private func collectOutput() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(output.raw, &chunk, chunk.count)
            guard count > 0 else { return count != 0 }
            said.append(contentsOf: chunk[..<count].prefix(Limits.alertOutput - said.count))
        }
    }

    /// The last line that the program wrote, for a message.
    var lastWords: String {
        let lines = String(decoding: said, as: UTF8.self).split(whereSeparator: \.isNewline)
        return lines.last.map(String.init) ?? ""
    }
}
