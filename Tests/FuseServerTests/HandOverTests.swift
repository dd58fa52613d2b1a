import CFuse
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import FuseServer

/// A server that ends while the mount goes on.
@Suite struct HandOverTests {
    private let name = Array("name\0".utf8)

    private func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        table.unlink = { request, parent, _ in
            Gates.pass(parent)
            fuse_reply_err(request, 0)
        }
        table.getattr = { request, node, _ in
            guard WaitMode.mayReadFlash else {
                RequestContext.current.neededMode = .flash
                fuse_reply_none(request)
                return
            }
            Gates.pass(node)
            fuse_reply_err(request, WaitMode.current == .flash ? ENODATA : ENOTCONN)
        }
        return table
    }

    /// Runs a session until it has handed over; `body` plays the kernel meanwhile.
    private func handOver(
        _ mount: FakeMount, workers: Int = 4, flashWorkers: Int = 4,
        _ body: (Session) throws -> Void
    ) throws -> SessionEnd {
        let session = try mount.session(table(), workers: workers, flashWorkers: flashWorkers)
        let end = Condition<SessionEnd?>(nil)
        let isReady = Condition(false)
        let thread = try Thread(name: "session") {
            let result = try? session.run(predecessor: .none) { isReady.update { $0 = true } }
            end.update { $0 = result ?? .unmounted }
        }
        mount.kernel.send(FakeKernel.initRequest())
        #expect(mount.kernel.receive()?.unique == 2)
        _ = isReady.wait { $0 ? true : nil }
        try body(session)
        let result = end.wait { $0 }
        thread.join()
        try dismissReaders(mount)
        return result ?? .unmounted
    }

    /// Threads that wait for a request would end with their process. Here each is given one that
    /// needs no answer, after which it leaves.
    private func dismissReaders(_ mount: FakeMount) throws {
        let slots = try mount.slots()
        for _ in 0..<Limits.readerThreads {
            mount.kernel.send(2, unique: 100, Array(repeating: 0, count: 8))
        }
        try #require(
            eventually {
                !(0..<slots.format.count).contains { slots.slot($0).state == .reading }
            })
    }

    /// Runs the successor until `body` has played the kernel.
    private func succeed(_ mount: FakeMount, _ body: () throws -> Void) throws {
        try mount.serve(table(), predecessor: .handedOver) { _ in try body() }
    }

    @Test func anIdleServerLeavesNothing() throws {
        let mount = try FakeMount()
        let end = try handOver(mount) { $0.handOver() }
        #expect(end == .handedOver(isIdle: true))
        let slots = try mount.slots()
        #expect(!slots.hasRequests)
        #expect(slots.handedOverAt > 0)
    }

    /// A request that ends in time is answered by the server that has it.
    @Test func requestsUnderWayEnd() throws {
        let mount = try FakeMount()
        let end = try handOver(mount) { session in
            mount.kernel.send(10, unique: 60, node: 301, name)
            Gates.awaitEntry(301)
            session.handOver()
            Gates.open(301)
            #expect(mount.kernel.receive()?.unique == 60)
        }
        #expect(end == .handedOver(isIdle: true))
        try succeed(mount) {
            mount.kernel.send(10, unique: 62, node: 302, name)
            Gates.open(302)
            #expect(mount.kernel.receive()?.unique == 62)
            #expect(mount.kernel.receive(within: 100) == nil)
        }
        #expect(Gates.entries(301) == 1)
        #expect(Gates.repeats(302) == 0)
    }

    /// What does not end in time, and what was not begun, the successor does; each has one answer.
    @Test func whatIsLeftGoesOn() throws {
        let mount = try FakeMount()
        let end = try handOver(mount, workers: 1) { session in
            mount.kernel.send(10, unique: 64, node: 303, name)
            Gates.awaitEntry(303)
            mount.kernel.send(10, unique: 66, node: 304, name)
            let slots = try mount.slots()
            #expect(eventually { waiting(in: slots) == 2 })
            session.handOver()
        }
        #expect(end == .handedOver(isIdle: false))
        // The process of the first server would be gone here: its thread must not answer too.
        let slots = try mount.slots()
        let left = (0..<slots.format.count).map { slots.slot($0) }.filter {
            $0.state == .received
        }
        #expect(Set(left.map(\.unique)) == [64, 66])
        #expect(left.filter { $0.load(.started) != 0 }.map(\.unique) == [64])
        #expect(left.allSatisfy { $0.load(.answered) == 0 && $0.load(.traps) == 0 })
        for gate in [303, 304] as [UInt64] { Gates.open(gate) }
        #expect(mount.kernel.receive()?.unique == 64)
        #expect(mount.kernel.receive(within: 100) == nil, "nothing new is begun")
        try succeed(mount) { #expect(mount.kernel.receive()?.unique == 66) }
        #expect(Gates.entries(304) == 1)
        #expect(try mount.slots().value(CounterWord.restarts) == 1)
    }

    /// The same for what waits for flash; the successor does it where everything may wait.
    @Test func whatWaitsForFlashGoesOn() throws {
        let mount = try FakeMount()
        let argument = [UInt8](repeating: 0, count: 16)
        let end = try handOver(mount, flashWorkers: 1) { session in
            mount.kernel.send(3, unique: 80, node: 305, argument)
            Gates.awaitEntry(305)
            mount.kernel.send(3, unique: 82, node: 306, argument)
            let slots = try mount.slots()
            #expect(eventually { waiting(in: slots) == 2 })
            session.handOver()
        }
        #expect(end == .handedOver(isIdle: false))
        for gate in [305, 306] as [UInt64] { Gates.open(gate) }
        let first = mount.kernel.receive()
        #expect(first == FakeKernel.Reply(unique: 80, error: ENODATA, body: []))
        #expect(mount.kernel.receive(within: 100) == nil, "nothing new is begun")
        try succeed(mount) {
            let second = mount.kernel.receive()
            #expect(second == FakeKernel.Reply(unique: 82, error: ENOTCONN, body: []))
        }
        #expect(Gates.entries(306) == 1)
    }

    private func waiting(in slots: RequestSlots) -> Int {
        (0..<slots.format.count).filter { slots.slot($0).state == .received }.count
    }
}
