import ControlPath
import Glibc
import Policy
import Syscalls

/// The program `forebay-server`, which keeps and serves mounts.
enum ServerProgram {
    /// Descriptors as the keeper finds them.
    static let readyDescriptor: Int32 = 10
    static let lockDescriptor: Int32 = 11

    /// The program beside this one, or in the libexec folder of the same installation.
    static func find() throws(Refusal) -> String {
        let own = TextFile.link("/proc/self/exe") ?? "/usr/bin/forebay"
        let folder = AbsolutePath.parent(own)
        let places = [
            "\(folder)/forebay-server", "\(folder)/../libexec/forebay/forebay-server",
        ]
        for place in places where access(place, X_OK) == 0 { return AbsolutePath.lexical(place) }
        throw Refusal(
            "forebay-server", "is not beside \(own) nor in ../libexec/forebay",
            hint: "install it again")
    }

    /// Starts the program in a session of its own, in the folder "/", with nothing open but its
    /// log, the pipe for the ready line and the lock of the mount. Without `log` it writes to
    /// where this process writes.
    static func start(
        _ program: String, arguments: [String], ready: Int32, lock: Int32, log: Int32?
    ) throws(Errno) -> pid_t {
        // What the caller's shell has open must not stay open for the life of the mount.
        for file in TextFile.names(in: "/proc/self/fd") {
            if let number = Int32(file), number > 2 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        }
        // Moved out of the way of the numbers that the child gets.
        let readySource = Descriptor(owning: try call { fcntl(ready, F_DUPFD_CLOEXEC, 32) })
        let lockSource = Descriptor(owning: try call { fcntl(lock, F_DUPFD_CLOEXEC, 32) })
        let logSource = Descriptor(owning: try call { fcntl(log ?? 2, F_DUPFD_CLOEXEC, 32) })
        chdir("/")
        return try Spawn.start(
            program, [program] + arguments,
            descriptors: [
                (logSource.raw, 1), (logSource.raw, 2), (readySource.raw, readyDescriptor),
                (lockSource.raw, lockDescriptor),
            ],
            readsNothing: true, group: .session)
    }
}
