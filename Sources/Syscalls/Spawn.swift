import Glibc

/// Starts programs (posix_spawn(3)). The new process has every signal as by default and blocks
/// none, whatever the thread that starts it does.
package enum Spawn {
    /// Whose signals the new process gets beside its own.
    package enum Group: Sendable {
        /// Those of this process's group.
        case same
        /// Those of a group of its own, whose number is the process's.
        case own
        /// None: it leads a session of its own.
        case session

        fileprivate var flag: Int16 {
            switch self {
            case .same: 0
            case .own: Int16(POSIX_SPAWN_SETPGROUP)
            // POSIX_SPAWN_SETSID of spawn.h, which is hidden from strict POSIX.
            case .session: 0x80
            }
        }
    }

    /// Starts the program at a path. The caller collects it (waitpid(2)).
    ///
    /// - Parameters:
    ///   - words: all arguments, the name of the program first.
    ///   - descriptors: in this order, what is copied to which number in the new process; the rest
    ///     is as its close-on-exec flags say.
    ///   - readsNothing: standard input is /dev/null, opened before any is copied.
    ///   - environment: all variables as `NAME=VALUE`; nil passes this process's on.
    /// - Throws: what posix_spawn(3) answers, for example ENOENT.
    package static func start(
        _ program: String, _ words: [String], descriptors: [(from: Int32, to: Int32)],
        readsNothing: Bool = false, group: Group = .same, environment: [String]? = nil
    ) throws(Errno) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if readsNothing { posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0) }
        for (from, to) in descriptors { posix_spawn_file_actions_adddup2(&actions, from, to) }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK) | group.flag)
        let arguments = copies(words)
        let variables = environment.map { copies($0) }
        defer { for pointer in arguments + (variables ?? []) { free(pointer) } }
        var child = pid_t()
        let code = posix_spawn(
            &child, program, &actions, &attributes, arguments, variables ?? pointers(environ))
        guard code == 0 else { throw Errno(code) }
        return child
    }

    private static func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        texts.map { strdup($0) } + [nil]
    }

    /// The entries of a list that ends with nil, and the nil.
    private static func pointers(
        _ list: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    ) -> [UnsafeMutablePointer<CChar>?] {
        var count = 0
        while list[count] != nil { count += 1 }
        return Array(UnsafeBufferPointer(start: list, count: count + 1))
    }
}
