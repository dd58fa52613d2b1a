import CLinux
import FuseServer
import Glibc
import Policy
import Syscalls

/// Holds what must outlive a server: the mount's descriptor, the memory of the request slots and
/// that of the cache's frames. Starts the server and replaces it when it dies or hangs, for as long
/// as the mount is there. Looks at no request, so nothing in a request can end it.
///
/// SIGTERM, SIGINT and SIGHUP do nothing here: a datastore ends by umount(2), which `forebay
/// unmount` calls, and at shutdown by the system's own unmounting. The server then finds the mount
/// gone and exits with 0, and the keeper with it.
struct Keeper {
    private let invocation: Invocation
    private let mount: KernelMount

    init(_ invocation: Invocation) {
        self.invocation = invocation
        mount = KernelMount(options: invocation.options)
    }

    /// Runs until the mount is gone. Answers the exit status.
    func run() -> Int32 {
        for number in [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2] { signal(number, SIG_IGN) }
        setsid()
        chdir("/")
        do throws(Refusal) {
            let name = try NameLock(invocation.options.name)
            defer { withExtendedLifetime(name) {} }
            defer { unlink(invocation.options.controlSocket) }
            let kept = try KeptDescriptors.make(invocation.options, mount: mount)
            let status = try keep(kept)
            if mount.isDead { mount.remove() }
            return status
        } catch {
            SystemLog.error("\(error.what): \(error.why)")
            invocation.report("error \(error.what): \(error.why)")
            return 1
        }
    }

    private func keep(_ kept: KeptDescriptors) throws(Refusal) -> Int32 {
        let slots: RequestSlots
        do throws(Errno) {
            slots = try RequestSlots(descriptor: kept.slots, populated: false)
        } catch {
            mount.remove()
            throw Refusal("memory of the mount", "\(error)")
        }
        Events.install { slots.raise($0) }
        // Here and not in each server: their clients would wait for it.
        do throws(Errno) {
            try slots.lock()
        } catch {
            SystemLog.warning("the request slots cannot be locked in memory: \(error)")
        }
        var life = Life()
        while true {
            slots.lastBeat = 0
            let end = serve(slots, kept, &life)
            if end == .exit(0) { return 0 }
            guard slots.hasServed else {
                mount.remove()
                if end != .exit(1) { invocation.report("error the server ended: \(end)") }
                return 1
            }
            SystemLog.warning("the server ended (\(end)); another one takes over")
            life.note(end, hadServed: slots.lastBeat != 0)
            sleep(milliseconds: life.delay)
        }
    }

    private func serve(
        _ slots: RequestSlots, _ kept: KeptDescriptors, _ life: inout Life
    ) -> ServerProcess.End {
        let options = invocation.options
        var arguments = ["serve", options.backing, options.mountpoint, "-o", options.optionText]
        let later = slots.laterOptions
        if !later.isEmpty { arguments += ["-o", later] }
        arguments += KeptDescriptors.arguments
        var descriptors = kept.all
        if let ready = invocation.readyDescriptor, !slots.hasServed {
            arguments += ["--ready-fd", "\(3 + descriptors.count)"]
            descriptors.append(KeptDescriptors.raise(ready))
        }
        if let cause = life.cause {
            arguments += ["--died", cause, "--died-at", String(life.diedAt)]
        }
        ServerProcess.reapEarlier()
        do throws(Errno) {
            let process = try ServerProcess.start(arguments: arguments, descriptors: descriptors)
            if descriptors.count > kept.all.count { close(descriptors[kept.all.count]) }
            return process.wait(slots: slots, device: kept.fuse)
        } catch {
            SystemLog.error("a server could not be started: \(error)")
            return .exit(2)
        }
    }
}

/// How servers lived so far: what the next one is told, and when it starts.
struct Life {
    /// Why the last one ended: `trap` or `other`; nil before the first end.
    private(set) var cause: String?
    private(set) var diedAt: UInt64 = 0
    /// Milliseconds to wait before the next start.
    private(set) var delay: UInt64 = 0

    /// Signals by which a process ends itself, one request perhaps being the reason.
    static let traps: Set<Int32> = [SIGILL, SIGTRAP, SIGSEGV, SIGABRT, SIGBUS, SIGFPE]

    /// A server that had served and was killed from outside has a successor at once. Otherwise the
    /// next start would probably end as the last one, so each waits longer, up to five seconds.
    mutating func note(_ end: ServerProcess.End, hadServed: Bool) {
        var isTrap = false
        if case .signal(let number) = end { isTrap = Self.traps.contains(number) }
        cause = isTrap ? "trap" : "other"
        let now = monotonicNanoseconds()
        let sinceLast = now &- diedAt
        diedAt = now
        if hadServed, !isTrap || sinceLast > .seconds(30) {
            delay = 0
        } else if delay == 0, hadServed {
            delay = 100
        } else {
            delay = min(max(100, delay * 2), 5000)
        }
    }
}
