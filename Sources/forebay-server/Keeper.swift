import CLinux
import ControlPath
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
    let invocation: Invocation
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
        Residency.secure()
        do throws(Refusal) {
            let name = try NameLock(invocation.options.name)
            defer { withExtendedLifetime(name) {} }
            defer { unlink(invocation.options.controlSocket) }
            defer { ServiceManager.forgetStored() }
            let kept =
                invocation.isAdopted
                ? KeptDescriptors(adopting: invocation)
                : try KeptDescriptors.make(invocation.options, mount: mount)
            kept.store(lock: invocation.lockDescriptor)
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
        let pump = EventPump(slots: slots, name: invocation.options.name)
        defer { pump.turn() }
        // Here and not in each server: their clients would wait for it.
        do throws(Errno) {
            try slots.lock()
        } catch {
            SystemLog.warning("the request slots cannot be locked in memory: \(error)")
        }
        var life = Life()
        resume(&life, slots)
        while true {
            slots.lastBeat = 0
            slots.handedOverAt = 0
            let end = serve(slots, kept, life, pump)
            if end == .exit(ServerExit.unmounted.rawValue) { return 0 }
            guard slots.hasServed else {
                mount.remove()
                if end != .exit(ServerExit.cannotServe.rawValue) {
                    invocation.report("error the server ended: \(end)")
                }
                return 1
            }
            note(end, &life, slots, kept, pump)
            pump.turn()
            if end == .exit(ServerExit.handOverToInstalled.rawValue) {
                becomeInstalled(kept, life)
            }
            sleep(milliseconds: life.delay)
        }
    }

    private func serve(
        _ slots: RequestSlots, _ kept: KeptDescriptors, _ life: Life, _ pump: EventPump
    ) -> ServerProcess.End {
        let options = invocation.options
        var arguments = ["serve", options.backing, options.mountpoint, "-o", options.optionText]
        let later = slots.laterOptions
        if !later.isEmpty { arguments += ["-o", later] }
        arguments += KeptDescriptors.arguments + KeptDescriptors.bond
        var descriptors = kept.all
        if let ready = invocation.readyDescriptor, !slots.hasServed {
            arguments += ["--ready-fd", "\(3 + descriptors.count)"]
            descriptors.append(KeptDescriptors.raise(ready))
        }
        arguments += life.arguments
        ServerProcess.reapEarlier()
        do throws(Errno) {
            let process = try ServerProcess.start(arguments: arguments, descriptors: descriptors)
            if descriptors.count > kept.all.count { close(descriptors[kept.all.count]) }
            return process.wait(slots: slots, device: kept.fuse, pump: pump) {
                bypassIsOver(life, slots)
            }
        } catch {
            SystemLog.error("a server could not be started: \(error)")
            return .exit(2)
        }
    }
}
