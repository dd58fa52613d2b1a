import ArgumentParser
import ControlPath
import Policy
import Syscalls

/// Longest time that an order may take: a day, in milliseconds.
private let orderPatience: UInt64 = 86_400_000

struct FlushCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "flush", abstract: "Return when all dirty data is on the datastore.",
        discussion: "What is written meanwhile is not waited for. What is cached stays cached.")

    @Argument(help: "The mount.")
    var mountpoint: String

    @Argument(help: "Files or folders below it; all of it when left out.")
    var paths: [String] = []

    func execute() throws(Refusal) {
        let mount = try MountedDatastore.find(mountpoint)
        let progress = FlushProgress(mount)
        defer { progress.finish() }
        try order("flush", mount, paths)
    }
}

struct DropCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "drop", abstract: "Forget cached contents, never dirty data.")

    @Argument(help: "The mount.")
    var mountpoint: String

    @Argument(help: "Files or folders below it; all of it when left out.")
    var paths: [String] = []

    func execute() throws(Refusal) { try order("drop", try .find(mountpoint), paths) }
}

private func order(
    _ verb: String, _ mount: MountedDatastore, _ paths: [String]
) throws(Refusal) {
    // All paths are looked at before anything is done.
    var lines: [String] = []
    for path in paths { lines.append("\(verb) \(try mount.inner(path))") }
    if lines.isEmpty { lines = [verb] }
    for line in lines { try mount.order(line, milliseconds: orderPatience) }
}
