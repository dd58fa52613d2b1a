import CFuse
import DataPath
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import FuseServer

/// Requests that wait for flash and those that wait for the datastore do not hold one another up.
/// In these tests a read at an even offset is found in flash, one at an odd offset is not; both
/// then wait at the gate of their node.
@Suite struct FlashThreadsTests {
    private func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        table.read = { request, node, _, offset, _ in
            let isInFlash = offset % 2 == 0
            let needed: Errno = isInFlash ? .mustReadFlash : .mustWait
            guard isInFlash ? WaitMode.mayReadFlash : WaitMode.mayWait else {
                RequestContext.current.neededMode = needed.neededMode
                fuse_reply_none(request)
                return
            }
            Gates.pass(node)
            fuse_reply_err(request, WaitMode.current == .flash ? ENODATA : ENOTCONN)
        }
        // Found in flash by the reader, and gone when the thread for flash comes to it.
        table.getxattr = { request, node, _, _ in
            switch WaitMode.current {
            case .memory: RequestContext.current.neededMode = .flash
            case .flash:
                Gates.pass(node)
                RequestContext.current.neededMode = .datastore
            case .datastore:
                fuse_reply_err(request, ENOTCONN)
                return
            }
            fuse_reply_none(request)
        }
        return table
    }

    private func send(
        _ mount: FakeMount, unique: UInt64, node: UInt64, offset: UInt64
    ) {
        var argument = fuse_read_in()
        argument.offset = offset
        argument.size = 4096
        mount.kernel.send(15, unique: unique, node: node, TransportTests.bytes(of: argument))
    }

    private func sendOvertaken(_ mount: FakeMount, unique: UInt64, node: UInt64) {
        let argument = TransportTests.bytes(of: fuse_getxattr_in()) + Array("user.a\0".utf8)
        mount.kernel.send(22, unique: unique, node: node, argument)
    }

    @Test func flashIsReadWhileTheDatastoreHangs() throws {
        let mount = try FakeMount()
        try mount.serve(table(), workers: 2) { _ in
            for unique in [10, 12, 14] as [UInt64] {
                send(mount, unique: unique, node: 401, offset: 1)
            }
            Gates.awaitEntry(401, count: 2)
            Gates.open(402)
            for unique in 50..<60 as Range<UInt64> {
                send(mount, unique: unique * 2, node: 402, offset: 0)
                let reply = mount.kernel.receive()
                #expect(reply == FakeKernel.Reply(unique: unique * 2, error: ENODATA, body: []))
            }
            #expect(Gates.entries(401) == 2, "all workers are stuck, and they alone")
            Gates.open(401)
            let rest = (0..<3).compactMap { _ in mount.kernel.receive() }
            #expect(Set(rest.map(\.unique)) == [10, 12, 14])
            #expect(rest.allSatisfy { $0.error == ENOTCONN })
        }
    }

    @Test func theDatastoreIsReadWhileFlashHangs() throws {
        let mount = try FakeMount()
        try mount.serve(table(), flashWorkers: 2) { _ in
            for unique in [10, 12, 14] as [UInt64] {
                send(mount, unique: unique, node: 403, offset: 0)
            }
            Gates.awaitEntry(403, count: 2)
            Gates.open(404)
            send(mount, unique: 20, node: 404, offset: 1)
            let reply = mount.kernel.receive()
            #expect(reply == FakeKernel.Reply(unique: 20, error: ENOTCONN, body: []))
            #expect(Gates.entries(403) == 2, "no more threads than the limit")
            Gates.open(403)
            let rest = (0..<3).compactMap { _ in mount.kernel.receive() }
            #expect(Set(rest.map(\.unique)) == [10, 12, 14])
        }
    }

    /// The only thread for flash is free for others while a request that it began waits for the
    /// datastore.
    @Test func whatIsNoLongerInFlashMovesOn() throws {
        let mount = try FakeMount()
        try mount.serve(table(), workers: 1, flashWorkers: 1) { _ in
            send(mount, unique: 10, node: 405, offset: 1)
            Gates.awaitEntry(405)
            Gates.open(406)
            sendOvertaken(mount, unique: 12, node: 406)
            Gates.awaitEntry(406)
            send(mount, unique: 14, node: 406, offset: 0)
            #expect(mount.kernel.receive()?.unique == 14)
            Gates.open(405)
            let rest = [mount.kernel.receive(), mount.kernel.receive()]
            #expect(Set(rest.compactMap { $0?.unique }) == [10, 12])
            #expect(rest.allSatisfy { $0?.error == ENOTCONN })
            let slots = try mount.slots()
            #expect(eventually { TransportTests.received(slots) == 0 })
        }
    }

    /// The monitor ends waits for flash like any other, and a thread that comes back from flash
    /// later answers nothing, wherever its request would have gone next.
    @Test func waitsForFlashEnd() throws {
        let mount = try FakeMount()
        try mount.serve(table(), flashWorkers: 2) { session in
            send(mount, unique: 10, node: 407, offset: 0)
            sendOvertaken(mount, unique: 12, node: 407)
            Gates.awaitEntry(407, count: 2)
            send(mount, unique: 14, node: 407, offset: 0)
            let slots = try mount.slots()
            #expect(eventually { TransportTests.received(slots) == 3 })
            let context = session.makeContext(session.slots.slot(0))
            session.endWaits(now: monotonicNanoseconds() + .seconds(3600), context)
            let replies = (0..<3).compactMap { _ in mount.kernel.receive() }
            #expect(Set(replies.map(\.unique)) == [10, 12, 14])
            #expect(replies.allSatisfy { $0.error == ETIMEDOUT })
            #expect(slots.value(CounterWord.timedOut) == 3)
            Gates.open(407)
            #expect(mount.kernel.receive(within: 200) == nil)
            #expect(eventually { TransportTests.received(slots) == 0 })
            #expect(Gates.entries(407) == 2, "the queued one was told to try again: not done")
        }
    }

    @Test func signalsEndWaitsForFlash() throws {
        let mount = try FakeMount()
        try mount.serve(table(), flashWorkers: 1) { _ in
            send(mount, unique: 10, node: 408, offset: 0)
            Gates.awaitEntry(408)
            mount.kernel.send(36, unique: 11, TransportTests.bytes(of: 10 as UInt64))
            let reply = mount.kernel.receive()
            #expect(reply == FakeKernel.Reply(unique: 10, error: EINTR, body: []))
            Gates.open(408)
            #expect(mount.kernel.receive(within: 100) == nil)
        }
    }

    /// At the unmount what was begun and what is queued is done.
    @Test func theEndWaitsForFlash() throws {
        let mount = try FakeMount()
        let slots = try mount.slots()
        try mount.serve(table(), flashWorkers: 1) { _ in
            send(mount, unique: 10, node: 409, offset: 0)
            Gates.awaitEntry(409)
            send(mount, unique: 12, node: 409, offset: 0)
            #expect(eventually { TransportTests.received(slots) == 2 })
            let opener = try Thread(name: "opener") {
                sleep(milliseconds: 100)
                Gates.open(409)
            }
            opener.detach()
        }
        #expect(Gates.entries(409) == 2)
        #expect(TransportTests.received(slots) == 0)
    }
}
