import FuseServer
import Glibc
import Policy
import Syscalls

// What lies between one server and the next.
extension Keeper {
    /// Takes over how things stood with an earlier keeper of this mount.
    func resume(_ life: inout Life, _ slots: RequestSlots) {
        if invocation.isAdopted {
            if invocation.predecessor == .handedOver {
                life.noteHandOver(since: invocation.diedAt)
            } else {
                life.noteLoss(since: slots.lastBeat)
            }
        }
        if slots.bypass == .automatic { life.beginBypass(at: monotonicNanoseconds()) }
    }

    /// Draws the conclusions of a server's end.
    func note(
        _ end: ServerProcess.End, _ life: inout Life, _ slots: RequestSlots,
        _ kept: KeptDescriptors, _ pump: EventPump
    ) {
        let now = monotonicNanoseconds()
        switch end {
        case .exit(ServerExit.handOver.rawValue), .exit(ServerExit.handOverToInstalled.rawValue):
            let stopped = slots.handedOverAt
            life.noteHandOver(since: stopped == 0 ? now : stopped)
        default:
            pump.serverEnded(end, hadServed: slots.lastBeat != 0)
            let isWithout = life.note(
                end, at: now, hadServed: slots.lastBeat != 0, hasCulprit: slots.suspects == 1)
            if isWithout { beginBypass(slots, kept) }
        }
        if life.bypassUntil != nil, slots.bypass != .automatic { life.endBypass(at: now) }
        if bypassIsOver(life, slots) {
            slots.bypass = .off
            life.endBypass(at: now)
            Events.raise(.bypass, .recovered, "the cache is used again")
        }
    }

    /// The next server does without the cache. What the cache was is given up: it may be what the
    /// servers died of, and nobody would keep it right.
    private func beginBypass(_ slots: RequestSlots, _ kept: KeptDescriptors) {
        if slots.bypass == .off { slots.bypass = .automatic }
        do throws(Errno) {
            try kept.forgetFrames()
        } catch {
            SystemLog.error("the memory of the cache: \(error)")
        }
        Events.raise(
            .bypass, .problem,
            "servers crashed one after the other: the cache is left out of the way for a while")
    }

    /// The time without the cache has passed.
    func bypassIsOver(_ life: Life, _ slots: RequestSlots) -> Bool {
        guard let until = life.bypassUntil, slots.bypass == .automatic else { return false }
        return monotonicNanoseconds() >= until
    }

    /// Goes on as the program that is installed now, with the same number and descriptors
    /// (execve(2)). Returns when that failed: then this one goes on.
    func becomeInstalled(_ kept: KeptDescriptors, _ life: Life) {
        let options = invocation.options
        var arguments = ["keep", options.backing, options.mountpoint, "-o", options.optionText]
        arguments += kept.ownArguments + life.arguments
        if let lock = invocation.lockDescriptor { arguments += ["--lock-fd", "\(lock)"] }
        do throws(Refusal) {
            let program = try InstalledProgram.path()
            var words = ([program] + arguments).map { strdup($0) }
            words.append(nil)
            defer { for word in words { free(word) } }
            kept.staysOpen(true)
            execv(program, words)
            let error = Errno.last
            kept.staysOpen(false)
            throw Refusal(program, "\(error)")
        } catch {
            Events.raise(
                .server, .problem,
                "\(error.what): \(error.why): version \(Version.text) goes on")
        }
    }
}

extension Life {
    /// What a successor is told.
    var arguments: [String] {
        guard let cause else { return [] }
        return ["--died", cause.rawValue, "--died-at", String(diedAt)]
    }
}
