import CLinux
import ControlPath
import FuseServer
import Glibc
import Policy
import Syscalls

/// A server as its keeper sees it: a process.
struct ServerProcess: ~Copyable {
    /// How it ended.
    enum End: Equatable {
        case exit(Int32)
        case signal(Int32)
        /// It showed no sign of life, was killed, and may not be gone yet.
        case hang
    }

    let pid: pid_t
    private let handle: Descriptor

    /// Starts this program again with other arguments, or another one. `descriptors` become 3, 4,
    /// 5 … in the new process; their own numbers must be higher than those. `output` takes what it
    /// writes to its standard output and error; without it they are this process's.
    static func start(
        program: String = "/proc/self/exe", arguments: [String], descriptors: [Int32],
        output: Int32? = nil
    ) throws(Errno) -> ServerProcess {
        var copies = descriptors.enumerated().map { (from: $1, to: Int32(3 + $0)) }
        if let output { copies += [(output, 1), (output, 2)] }
        // A trap must end the process at once: nobody waits for a back trace while clients wait.
        setenv("SWIFT_BACKTRACE", "enable=no", 1)
        let pid = try Spawn.start(
            program, [CommandLine.arguments[0]] + arguments, descriptors: copies)
        let handle = try call { CLinux_pidfd_open(pid) }
        return ServerProcess(pid: pid, handle: Descriptor(owning: handle))
    }

    private init(pid: pid_t, handle: consuming Descriptor) {
        self.pid = pid
        self.handle = handle
    }

    /// Lets go of processes that were replaced before they were gone.
    static func reapEarlier() {
        while waitpid(-1, nil, WNOHANG) > 0 {}
    }

    /// Waits for the end for so many milliseconds, then kills it.
    func end(within milliseconds: UInt64) -> End {
        var event = pollfd(fd: handle.raw, events: Int16(POLLIN), revents: 0)
        if poll(&event, 1, Int32(clamping: milliseconds)) > 0 { return reap() }
        CLinux_pidfd_signal(handle.raw, SIGKILL)
        return reap()
    }

    /// Waits for the end. Looks ten times a second whether there is a sign of life; a server that
    /// shows none although there is something to do is killed. Time in which this process itself
    /// did not run does not count. Once `isDue` says so, it is asked to hand over.
    func wait(
        slots: RequestSlots, device: Int32, pump: EventPump, isDue: () -> Bool
    ) -> End {
        let interval = Limits.serverLook
        var lastBeat: UInt64 = 0
        var silence: UInt64 = 0
        var isAsked = false
        let watch = DeathWatch(slots)
        defer { watch.end() }
        var events = [handle.raw, watch.descriptor].map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        while true {
            if !isAsked, isDue() {
                isAsked = true
                CLinux_pidfd_signal(handle.raw, SIGTERM)
            }
            if poll(&events, nfds_t(events.count), Int32(interval)) > 0 {
                if events[0].revents != 0 { return reap() }
                if let end = endInSight() { return end }
                // It ends by itself: nobody waits, and how it ended is to be known for certain.
                events[1].fd = -1
            }
            pump.turn()
            let beat = slots.lastBeat
            ServiceReport.beat(isServing: beat != 0 && slots.hasServed)
            silence = beat == lastBeat ? silence + interval : 0
            lastBeat = beat
            if silence >= interval, let end = endInSight() { return end }
            let start = slots.hasServed ? Limits.serverRestart : Limits.serverStart
            let limit = beat == 0 ? start * 1000 : Limits.serverSilence
            guard silence >= limit, hasWork(slots, device) else { continue }
            SystemLog.error("server \(pid) shows no sign of life; it is replaced")
            CLinux_pidfd_signal(handle.raw, SIGKILL)
            // Its threads end within microseconds; the process may take longer, for example to
            // close files on a datastore that hangs. Nobody waits for that.
            var event = pollfd(fd: handle.raw, events: Int16(POLLIN), revents: 0)
            if poll(&event, 1, Int32(interval)) > 0 { _ = reap() }
            return .hang
        }
    }

    /// Something is to be done: in the slots, or in the kernel's queue.
    private func hasWork(_ slots: RequestSlots, _ device: Int32) -> Bool {
        if slots.hasRequests { return true }
        var event = pollfd(fd: device, events: Int16(POLLIN), revents: 0)
        return poll(&event, 1, 0) > 0 && event.revents & Int16(POLLIN) != 0
    }

    private func reap() -> End {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            if errno != EINTR { return .exit(1) }
        }
        return Self.end(of: status)
    }

    private static func end(of status: Int32) -> End {
        let number = status & 0x7f
        return number == 0 ? .exit((status >> 8) & 0xff) : .signal(number)
    }

    /// How the process ends when its main thread has ended and it is not gone yet: it may take
    /// seconds to free its memory, and threads may wait in calls on a datastore that hangs. What is
    /// left runs no code of ours any more.
    private func endInSight() -> End? {
        guard let text = TextFile.read("/proc/\(pid)/stat"), let name = text.lastIndex(of: ")")
        else { return nil }
        // proc(5): `flags` is field 9 and `exit_code` the last one; the name before the third may
        // hold anything.
        let fields = text[name...].split(whereSeparator: \.isWhitespace)
        guard fields.count > 50, let flags = UInt32(fields[7]), let status = Int32(fields[50])
        else { return nil }
        let isExiting: UInt32 = 0x4
        // 0 is also what is told to those who may not know; an unmounted server ends otherwise.
        guard flags & isExiting != 0, status != 0 else { return nil }
        return Self.end(of: status)
    }
}
