import ControlPath
import Glibc
import Policy
import Syscalls

/// `forebay mount --foreground` as the main process of a unit: it becomes the keeper, which so has
/// the number that systemd watches. A mount that an earlier keeper left goes on; otherwise there is
/// a new one.
struct ServiceStart {
    private let runFolder = RunFolder()

    /// Milliseconds in which what is asked for may become possible before the unit is started
    /// anew. Services that come after it wait so long at boot while the filer is down.
    private static let patience: UInt64 = 10_000
    private static let interval: UInt64 = 500

    /// Does not return but by a refusal. `request` is read anew at each try.
    func run(_ request: () throws(Refusal) -> MountRequest) throws(Refusal) {
        let left = StoredDescriptors.take()
        if left.isAlive, let mount = left.mount, !mount.options.isEmpty {
            // What was mounted counts, not what the configuration says since.
            ServiceManager.tell("Going on with the mount of an earlier keeper")
            try become(
                ["keep", mount.backing, mount.mountpoint, "-o", mount.options],
                adopting: KeptName.allCases.map { ($0, left[$0] ?? -1) })
        }
        left.discard()
        let mounter = try prepare(request)
        let lock = try mounter.takeName()
        let options = mounter.options
        do throws(Refusal) {
            ServiceManager.tell("Mounting")
            try become(
                ["keep", options.backing, options.mountpoint, "-o", options.optionText],
                adopting: [(.lock, lock.raw)])
        } catch {
            _ = lock.release()
            _ = runFolder.remove(options.name)
            throw error
        }
    }

    /// Waits a while for what keeps the mount from being possible, above all the datastore.
    private func prepare(
        _ request: () throws(Refusal) -> MountRequest
    ) throws(Refusal) -> Mounter {
        let deadline = monotonicNanoseconds() + .milliseconds(Self.patience)
        while true {
            let mounter = Mounter(try request(), isUnattended: true)
            do throws(Refusal) {
                removeDeadMount(mounter.options)
                try mounter.prepare()
                return mounter
            } catch {
                guard error.status == 1, monotonicNanoseconds() < deadline else { throw error }
                ServiceManager.tell("Waiting: \(error.what): \(error.why)")
                sleep(milliseconds: Self.interval)
            }
        }
    }

    /// What a keeper left that nobody could succeed: a mount of ours that answers ENOTCONN.
    private func removeDeadMount(_ options: MountOptions) {
        guard let entry = MountTable.current().entry(at: options.mountpoint),
            entry.type == "fuse.forebay", !runFolder.isTaken(options.name)
        else { return }
        let path = options.mountpoint
        let code = withTimeLimit(milliseconds: 1000) {
            var status = stat()
            return stat(path, &status) == 0 ? 0 : errno
        }
        if code == ENOTCONN { umount2(path, Int32(MNT_DETACH)) }
    }

    /// execve(2) of the server's program with these descriptors, and their names as arguments.
    private func become(
        _ arguments: [String], adopting descriptors: [(KeptName, Int32)]
    ) throws(Refusal) {
        let program = try ServerProgram.find()
        var arguments = arguments
        for (name, descriptor) in descriptors {
            // Above the numbers that the keeper's own children are given.
            let copy = fcntl(descriptor, F_DUPFD, 16)
            guard copy >= 0 else { throw Refusal("descriptor '\(name)'", "\(Errno.last)") }
            arguments += ["--\(name)-fd", "\(copy)"]
            if descriptor < 16 { close(descriptor) }
        }
        var words = ([program] + arguments).map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        execv(program, words)
        throw Refusal(program, "\(Errno.last)", hint: "install it again")
    }
}
