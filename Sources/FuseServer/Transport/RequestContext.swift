import CFuse
import CLinux
import DataPath
import Glibc
import Syscalls

/// What a thread knows of the request that it works on. Each thread that runs operations has one
/// and uses it again for every request, so that a request allocates nothing.
package final class RequestContext {
    package let datastore: Datastore
    let slots: RequestSlots
    let device: Int32
    /// Where the request lies; it outlives this process.
    package internal(set) var slot: Slot
    /// Bytes of the request as it was read, its header included.
    package internal(set) var length = 0
    /// Set by an operation that was refused a wait (`Errno.neededMode`), after fuse_reply_none: the
    /// request is done once more on a thread of this mode.
    package var neededMode: WaitMode?
    /// The vectors of a read's answer: filled, sent and reset by each READ. In a place of its own,
    /// where no access is checked at run time.
    let reply = UnsafeMutablePointer<ReadReply>.allocate(capacity: 1)
    /// Changes of names that a dead server had begun.
    let repeats: RepeatGate
    /// A previous server worked on the same request and may have applied it.
    package internal(set) var isRepeat = false
    /// Set when the request was answered, by this thread or another.
    var isAnswered = false
    let header = UnsafeMutablePointer<fuse_out_header>.allocate(capacity: 1)

    init(
        datastore: Datastore, slots: RequestSlots, device: Int32, slot: Slot, repeats: RepeatGate
    ) {
        self.datastore = datastore
        self.slots = slots
        self.device = device
        self.slot = slot
        self.repeats = repeats
        header.initialize(to: fuse_out_header())
        reply.initialize(to: ReadReply())
    }

    deinit {
        reply.deinitialize(count: 1)
        reply.deallocate()
        header.deallocate()
    }

    /// The request as it was read: fuse_in_header, then the operation's arguments. libfuse drops
    /// some of these before it calls an operation.
    @inline(__always)
    package var raw: UnsafeMutableRawPointer { slot.request }

    /// The opcode of the request (linux/fuse.h, enum fuse_opcode).
    @inline(__always)
    package var opcode: UInt32 { slot.header.pointee.opcode }

    /// What an earlier server noted with `savePreimage` before it changed anything; empty when it
    /// had not come to that.
    package var preimage: UnsafeRawBufferPointer { slot.preimage }

    /// Notes up to 1 KiB about the state before a namespace operation; kept until the request is
    /// answered, over the death of this server. False when it is too long.
    package func savePreimage(_ bytes: UnsafeRawBufferPointer) -> Bool { slot.savePreimage(bytes) }

    /// Takes up a request.
    @inline(__always)
    func begin(_ slot: Slot, length: Int, isRepeat: Bool) {
        self.slot = slot
        self.length = length
        self.isRepeat = isRepeat
        neededMode = nil
        isAnswered = false
    }

    /// Makes this the context of the calling thread, for as long as the thread runs.
    func bind() { CLinux_set_thread_pointer(Unmanaged.passUnretained(self).toOpaque()) }

    static func unbind() { CLinux_set_thread_pointer(nil) }

    /// The context of the calling thread. Every thread that runs an operation has one.
    @inline(__always)
    package static var current: RequestContext {
        guard let context = currentIfAny else {
            preconditionFailure("an operation runs outside of a request")
        }
        return context
    }

    @inline(__always)
    static var currentIfAny: RequestContext? {
        guard let pointer = CLinux_thread_pointer() else { return nil }
        return Unmanaged<RequestContext>.fromOpaque(pointer).takeUnretainedValue()
    }
}
