import CFuse
import CLinux
import DataPath
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import FuseServer

/// Requests and replies over a fake kernel.
@Suite struct TransportTests {
    @Test func initAgreesOnTheRightThings() throws {
        let mount = try FakeMount()
        let session = try mount.session(fuse_lowlevel_ops())
        let thread = try Thread(name: "session") { _ = try? session.run(predecessor: .none) {} }
        mount.kernel.send(FakeKernel.initRequest())
        let reply = try #require(mount.kernel.receive())
        let out = reply.body.withUnsafeBytes { $0.loadUnaligned(as: fuse_init_out.self) }
        let flags = out.flags
        #expect(flags & (1 << 4) != 0, "EXPORT_SUPPORT")
        #expect(flags & (1 << 25) != 0, "EXPLICIT_INVAL_DATA")
        #expect(flags & (1 << 28) != 0, "HANDLE_KILLPRIV_V2")
        for bit in [1, 3, 10, 12, 14, 16, 19, 20] {
            #expect(flags & (1 << UInt32(bit)) == 0, "flag \(bit)")
        }
        #expect(out.max_write == 1 << 20)
        #expect(Int(out.max_background) == mount.format.small)
        let slots = try mount.slots()
        #expect(slots.initRequestLength == 40 + MemoryLayout<fuse_init_in>.size)
        #expect(slots.initReplyLength == reply.body.count + 16)
        mount.kernel.unmount()
        thread.join()
    }

    @Test func successorDoesNotAnswerInitAgain() throws {
        let mount = try FakeMount()
        try mount.serve(fuse_lowlevel_ops()) { _ in }
        let kernel = mount.kernel
        #expect(kernel.receive(within: 0) == nil)
        // The socket is shut down by now; what matters is that nothing but the end is seen.
        let session = try mount.session(fuse_lowlevel_ops())
        try session.run(predecessor: .other) {}
        #expect(kernel.receive(within: 0) == nil)
        #expect(try mount.slots().value(CounterWord.restarts) == 1)
    }

    @Test func operationsWithoutAnswerAreToldToTryLater() throws {
        var table = fuse_lowlevel_ops()
        table.statfs = { request, _ in fuse_reply_none(request) }
        let mount = try FakeMount()
        try mount.serve(table) { _ in
            mount.kernel.send(17, unique: 10)
            #expect(mount.kernel.receive()?.error == ETIMEDOUT)
            mount.kernel.send(99, unique: 12)
            #expect(mount.kernel.receive()?.error == ENOSYS)
            let slots = try mount.slots()
            // Another reader than the first one's may have answered the second.
            #expect(eventually { slots.value(CounterWord.dropped) == 1 })
            #expect(slots.value(CounterWord.opcodes + 17) == 1)
        }
    }

    /// What must wait is done again on a thread that may; readers go on meanwhile.
    @Test func waitingRequestsDoNotHoldUpOthers() throws {
        var table = fuse_lowlevel_ops()
        table.getattr = { request, node, _ in
            guard WaitMode.mayWait || node == 1 else {
                RequestContext.current.neededMode = .datastore
                fuse_reply_none(request)
                return
            }
            if node != 1 { Gates.pass(101) }
            fuse_reply_err(request, EPERM)
        }
        let mount = try FakeMount(format: SlotFormat(large: 5, medium: 1, small: 3))
        try mount.serve(table, workers: 2) { _ in
            let argument = [UInt8](repeating: 0, count: 16)
            for unique in [12, 14, 16] as [UInt64] {
                mount.kernel.send(3, unique: unique, node: 5, argument)
            }
            Gates.awaitEntry(101, count: 2)
            for unique in 100...120 as ClosedRange<UInt64> {
                mount.kernel.send(3, unique: unique * 2, argument)
                #expect(mount.kernel.receive()?.unique == unique * 2)
            }
            Gates.open(101)
            let answered = Set((0..<3).compactMap { _ in mount.kernel.receive()?.unique })
            #expect(answered == [12, 14, 16])
        }
    }

    /// Signs of life stop when no reader gets on, and only then.
    @Test func stuckReadersAreNoLife() throws {
        var table = fuse_lowlevel_ops()
        table.getattr = { request, node, _ in
            Gates.pass(node)
            fuse_reply_err(request, EPERM)
        }
        let mount = try FakeMount()
        try mount.serve(table) { _ in
            let slots = try mount.slots()
            let argument = [UInt8](repeating: 0, count: 16)
            // Ten times what a sign of life takes; all has to end before single readers count as
            // stuck, after two seconds.
            func isAlive() -> Bool {
                let beat = slots.lastBeat
                let end = monotonicNanoseconds() + 10 * .milliseconds(Limits.monitorInterval)
                while slots.lastBeat == beat, monotonicNanoseconds() < end {
                    sleep(milliseconds: 5)
                }
                return slots.lastBeat != beat
            }
            for number in 1..<UInt64(Limits.readerThreads) {
                mount.kernel.send(3, unique: 40 + 2 * number, node: 111, argument)
            }
            Gates.awaitEntry(111, count: Limits.readerThreads - 1)
            sleep(milliseconds: 2 * Limits.readersPatience)
            #expect(isAlive())
            mount.kernel.send(3, unique: 60, node: 112, argument)
            Gates.awaitEntry(112)
            #expect(eventually { !isAlive() })
            Gates.open(112)
            #expect(mount.kernel.receive()?.unique == 60)
            #expect(isAlive())
            Gates.open(111)
            for _ in 1..<Limits.readerThreads { #expect(mount.kernel.receive()?.error == EPERM) }
        }
    }

    /// A request has one reply: the monitor's or its operation's.
    @Test func lateRepliesAreSwallowed() throws {
        var table = fuse_lowlevel_ops()
        table.rmdir = { request, _, _ in
            Gates.pass(102)
            fuse_reply_err(request, 0)
        }
        let mount = try FakeMount()
        try mount.serve(table, workers: 1) { session in
            mount.kernel.send(11, unique: 20, Array("first\0".utf8))
            Gates.awaitEntry(102)
            mount.kernel.send(11, unique: 22, Array("second\0".utf8))
            let slots = try mount.slots()
            let isQueued = eventually { slots.requestCounts().first?.count == 2 }
            #expect(isQueued)
            let all = eventually { Self.received(slots) == 2 }
            #expect(all)
            let context = session.makeContext(session.slots.slot(0))
            session.endWaits(now: monotonicNanoseconds() + .seconds(3600), context)
            let replies = [mount.kernel.receive(), mount.kernel.receive()]
            #expect(Set(replies.compactMap { $0?.unique }) == [20, 22])
            #expect(replies.allSatisfy { $0?.error == ETIMEDOUT })
            Gates.open(102)
            #expect(mount.kernel.receive(within: 200) == nil)
            let isFree = eventually { Self.received(slots) == 0 }
            #expect(isFree)
            #expect(Gates.entries(102) == 1, "the queued one was told to try again: not done")
            #expect(slots.value(CounterWord.timedOut) == 2)
        }
    }

    /// A signal ends a wait, but not a change of names that has begun.
    @Test func interruptsEndWaits() throws {
        var table = fuse_lowlevel_ops()
        table.fsync = { request, _, _, _ in
            Gates.pass(103)
            fuse_reply_err(request, 0)
        }
        table.unlink = { request, _, _ in
            Gates.pass(103)
            fuse_reply_err(request, 0)
        }
        let mount = try FakeMount()
        try mount.serve(table) { session in
            mount.kernel.send(20, unique: 30, Array(repeating: 0, count: 16))
            mount.kernel.send(10, unique: 32, Array("name\0".utf8))
            Gates.awaitEntry(103, count: 2)
            mount.kernel.send(36, unique: 31, Self.bytes(of: 30 as UInt64))
            mount.kernel.send(36, unique: 33, Self.bytes(of: 32 as UInt64))
            let reply = mount.kernel.receive()
            #expect(reply == FakeKernel.Reply(unique: 30, error: EINTR, body: []))
            #expect(mount.kernel.receive(within: 300) == nil)
            Gates.open(103)
            #expect(mount.kernel.receive() == FakeKernel.Reply(unique: 32, error: 0, body: []))
            // Nobody waits for this one: the kernel is asked to come again.
            mount.kernel.send(36, unique: 35, Self.bytes(of: 34 as UInt64))
            #expect(mount.kernel.receive()?.error == EAGAIN)
        }
    }

    /// More requests than slots: "try later" or an answer, but every one has a reply.
    @Test func exhaustedSlotsAnswerEveryRequest() throws {
        var table = fuse_lowlevel_ops()
        table.unlink = { request, _, _ in
            Gates.pass(104)
            fuse_reply_err(request, 0)
        }
        let mount = try FakeMount(format: SlotFormat(large: 6, medium: 1, small: 2))
        try mount.serve(table, workers: 2) { _ in
            for unique in 1...20 as ClosedRange<UInt64> {
                mount.kernel.send(10, unique: unique * 2, Array("name\0".utf8))
            }
            let first = mount.kernel.receive()
            #expect(first?.error == ETIMEDOUT)
            Gates.open(104)
            let rest = (0..<19).compactMap { _ in mount.kernel.receive() }
            #expect(Set(rest.map(\.unique)).count == 19)
            #expect(rest.contains { $0.error == 0 })
        }
    }

    @Test func writesOfEverySizeArrive() throws {
        var table = fuse_lowlevel_ops()
        table.write = { request, _, bytes, size, _, _ in
            let data = UnsafeRawBufferPointer(start: bytes, count: size)
            let sum = data.reduce(0) { $0 &+ UInt64($1) }
            fuse_reply_write(request, Int(sum % 1_000_003))
        }
        let mount = try FakeMount()
        try mount.serve(table) { _ in
            for (index, size) in [0, 1, 512, 1100, 1300, 65536, 66000, 1 << 20].enumerated() {
                var argument = fuse_write_in()
                argument.size = UInt32(size)
                let data = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ index) }
                let body = Self.bytes(of: argument) + data
                mount.kernel.send(16, unique: UInt64(50 + 2 * index), body)
                let reply = try #require(mount.kernel.receive())
                let written = reply.body.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
                let sum = data.reduce(0 as UInt64) { $0 &+ UInt64($1) }
                #expect(UInt64(written) == sum % 1_000_003, "size \(size)")
            }
        }
    }

    static func bytes<Value: BitwiseCopyable>(of value: Value) -> [UInt8] {
        withUnsafeBytes(of: value) { Array($0) }
    }

    static func received(_ slots: RequestSlots) -> Int {
        (0..<slots.format.count).count { index in
            let state = slots.slot(index).state
            return state == .received || state == .applied
        }
    }
}
