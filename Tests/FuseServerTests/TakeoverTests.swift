import CFuse
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import FuseServer

/// What a server does with the slots that another one left. The dead server is a mapping of the
/// same memory in which the test puts slots in every state.
@Suite struct TakeoverTests {
    /// A mount whose first server agreed with the kernel and is gone.
    private func deadMount() throws -> (FakeMount, RequestSlots) {
        let mount = try FakeMount()
        let slots = try mount.slots()
        let request = FakeKernel.initRequest()
        memcpy(slots.initRequest, request, request.count)
        slots.initRequestLength = request.count
        slots.initReplyLength = 80
        return (mount, slots)
    }

    private func place(
        _ request: [UInt8], in slot: Slot, started: Bool = true, state: SlotState = .received
    ) {
        slot.beginReading()
        memcpy(slot.request, request, request.count)
        if state == .reading { return }
        slot.received(length: request.count)
        slot.store(.started, started ? 1 : 0)
    }

    private func table() -> fuse_lowlevel_ops {
        var table = fuse_lowlevel_ops()
        table.unlink = { request, parent, _ in
            Gates.open(parent)
            Gates.pass(parent)
            fuse_reply_err(request, 0)
        }
        return table
    }

    private let name = Array("name\0".utf8)

    @Test func receivedRequestsAreDoneAgain() throws {
        let (mount, slots) = try deadMount()
        place(FakeKernel.request(10, unique: 40, node: 201, name), in: slots.slot(0))
        let queued = FakeKernel.request(10, unique: 42, node: 202, name)
        place(queued, in: slots.slot(13), started: false)
        try mount.serve(table(), predecessor: .other) { _ in
            let replies = [mount.kernel.receive(), mount.kernel.receive()]
            #expect(Set(replies.compactMap { $0?.unique }) == [40, 42])
            #expect(Gates.repeats(201) == 1)
            #expect(Gates.repeats(202) == 0, "nobody had begun it")
            #expect(mount.kernel.receive(within: 100) == nil)
        }
        #expect(slots.value(CounterWord.restarts) == 1)
    }

    /// The death may come after the kernel's copy and before the next store.
    @Test func requestThatWasJustReadIsNotLost() throws {
        let (mount, slots) = try deadMount()
        let request = FakeKernel.request(10, unique: 44, node: 203, name)
        place(request, in: slots.slot(2), state: .reading)
        slots.slot(3).beginReading()
        try mount.serve(table(), predecessor: .other) { _ in
            #expect(mount.kernel.receive()?.unique == 44)
            #expect(Gates.entries(203) == 1)
        }
    }

    @Test func appliedRequestsAreOnlyAnswered() throws {
        let (mount, slots) = try deadMount()
        let slot = slots.slot(1)
        place(FakeKernel.request(10, unique: 46, node: 204, name), in: slot)
        var header = fuse_out_header(len: 16, error: -ENOENT, unique: 46)
        let isKept = withUnsafeMutablePointer(to: &header) { header in
            var vector = iovec(iov_base: header, iov_len: 16)
            return slot.storeReply(&vector, count: 1)
        }
        #expect(isKept)
        // The same request in the slot that it was being moved from.
        place(FakeKernel.request(10, unique: 46, node: 204, name), in: slots.slot(4))
        try mount.serve(table(), predecessor: .other) { _ in
            let reply = mount.kernel.receive()
            #expect(reply == FakeKernel.Reply(unique: 46, error: ENOENT, body: []))
            #expect(mount.kernel.receive(within: 100) == nil)
        }
        #expect(Gates.entries(204) == 0)
    }

    @Test func requestInTwoSlotsIsDoneOnce() throws {
        let (mount, slots) = try deadMount()
        let request = FakeKernel.request(10, unique: 48, node: 205, name)
        place(request, in: slots.slot(0))
        place(request, in: slots.slot(14), started: false)
        try mount.serve(table(), predecessor: .other) { _ in
            #expect(mount.kernel.receive()?.unique == 48)
            #expect(mount.kernel.receive(within: 100) == nil)
        }
        #expect(Gates.entries(205) == 1)
    }

    @Test func twoTrapsArePoison() throws {
        let (mount, slots) = try deadMount()
        let slot = slots.slot(0)
        place(FakeKernel.request(10, unique: 50, node: 206, name), in: slot)
        slot.store(.traps, 1)
        place(FakeKernel.request(10, unique: 52, node: 207, name), in: slots.slot(1))
        try mount.serve(table(), predecessor: .trap) { _ in
            let replies = [mount.kernel.receive(), mount.kernel.receive()]
            #expect(replies.contains(FakeKernel.Reply(unique: 50, error: EIO, body: [])))
            #expect(replies.contains(FakeKernel.Reply(unique: 52, error: 0, body: [])))
        }
        #expect(Gates.entries(206) == 0)
        #expect(slots.value(CounterWord.poisoned) == 1)
    }

    /// Of several requests that were in progress at both deaths most are innocent: none is ended
    /// until a server without the cache has died of it too.
    @Test func severalSuspectsAreDoneAgain() throws {
        let (mount, slots) = try deadMount()
        for (index, node) in [211, 212, 213].enumerated() {
            let unique = UInt64(70 + index)
            let request = FakeKernel.request(10, unique: unique, node: UInt64(node), name)
            place(request, in: slots.slot(index))
            slots.slot(index).store(.traps, node == 213 ? 2 : 1)
        }
        #expect(slots.suspects == 3)
        try mount.serve(table(), predecessor: .trap) { _ in
            let replies = (0..<3).compactMap { _ in mount.kernel.receive() }
            #expect(Set(replies.filter { $0.error == 0 }.map(\.unique)) == [70, 71])
            #expect(replies.contains(FakeKernel.Reply(unique: 72, error: EIO, body: [])))
        }
        #expect(slots.value(CounterWord.poisoned) == 1)
    }

    /// What a server left that handed over was not in its way, and may still be half done.
    @Test func handingOverIsNoDeathByARequest() throws {
        let (mount, slots) = try deadMount()
        place(FakeKernel.request(10, unique: 74, node: 214, name), in: slots.slot(0))
        slots.slot(0).store(.traps, 1)
        #expect(slots.suspects == 1)
        try mount.serve(table(), predecessor: .handedOver) { _ in
            #expect(mount.kernel.receive()?.error == 0)
            #expect(Gates.repeats(214) == 1)
        }
        #expect(slots.value(CounterWord.poisoned) == 0)
        #expect(slots.value(CounterWord.restarts) == 1)
    }

    /// A death from outside is no reason to suspect a request.
    @Test func killsAreNotPoison() throws {
        let (mount, slots) = try deadMount()
        let slot = slots.slot(0)
        place(FakeKernel.request(10, unique: 54, node: 208, name), in: slot)
        slot.store(.traps, 1)
        slot.store(.deaths, 7)
        try mount.serve(table(), predecessor: .other) { _ in
            #expect(mount.kernel.receive()?.error == 0)
        }
    }

    /// Whatever stands in the control words: no trap, and every slot is usable afterwards.
    @Test func damagedControlWordsDoNotTrap() throws {
        var random = SplitMix64(seed: 7)
        for _ in 0..<20 {
            let (mount, slots) = try deadMount()
            for index in 0..<slots.format.count {
                let slot = slots.slot(index)
                for word in 0..<16 {
                    let value = random.next() >> (random.next() % 64)
                    slot.control.storeBytes(of: value, toByteOffset: word * 8, as: UInt64.self)
                }
                slot.request.storeBytes(of: random.next(), as: UInt64.self)
                slot.enter(SlotState(rawValue: random.next() % 4) ?? .free)
            }
            let session = try mount.session(table())
            let left = session.takeOver(after: .trap)
            for slot in left { session.slots.release(slot) }
            let free = [SlotClass.large, .medium, .small].map { session.slots.freeCount($0) }
            #expect(free == [8, 4, 16])
        }
    }
}
