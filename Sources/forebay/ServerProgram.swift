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
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, logSource.raw, 1)
        posix_spawn_file_actions_adddup2(&actions, logSource.raw, 2)
        posix_spawn_file_actions_adddup2(&actions, readySource.raw, readyDescriptor)
        posix_spawn_file_actions_adddup2(&actions, lockSource.raw, lockDescriptor)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        // POSIX_SPAWN_SETSIGDEF, _SETSIGMASK and _SETSID of spawn.h.
        posix_spawnattr_setflags(&attributes, 0x04 | 0x08 | 0x80)

        chdir("/")
        var pointers = ([program] + arguments).map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        var child: pid_t = 0
        let code = posix_spawn(&child, program, &actions, &attributes, pointers, environ)
        guard code == 0 else { throw Errno(code) }
        return child
    }
}
