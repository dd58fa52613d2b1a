import ArgumentParser
import ControlPath
import Glibc
import Policy
import Syscalls

struct UnmountCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "unmount", abstract: "Flush, unmount, and wait until nothing is left.")

    @OptionGroup var mount: MountChoice

    @Option(help: "Seconds that it may take.")
    var timeout: UInt64 = 60

    @Flag(help: "For the unit: no mount is no error, and a restart keeps the mount.")
    var service = false

    func execute() throws(Refusal) {
        guard (1...86400).contains(timeout) else {
            throw .usage("--timeout \(timeout)", "is not a time", hint: "use 1 to 86400 seconds")
        }
        if service {
            try ServiceStop(mount, seconds: timeout).run()
        } else {
            try Unmounter(mountpoint: try mount.path(), seconds: timeout).unmount()
        }
    }
}

/// Ends a mount: dirty data first, then the mount, then its processes and files.
struct Unmounter {
    let mountpoint: String
    private let deadline: UInt64
    /// The keeper when it is a child of this process: it must be collected to be gone.
    private let child: pid_t?
    private let runFolder = RunFolder()

    init(mountpoint: String, seconds: UInt64, child: pid_t? = nil) {
        self.mountpoint = mountpoint
        self.child = child
        deadline = monotonicNanoseconds() + .seconds(seconds)
    }

    /// Milliseconds until the deadline, at least 1.
    private var left: UInt64 {
        let now = monotonicNanoseconds()
        return now < deadline ? (deadline - now) / .milliseconds(1) + 1 : 1
    }

    func unmount() throws(Refusal) {
        guard geteuid() == 0 else {
            throw Refusal("permission", "only root unmounts", hint: "use sudo")
        }
        let serving = find()
        let path = try place(serving)
        // Without threads the server serves nobody: its clients wait, and miss nothing.
        if SystemFiles().serverThreads > 0, let export = MountHolders.exports(path) {
            throw Refusal("'\(path)'", export, hint: "end that and try again")
        }
        var processes: [pid_t] = []
        if let serving {
            let status = try serving.ask("status", milliseconds: left)
            processes = ["keeper_pid", "server_pid"].compactMap {
                status[$0]?.unsigned.flatMap { pid_t(exactly: $0) }
            }.filter { $0 > 0 }
            try flush(serving)
        }
        try detach(path)
        try awaitEnd(of: processes, name: serving?.name)
        runFolder.removeStale(mountpoint: path)
    }

    /// Brings dirty data home. When that does not end in time, everything stays as it is.
    private func flush(_ serving: MountedDatastore) throws(Refusal) {
        let progress = FlushProgress(serving)
        defer { progress.finish() }
        let seconds = left / 1000 + 1
        do throws(Refusal) {
            try serving.order("flush-within \(seconds)", milliseconds: left + 2000)
        } catch {
            let status = try? serving.ask("status", milliseconds: StatusCommand.patience)
            let dirty = status?["dirty_bytes"]?.unsigned ?? 0
            guard dirty > 0 else { throw error }
            throw Refusal(
                "'\(mountpoint)'",
                "stays mounted: \(ByteSize.readable(dirty)) are not on the datastore yet",
                hint: "try again with a longer --timeout; 'umount' leaves them in the log")
        }
    }

    private func find() -> MountedDatastore? {
        let textual = AbsolutePath.lexical(mountpoint)
        let all = MountedDatastore.all()
        if let mount = all.first(where: { $0.mountpoint == textual }) { return mount }
        let resolved = AbsolutePath.resolve(mountpoint)
        return all.first { $0.mountpoint == resolved }
    }

    /// The mountpoint as the kernel knows it.
    private func place(_ serving: MountedDatastore?) throws(Refusal) -> String {
        let table = MountTable.current()
        let path =
            serving?.mountpoint
            ?? (table.entry(at: AbsolutePath.lexical(mountpoint)) != nil
                ? AbsolutePath.lexical(mountpoint) : AbsolutePath.resolve(mountpoint))
        guard table.entry(at: path)?.type == "fuse.forebay" else {
            throw Refusal(
                "'\(mountpoint)'", "is not a mount of Forebay", hint: "see 'forebay status'")
        }
        return path
    }

    /// umount2(2), again for two seconds when something still leaves.
    private func detach(_ path: String) throws(Refusal) {
        let patience = min(deadline, monotonicNanoseconds() + .seconds(2))
        while true {
            // UMOUNT_NOFOLLOW of umount(2).
            let code = withTimeLimit(milliseconds: left) { umount2(path, 8) == 0 ? 0 : errno }
            switch code {
            case nil:
                throw Refusal(
                    "'\(path)'", "the unmount hangs", hint: "see whether the datastore answers")
            case 0: return
            case EBUSY where monotonicNanoseconds() < patience: sleep(milliseconds: 50)
            case EBUSY: throw busy(path)
            case .some(let code):
                throw Refusal("'\(path)'", "\(Errno(code))", hint: "see mount(8)")
            }
        }
    }

    private func busy(_ path: String) -> Refusal {
        let holders = MountHolders.find(path)
        let reason =
            holders.isEmpty
            ? "is busy, and no process of this machine shows why"
            : "is busy: " + holders.joined(separator: ", ")
        return Refusal("'\(path)'", reason, hint: "end that and try again")
    }

    private func awaitEnd(of processes: [pid_t], name: String?) throws(Refusal) {
        while true {
            if let child {
                var status: Int32 = 0
                waitpid(child, &status, WNOHANG | WNOWAIT)
            }
            let living = processes.filter { isAlive($0) }
            if living.isEmpty, name.map({ runFolder.remove($0) }) ?? true {
                if let name { runFolder.forgetAlerts(name) }
                return
            }
            guard monotonicNanoseconds() < deadline else {
                let list = living.map { String($0) }.joined(separator: ", ")
                throw Refusal(
                    "'\(mountpoint)'", "is unmounted, but its processes have not ended (\(list))",
                    hint: "see whether the datastore answers")
            }
            sleep(milliseconds: 20)
        }
    }

    /// False for processes that are gone or have ended and only wait to be collected.
    private func isAlive(_ process: pid_t) -> Bool {
        guard let text = TextFile.read("/proc/\(process)/stat", limit: 4096) else { return false }
        let rest = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
        return rest.count < 2 || (rest[1] != "Z" && rest[1] != "X")
    }
}
