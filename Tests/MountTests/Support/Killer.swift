import CLinux
import FuseServer
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

/// Ends the servers of a mount, and counts what they had under way: a death of an idle server shows
/// nothing.
final class Killer {
    private let mount: ForebayMount
    /// The mount's request slots, as the keeper holds them.
    private let slots: RequestSlots
    private let memory: Descriptor
    /// Servers ended.
    private(set) var kills = 0
    /// Those of them that had requests under way, and how many these were in all.
    private(set) var busyKills = 0
    private(set) var requests = 0

    init(_ mount: ForebayMount) throws {
        self.mount = mount
        let folder = "/proc/\(try mount.keeperPid)/fd"
        let number = try Files.names(folder).first { name in
            let wanted = "/memfd:forebay-slots"
            var target = [CChar](repeating: 0, count: wanted.utf8.count)
            let length = readlink("\(folder)/\(name)", &target, target.count)
            return length == target.count && target.elementsEqual(wanted.utf8CString.dropLast())
        }
        memory = try Descriptor(path: "\(folder)/\(try #require(number))", flags: O_RDWR)
        slots = try RequestSlots(descriptor: memory.raw, populated: false)
    }

    /// The process that serves now; nil between two of them.
    var server: Int32? {
        mount.processes().first { $0.arguments.contains("serve") }?.pid
    }

    /// Servers that took over, as the mount counts them.
    var restarts: UInt64 { slots.value(CounterWord.restarts) }

    /// Requests that were answered with an error because two servers had died of them.
    var poisoned: UInt64 { slots.value(CounterWord.poisoned) }

    /// The cache does its work: no server was started without it.
    var isBypassed: Bool { slots.bypass != .off }

    /// Ends the server by a signal; by SIGSTOP it hangs instead until the keeper ends it. It is
    /// stopped first, so that what it has under way can be counted. Answers its number.
    @discardableResult
    func kill(_ number: Int32) throws -> Int32 {
        var found: Int32?
        _ = eventually {
            found = server
            return found != nil
        }
        let victim = try #require(found, "a server is there")
        try must { Glibc.kill(victim, SIGSTOP) }
        let underWay = slots.requestsUnderWay
        kills += 1
        busyKills += underWay > 0 ? 1 : 0
        requests += underWay
        guard number != SIGSTOP else { return victim }
        try must { Glibc.kill(victim, number) }
        // Of all signals only SIGKILL ends a stopped process.
        if number != SIGKILL { Glibc.kill(victim, SIGCONT) }
        return victim
    }

    /// Waits for a server that has taken over since there were `count` restarts.
    func awaitSuccessor(since count: UInt64, within seconds: UInt64 = 20) -> Bool {
        eventually(within: seconds) { restarts > count }
    }

    /// Fails the test when its kills proved nothing.
    func expectKillsCounted(sourceLocation: SourceLocation = #_sourceLocation) {
        print("kills: \(kills), \(busyKills) with requests under way, \(requests) requests")
        #expect(
            busyKills * 2 > kills, "most servers had something to do when they were ended",
            sourceLocation: sourceLocation)
        #expect(!isBypassed, "the cache was in use", sourceLocation: sourceLocation)
        #expect(poisoned == 0, sourceLocation: sourceLocation)
    }
}
