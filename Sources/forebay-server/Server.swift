import CLinux
import ControlPath
import DataPath
import FuseServer
import Glibc
import Policy
import Syscalls

/// The server process: the data path, the file system's operations and the control socket, put
/// together.
struct Server {
    private let invocation: Invocation

    init(_ invocation: Invocation) { self.invocation = invocation }

    /// Serves until the mount is gone or a successor is to go on. Answers the exit status.
    func run() -> Int32 {
        for number in [SIGINT, SIGHUP] { signal(number, SIG_IGN) }
        HandOver.blockSignals()
        Self.raiseLimits()
        CLinux_set_nice(Limits.serverNice)
        // Who asks something waits for the answer next: interrupted in the act of asking, it would
        // have to run once more only to go to sleep. With many who ask, the server finds several
        // requests when its turn comes.
        CLinux_set_batch()
        if let keeper = invocation.keeperPid { Self.dieWith(keeper) }
        do throws(Errno) {
            return try serve().rawValue
        } catch {
            SystemLog.error("the server cannot serve: \(error)")
            invocation.report("error \(invocation.options.backing): \(error)")
            return ServerExit.cannotServe.rawValue
        }
    }

    private func serve() throws(Errno) -> ServerExit {
        let options = invocation.options
        for descriptor in 3...6 { _ = fcntl(Int32(descriptor), F_SETFD, FD_CLOEXEC) }
        let slots = try RequestSlots(descriptor: invocation.slotsDescriptor, populated: false)
        Events.install { slots.raise($0) }
        let datastore = try Datastore(
            options: options, root: invocation.rootDescriptor, record: slots.datastoreRecord,
            framesDescriptor: invocation.framesDescriptor, counters: slots.counters,
            bypass: slots.bypass)
        datastore.onRecord { slots.datastoreRecord = $0 }
        let live = LiveOptions(options)
        let facts = ServerFacts(
            options: live, counters: slots.counters, fuseRequests: { slots.requestCounts() },
            bypass: { slots.bypass }, slotsBytes: { UInt64(slots.takenBytes) })
        Operations.virtualXattrs = VirtualXattrs(datastore: datastore, facts: facts)
        let session = try Session(
            device: invocation.fuseDescriptor, slots: slots, datastore: datastore)
        let handOver = HandOver(session)
        let orders = Orders(
            invocation, options: live, slots: slots, datastore: datastore, handOver: handOver)
        let control = try controlServer(
            ControlService(datastore: datastore, facts: facts, server: orders),
            at: options.controlSocket)
        try handOver.awaitSignal()
        try LogAlerts.start(datastore, options)
        let end = try session.run(
            predecessor: invocation.predecessor, diedAt: invocation.diedAt
        ) { invocation.report("ready") }
        if case .handedOver(let isIdle) = end {
            Self.exitAnyway(after: 1, status: handOver.status)
            datastore.handOver(
                isIdle: isIdle, keepsFlash: live.value.flash == options.flash,
                keepsLog: live.value.log?.path == options.log?.path)
            // Threads that read requests live on: nothing that they use may be torn down.
            _exit(handOver.status.rawValue)
        }
        Self.exitAnyway(after: Limits.drain * 3, status: .unmounted)
        control?.stop()
        // The datastore counts in the slots' memory to its end.
        withExtendedLifetime(session) { datastore.close() }
        return .unmounted
    }

    /// Without its control socket a first server is refused; a successor goes on, since clients
    /// wait.
    private func controlServer(
        _ service: ControlService, at path: String
    ) throws(Errno) -> ControlServer? {
        do throws(Errno) {
            return try ControlServer(path: path) { service.answer($0) }
        } catch {
            SystemLog.error("\(path): \(error)")
            guard invocation.predecessor != .none else { throw error }
            return nil
        }
    }

    /// Ends this process with its keeper: the next one starts a server of its own, and two must
    /// not answer the same requests.
    private static func dieWith(_ keeper: pid_t) {
        CLinux_signal_at_parents_death(SIGKILL)
        if getppid() != keeper { _exit(1) }
    }

    /// Nobody waits for an answer of this server any more: a datastore or a disk that hangs must
    /// not keep the process for ever.
    private static func exitAnyway(after seconds: UInt64, status: ServerExit) {
        let thread = try? Thread(name: "exit") {
            sleep(milliseconds: seconds * 1000)
            SystemLog.warning("the datastore did not answer to the end")
            _exit(status.rawValue)
        }
        thread?.detach()
    }

    /// The limits of whoever mounted are not ours: a write that the datastore accepts must not end
    /// at RLIMIT_FSIZE, and each file in use needs a descriptor.
    private static func raiseLimits() {
        var limit = rlimit(rlim_cur: rlim_t.max, rlim_max: rlim_t.max)
        setrlimit(Int32(RLIMIT_FSIZE.rawValue), &limit)
        for resource in [RLIMIT_NOFILE, __RLIMIT_MEMLOCK].map({ Int32($0.rawValue) }) {
            guard getrlimit(resource, &limit) == 0 else { continue }
            limit.rlim_cur = limit.rlim_max
            setrlimit(resource, &limit)
        }
    }
}
