import CFuse
import Glibc
import Syscalls

/// The mount, from its beginning to its end.
struct Session {
    private let arguments: Arguments
    private let faults: Faults
    private let fileSystem: FileSystem
    private let control: Control?

    /// Enough that 500 requests can hang while others pass.
    private static let threads: UInt32 = 640
    private static let backgroundRequests: UInt32 = 512

    init(_ arguments: Arguments) throws(CommandError) {
        self.arguments = arguments
        faults = Faults(Faults.Settings())
        for command in arguments.commands { _ = try faults.run(command) }
        do throws(Errno) {
            fileSystem = try FileSystem(
                folder: arguments.folder, faults: faults, timeout: arguments.timeout)
        } catch {
            throw CommandError(text: "\(arguments.folder): \(error)")
        }
        do throws(Errno) {
            let faults = faults
            control = try arguments.control.map { (path) throws(Errno) in
                try Control(path: path, faults: faults)
            }
        } catch {
            throw CommandError(text: "\(arguments.control ?? ""): \(error)")
        }
    }

    /// Mounts, serves until unmounted or told to stop, and returns the exit status.
    func run() throws(CommandError) -> Int32 {
        umask(0)
        raiseDescriptorLimit()
        let signals = Self.blockSignals()
        guard let session = makeSession() else { throw CommandError(text: "libfuse refused") }
        guard fuse_session_mount(session, arguments.mountpoint) == 0 else {
            throw CommandError(text: "cannot mount on \(arguments.mountpoint)")
        }
        // Only now there may be threads: a fork leaves all but one behind. Whoever waits for this
        // program finds the mount there; requests wait for the loop.
        guard fuse_daemonize(arguments.isForeground ? 1 : 0) == 0 else {
            umount2(arguments.mountpoint, Int32(MNT_DETACH))
            throw CommandError(text: "cannot go to the background")
        }
        do throws(Errno) {
            try control?.start()
            nonisolated(unsafe) let loop = session
            try Thread(name: "loop") {
                _ = CFuse_session_loop(loop, Self.threads)
                kill(getpid(), SIGUSR1)
            }.detach()
        } catch {
            umount2(arguments.mountpoint, Int32(MNT_DETACH))
            throw CommandError(text: "no thread: \(error)")
        }
        waitForEnd(signals)
        // Threads may be in the middle of anything; nothing of this process is worth waiting for.
        _exit(0)
    }

    private func makeSession() -> OpaquePointer? {
        let name = arguments.folder.map { $0 == "," ? "\\," : String($0) }.joined()
        let rights = "allow_other,default_permissions,suid,dev"
        let options = "\(rights),subtype=test-datastore,fsname=\(name)"
        var words = ["test-datastore", "-o", options].map { (word: String) in strdup(word) }
        defer { for word in words { free(word) } }
        var operations = fuse_lowlevel_ops()
        operations.initialize()
        let userdata = Unmanaged.passRetained(fileSystem).toOpaque()
        return words.withUnsafeMutableBufferPointer { buffer in
            var list = fuse_args(
                argc: Int32(buffer.count), argv: buffer.baseAddress, allocated: 0)
            defer { fuse_opt_free_args(&list) }
            return CFuse_session_new(&list, &operations, userdata)
        }
    }

    /// Every thread inherits the blocked signals; this one takes them with sigwait(3), so that
    /// nothing runs in a signal handler.
    private static func blockSignals() -> sigset_t {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        signal(SIGPIPE, SIG_IGN)
        return signals
    }

    private func waitForEnd(_ signals: sigset_t) {
        var signals = signals
        var number: Int32 = 0
        while sigwait(&signals, &number) != 0 {}
        // Held requests are answered while there is still somebody to answer them.
        faults.end()
        control?.remove()
        // After SIGUSR1 the mount has gone by itself, and the mountpoint may be another's.
        guard number != SIGUSR1 else { return }
        umount2(arguments.mountpoint, Int32(MNT_DETACH))
        // The loop ends when nobody has a file of the mount open any more; whoever still has one
        // after this time gets ENOTCONN when this process ends.
        var limit = timespec(tv_sec: 1, tv_nsec: 0)
        sigtimedwait(&signals, nil, &limit)
    }

    /// Each open file of a client is an open file here.
    private func raiseDescriptorLimit() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(resource, &limit)
    }

    /// Called by the kernel's first request.
    static func negotiate(_ connection: UnsafeMutablePointer<fuse_conn_info>) {
        let has = connection.pointee.capable
        func want(_ bit: Int32) { connection.pointee.want |= has & UInt32(bit) }
        func refuse(_ bit: Int32) { connection.pointee.want &= ~UInt32(bit) }
        want(FUSE_CAP_EXPORT_SUPPORT)
        want(FUSE_CAP_READDIRPLUS)
        // Root's writes leave set-id bits alone, so the kernel has to take them off.
        refuse(FUSE_CAP_HANDLE_KILLPRIV)
        // Bytes are counted, so they pass through this process.
        refuse(FUSE_CAP_SPLICE_READ)
        refuse(FUSE_CAP_SPLICE_WRITE)
        refuse(FUSE_CAP_SPLICE_MOVE)
        connection.pointee.max_write = 1 << 20
        connection.pointee.max_background = backgroundRequests
        connection.pointee.congestion_threshold = backgroundRequests
    }
}

extension fuse_lowlevel_ops {
    /// Sets every operation that there is. Locks are the kernel's.
    fileprivate mutating func initialize() {
        self.`init` = { _, connection in
            if let connection { Session.negotiate(connection) }
        }
        addNameOperations(&self)
        addFileOperations(&self)
        addAttributeOperations(&self)
        addDirectoryOperations(&self)
    }
}
