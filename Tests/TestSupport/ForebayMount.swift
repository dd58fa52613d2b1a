import Glibc
import Synchronization
import Syscalls

/// A forebay mount over a folder, with a name, a state folder and a mountpoint of its own. It ends
/// with the object, together with its processes.
package final class ForebayMount: Sendable {
    /// The mountpoint.
    package let path: String
    /// What it is mounted over.
    package let backing: String
    /// The mount's `name=`.
    package let name: String
    /// The state folder, which is removed with the object.
    package let state: String
    /// The options of the mount command, `name=` and `state=` included.
    package let options: [String]
    /// The command line tool that it is made with.
    package let program: String

    private let space: TemporaryFolder
    private let environment: [String: String]
    private static let number = Mutex(0)

    /// Mounts with 64 MiB of RAM tier and the given options (`["ram=16M", "attr_timeout=1"]`; a
    /// later option of the same name wins). `program` is the command line tool, the build's own
    /// when it is left out; `environment` adds to that of the programs. Throws a `TestFailure` with
    /// the command's message.
    package init(
        over backing: String, options: [String] = [], program: String? = nil,
        environment: [String: String] = [:]
    ) throws {
        self.program = try program ?? Programs.forebay
        space = try TemporaryFolder("mount")
        self.environment = environment
        self.backing = backing
        path = try space.makeFolder("mount")
        state = try space.makeFolder("state")
        let number = Self.number.withLock { number in
            number += 1
            return number
        }
        name = "test-\(getpid())-\(number)"
        let given = options.map { $0.prefix { $0 != "=" } }
        let defaults = ["name=\(name)", "state=\(state)", "ram=64M"]
        let needed = defaults.filter { !given.contains($0.prefix { $0 != "=" }) }
        self.options = needed + options
        try mount()
    }

    deinit { stop() }

    /// The path of something in the mount.
    package func path(_ name: String) -> String { "\(path)/\(name)" }

    /// The same thing in the folder below.
    package func backingPath(_ name: String) -> String { "\(backing)/\(name)" }

    // MARK: - Commands

    /// Mounts, at first or again after `unmount`, with the same options and state.
    package func mount() throws {
        let result = try ChildProcess.run(
            program, ["mount", backing, path, "-o", options.joined(separator: ",")],
            environment: environment)
        guard result.status == 0 else {
            stop()
            throw TestFailure("forebay mount: \(result.text)")
        }
    }

    /// Unmounts as an administrator would. Throws when the command fails or processes stay.
    package func unmount() throws {
        try ChildProcess.check(program, ["unmount", path])
        guard eventually(within: 10, { processes().isEmpty }) else {
            throw TestFailure("processes after unmount: \(processes().map(\.arguments))")
        }
    }

    /// Runs a command of the command line tool on the mount, with more arguments after it, for
    /// example `command("drop", "disk.img")`.
    @discardableResult
    package func command(_ verb: String, _ arguments: String...) throws -> ProgramResult {
        try ChildProcess.check(program, [verb, path] + arguments)
    }

    /// The same for a command that may fail.
    package func attempt(_ verb: String, _ arguments: String...) throws -> ProgramResult {
        try ChildProcess.run(program, [verb, path] + arguments)
    }

    /// What `forebay status --json` tells of the mount.
    package func status() throws -> FlatJSON {
        FlatJSON(try command("status", "--json").output)
    }

    /// The numbers of `user.forebay.stats`: of the whole mount, or of something in it.
    package func statistics(_ name: String = "") throws(Errno) -> FlatJSON {
        FlatJSON(try xattr("stats", of: name))
    }

    /// The value of `user.forebay.KEY`.
    package func xattr(_ key: String, of name: String = "") throws(Errno) -> String {
        let bytes = try Files.xattr(name.isEmpty ? path : path(name), "user.forebay.\(key)")
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Sets `user.forebay.KEY`.
    package func setXattr(
        _ key: String, _ value: String, of name: String = ""
    ) throws(Errno) {
        try Files.setXattr(name.isEmpty ? path : path(name), "user.forebay.\(key)", value)
    }

    /// Forgets what is cached: of everything, or of something in the mount.
    package func drop(_ name: String = "") throws(Errno) { try setXattr("drop", "1", of: name) }

    // MARK: - Processes

    /// The keeper's number, as `forebay status` tells it.
    package var keeperPid: Int32 { get throws { try pid("keeper_pid") } }
    /// The server's number; it changes when the server is replaced.
    package var serverPid: Int32 { get throws { try pid("server_pid") } }

    private func pid(_ key: String) throws -> Int32 {
        let status = try status()
        guard let number = status.integer(key), number > 1, number < Int32.max else {
            throw TestFailure("status has no \(key): \(status.keys)")
        }
        return Int32(number)
    }

    /// The mount's processes as the process table has them, the keeper first.
    package func processes() -> [ProcessTable.Process] {
        let found = ProcessTable.all().filter { process in
            process.arguments.first?.hasSuffix("forebay-server") == true
                && process.arguments.contains(path)
        }
        return found.sorted { first, _ in first.arguments.contains("keep") }
    }

    /// Ends everything and leaves nothing mounted, whatever state it is in: asks first, then
    /// kills. May be called more than once.
    package func stop() {
        if Mounts.at(path) != nil {
            _ = try? ChildProcess.run(program, ["unmount", path, "--timeout", "5"], limit: 10)
        }
        Mounts.removeAll(below: path)
        // Without its mount the keeper ends by itself; the keeper first, so that it starts no
        // other server.
        _ = eventually(within: 2) { processes().isEmpty }
        for _ in 0..<8 {
            for process in processes() { kill(process.pid, SIGKILL) }
            if processes().isEmpty { break }
            sleep(milliseconds: 50)
        }
        unlink("/run/forebay/\(name).sock")
        unlink("/run/forebay/\(name).lock")
    }
}
