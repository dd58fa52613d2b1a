import CLinux
import Glibc
import Syscalls

/// A program of the system that is run to its end.
package struct ExternalProgram: Sendable {
    /// How it ended.
    package struct Outcome: Sendable {
        /// The exit status, or 128 plus the number of the signal that ended it.
        package let status: Int32
        /// The first line that it wrote to standard error; empty when there is none.
        package let complaint: String
    }

    package let path: String

    package init(path: String) { self.path = path }

    /// The program of this name in the system's folders, then in those of PATH; nil when it is not
    /// installed.
    package static func find(_ name: String) -> ExternalProgram? {
        let variable = getenv("PATH").map { String(cString: $0) } ?? ""
        let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
        for folder in folders + variable.split(separator: ":").map(String.init)
        where folder.hasPrefix("/") && access("\(folder)/\(name)", X_OK) == 0 {
            return ExternalProgram(path: "\(folder)/\(name)")
        }
        return nil
    }

    /// Runs it in the language C, with nothing to read; what it prints is discarded. Throws
    /// ETIMEDOUT, with the program killed, when it takes longer.
    package func run(_ arguments: [String], milliseconds: UInt64) throws(Errno) -> Outcome {
        let errors = Descriptor(owning: try call { CLinux_memfd("errors") })
        let child = try Spawn.start(
            path, [path] + arguments, descriptors: [(0, 1), (errors.raw, 2)], readsNothing: true,
            environment: ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
        let process: Descriptor
        do throws(Errno) {
            process = Descriptor(owning: try call { CLinux_pidfd_open(child) })
        } catch {
            kill(child, SIGKILL)
            _ = collect(child)
            throw error
        }
        var entry = pollfd(fd: process.raw, events: Int16(POLLIN), revents: 0)
        let patience = Int32(clamping: milliseconds)
        guard try call({ poll(&entry, 1, patience) }) > 0 else {
            kill(child, SIGKILL)
            _ = collect(child)
            throw .timedOut
        }
        let status = collect(child)
        let text = TextFile.read("/proc/self/fd/\(errors.raw)", limit: 65536) ?? ""
        let line = text.split(separator: "\n").first { !$0.allSatisfy(\.isWhitespace) }
        return Outcome(status: status, complaint: line.map(String.init) ?? "")
    }

    private func collect(_ child: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        // WIFEXITED, WEXITSTATUS and WTERMSIG of wait(2).
        return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
    }
}
