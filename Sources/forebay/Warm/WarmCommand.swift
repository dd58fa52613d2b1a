import ArgumentParser
import CLinux
import ControlPath
import Glibc
import Policy
import Syscalls

struct WarmCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "warm", abstract: "Read files of a mount into its cache.")

    @Argument(help: "The mount.")
    var mountpoint: String

    @Argument(help: "Files or folders below it.")
    var paths: [String]

    @Option(help: ArgumentHelp("Read so much per second, for example 100M.", valueName: "size"))
    var rate: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func execute() throws(Refusal) {
        let rate = try limit()
        let mount = try MountedDatastore.find(mountpoint)
        let root = try MountRoot(mount)
        var files: [String] = []
        for path in paths {
            let file = try mount.place(path)
            try root.checkHolds(file)
            files.append(file)
        }
        try checkIsCaching(mount)
        let started = monotonicNanoseconds()
        var reader = WarmReader(rate: rate)
        let (tree, count) = try read(files, &reader, root)
        show(reader, tree, count, seconds: Double(monotonicNanoseconds() - started) / 1e9)
        guard tree.unreadable > 0 else { return }
        throw Refusal(
            tree.firstUnreadable, "\(tree.unreadable) files or folders could not be read",
            hint: "the others are in the cache")
    }

    private func limit() throws(Refusal) -> UInt64? {
        guard let rate else { return nil }
        guard let bytes = ByteSize.parse(rate), bytes >= Limits.blockSize else {
            throw .usage("--rate '\(rate)'", "is not a rate", hint: "give for example 100M")
        }
        return bytes
    }

    /// What is read past the cache would be read in vain.
    private func checkIsCaching(_ mount: MountedDatastore) throws(Refusal) {
        let status = try mount.ask("status", milliseconds: StatusCommand.patience)
        guard let bypass = status["bypass"]?.plain, bypass != BypassMode.off.text else { return }
        throw Refusal(
            "'\(mount.mountpoint)'", "the cache is left out of the way",
            hint: "use it again with 'forebay bypass \(mount.mountpoint) off'")
    }

    private func read(
        _ paths: [String], _ reader: inout WarmReader, _ root: MountRoot
    ) throws(Refusal) -> (ImageTree, UInt64) {
        var total: UInt64 = 0
        var sizes = ImageTree()
        try sizes.visit(paths) { (_, size) throws(Errno) in total += size }
        var tree = ImageTree()
        var progress = ProgressBar(total: total)
        defer { progress.finish() }
        var (done, count) = (UInt64(0), UInt64(0))
        var end: Errno?
        try tree.visit(paths) { (file, size) throws(Errno) in
            // One that is gone or does not answer fails for every file.
            if let end { throw end }
            do throws(Errno) {
                try reader.read(file, size: size) { progress.show(done + $0) }
            } catch {
                if MountRoot.isEnd(error) { end = error }
                throw error
            }
            done += size
            count += 1
        }
        if let end { throw root.refusal(end) }
        return (tree, count)
    }

    private func show(
        _ reader: borrowing WarmReader, _ tree: ImageTree, _ files: UInt64, seconds: Double
    ) {
        let tenths = UInt64(seconds * 10)
        let time = "\(tenths / 10).\(tenths % 10)"
        if json {
            var writer = JSONWriter()
            writer.add("files", files)
            writer.add("bytes", reader.bytes)
            writer.add("hole_bytes", reader.holes)
            writer.add("unreadable", tree.unreadable)
            writer.add("seconds", json: time)
            print(writer.finish())
        } else {
            print(
                "\(files) files: \(ByteSize.readable(reader.bytes)) read,"
                    + " \(ByteSize.readable(reader.holes)) of holes, in \(time) s")
        }
    }
}

/// The root of a mount as clients of it see it.
struct MountRoot {
    private let mountpoint: String
    private let device: UInt64

    /// Throws a refusal when the mount does not answer.
    init(_ mount: MountedDatastore) throws(Refusal) {
        mountpoint = mount.mountpoint
        do throws(Errno) {
            device = try Self.device(mount.mountpoint)
        } catch {
            throw Self.refusal(error, mount.mountpoint)
        }
    }

    private static func device(_ path: String) throws(Errno) -> UInt64 {
        let answer = withTimeLimit(milliseconds: StatusCommand.patience) { () -> (Int32, dev_t) in
            var status = stat()
            return stat(path, &status) == 0 ? (0, status.st_dev) : (errno, 0)
        }
        guard let answer else { throw .timedOut }
        guard answer.0 == 0 else { throw Errno(answer.0) }
        return UInt64(answer.1)
    }

    /// Refuses what a path leads to outside of the mount.
    func checkHolds(_ path: String) throws(Refusal) {
        let found: UInt64
        do throws(Errno) {
            found = try Self.device(path)
        } catch {
            if Self.isEnd(error) { throw refusal(error) }
            throw Refusal("'\(path)'", "it cannot be read: \(error)")
        }
        guard found == device else {
            throw Refusal(
                "'\(path)'", "leads out of '\(mountpoint)'", hint: "name a file of the mount")
        }
    }

    /// Whether an error is the mount's and not one file's.
    static func isEnd(_ error: Errno) -> Bool {
        error == Errno(ENOTCONN) || error == Errno(ECONNABORTED) || error == .timedOut
    }

    func refusal(_ error: Errno) -> Refusal { Self.refusal(error, mountpoint) }

    private static func refusal(_ error: Errno, _ mountpoint: String) -> Refusal {
        if error == .timedOut {
            return Refusal(
                "'\(mountpoint)'", "does not answer in time",
                hint: "see whether the datastore answers")
        }
        if isEnd(error) {
            return Refusal(
                "'\(mountpoint)'", "is a mount whose server is gone",
                hint: "'forebay unmount \(mountpoint)', and mount it again")
        }
        return Refusal("'\(mountpoint)'", "cannot be read: \(error)")
    }
}
