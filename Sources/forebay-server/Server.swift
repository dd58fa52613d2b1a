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

    /// Serves until the mount is gone. Answers the exit status: 0 after an unmount.
    func run() -> Int32 {
        for number in [SIGINT, SIGHUP] { signal(number, SIG_IGN) }
        Self.raiseLimits()
        do throws(Errno) {
            try serve()
            return 0
        } catch {
            SystemLog.error("the server cannot serve: \(error)")
            invocation.report("error \(invocation.options.backing): \(error)")
            return 1
        }
    }

    private func serve() throws(Errno) {
        let options = invocation.options
        for descriptor in 3...6 { _ = fcntl(Int32(descriptor), F_SETFD, FD_CLOEXEC) }
        let slots = try RequestSlots(descriptor: invocation.slotsDescriptor, populated: false)
        Events.install { slots.raise($0) }
        let datastore = try Datastore(
            options: options, framesDescriptor: invocation.framesDescriptor,
            counters: slots.counters)
        let facts = ServerFacts(
            options: options, counters: slots.counters,
            fuseRequests: { slots.requestCounts() })
        Operations.virtualXattrs = VirtualXattrs(datastore: datastore, facts: facts)
        let session = try Session(
            device: invocation.fuseDescriptor, slots: slots, datastore: datastore)
        let control = try controlServer(
            ControlService(datastore: datastore, facts: facts), at: options.controlSocket)
        try session.run(predecessor: invocation.predecessor, diedAt: invocation.diedAt) {
            invocation.report("ready")
        }
        Self.exitAnyway(after: Limits.drain * 3)
        control?.stop()
        // The datastore counts in the slots' memory to its end.
        withExtendedLifetime(session) { datastore.close() }
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

    /// The mount is gone and nobody waits for an answer any more: a datastore that hangs must not
    /// keep the process for ever.
    private static func exitAnyway(after seconds: UInt64) {
        let thread = try? Thread(name: "exit") {
            sleep(milliseconds: seconds * 1000)
            SystemLog.warning("the datastore did not answer to the end")
            _exit(0)
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
