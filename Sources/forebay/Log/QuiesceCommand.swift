import ArgumentParser
import ControlPath
import Glibc
import Policy
import Syscalls

struct QuiesceCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "quiesce",
        abstract: "Bring all data home, run a command while nothing changes the datastore.",
        discussion: "For snapshots on the storage array. Writes of policy back go on into the"
            + " journal meanwhile; other changes wait. Ends with the command's exit status, or"
            + " with 1 when it could not be run or the datastore was released before it ended.")

    @Argument(help: "The mount.")
    var mountpoint: String

    @Option(help: "Seconds that the flush may take, and as many that the command may take.")
    var timeout: UInt64 = 60

    @Argument(parsing: .postTerminator, help: "The command and its arguments, behind --.")
    var command: [String] = []

    func execute() throws(Refusal) {
        guard (1...86400).contains(timeout) else {
            throw .usage("--timeout \(timeout)", "is not a time", hint: "use 1 to 86400 seconds")
        }
        guard let name = command.first else {
            throw .usage("usage", "no command is given", hint: "write -- COMMAND behind the mount")
        }
        let mount = try MountedDatastore.find(mountpoint)
        let program = try Self.find(name)
        let status = try mount.quiesced(seconds: timeout) { () throws(Refusal) in
            try run(program)
        }
        guard status == 0 else { Glibc.exit(status) }
    }

    /// The program that a shell would run.
    private static func find(_ name: String) throws(Refusal) -> String {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        let places =
            name.contains("/") ? [name] : path.split(separator: ":").map { "\($0)/\(name)" }
        guard let program = places.first(where: { access($0, X_OK) == 0 }) else {
            throw Refusal("'\(name)'", "there is no such program", hint: "nothing was done")
        }
        return program
    }

    /// Runs it and answers its exit status as a shell tells it: 128 and the number of a signal.
    private func run(_ program: String) throws(Refusal) -> Int32 {
        let child: pid_t
        do throws(Errno) {
            child = try Spawn.start(program, command, descriptors: [])
        } catch {
            throw Refusal("'\(program)'", "cannot be run: \(error)")
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 {
            guard errno == EINTR else { throw Refusal("'\(program)'", "\(Errno.last)") }
        }
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }
}

extension MountedDatastore {
    /// Runs `body` while the datastore holds still, and answers its exit status. Throws when that
    /// could not be reached, and when it was over too early and the status is 0.
    func quiesced(seconds: UInt64, _ body: () throws(Refusal) -> Int32) throws(Refusal) -> Int32 {
        let what = "quiesce of '\(mountpoint)'"
        let connection: ControlConnection
        let refusal: String?
        do throws(Errno) {
            connection = try ControlConnection(path: RunFolder().socket(name))
            let patience = seconds * 1000 + 5000
            refusal = Self.refusal(try connection.ask("quiesce \(seconds)", milliseconds: patience))
        } catch {
            throw Refusal(what, "\(error)", hint: "the command was not run")
        }
        if let refusal { throw Refusal(what, refusal, hint: "the command was not run") }
        let status = try body()
        let reason: String?
        do throws(Errno) {
            reason = Self.refusal(try connection.ask("release", milliseconds: 10_000))
        } catch {
            reason = "the server that held it was replaced: \(error)"
        }
        guard let reason else { return status }
        throw Refusal(
            what, reason, hint: "do not use the snapshot; the command's exit status was \(status)",
            status: 1)
    }

    private static func refusal(_ answer: String) -> String? {
        guard let value = JSONValue(parsing: answer) else { return "the answer is not understood" }
        return value["error"]?.plain
    }
}
