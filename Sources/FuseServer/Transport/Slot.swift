import CFuse
import Glibc
import Synchronization

/// One request slot: a view of shared memory, valid for as long as the memory is mapped.
/// `SlotLayout.swift` shows the form.
package struct Slot: BitwiseCopyable, @unchecked Sendable {
    /// Its number among all slots.
    package let index: Int
    /// Its control words.
    let control: UnsafeMutableRawPointer
    /// The request as the kernel sent it: fuse_in_header, then the operation's arguments.
    package let request: UnsafeMutableRawPointer
    /// Bytes that fit in `request`.
    package let capacity: Int

    /// Control words, by their offset in bytes.
    enum Word: Int {
        case state = 0
        /// 0, or 1 once somebody has taken on to answer: there is exactly one reply.
        case answered = 8
        case unique = 16
        case length = 24
        case opcode = 32
        /// Servers that died while they worked on the request.
        case deaths = 40
        /// Those of them that died by a trap.
        case traps = 48
        /// 1 while a thread works on it: a death now may have left it half done.
        case started = 56
        case replyLength = 64
        case preimageLength = 72
        /// Monotonic time at which it came, nanoseconds.
        case receivedAt = 80
    }

    @inline(__always)
    func word(_ word: Word) -> SharedWord {
        (control + word.rawValue).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    @inline(__always)
    func load(_ name: Word) -> UInt64 { word(name).pointee.load(ordering: .acquiring) }

    @inline(__always)
    func store(_ name: Word, _ value: UInt64) {
        word(name).pointee.store(value, ordering: .releasing)
    }

    /// Nil for a number that no version writes.
    var state: SlotState? { SlotState(rawValue: load(.state)) }

    /// A request has come and is not through.
    var holdsRequest: Bool { state == .received || state == .applied }

    func enter(_ state: SlotState) { store(.state, state.rawValue) }

    var header: UnsafePointer<fuse_in_header> {
        UnsafePointer(request.assumingMemoryBound(to: fuse_in_header.self))
    }

    /// What the request asks for.
    @inline(__always)
    var operation: OperationCode { OperationCode(header.pointee.opcode) }

    /// The kernel's number of the request.
    var unique: UInt64 { header.pointee.unique }

    /// Takes on to answer the request. False when somebody else has: then nothing may be sent.
    @inline(__always)
    func claimAnswer() -> Bool {
        word(.answered).pointee.compareExchange(
            expected: 0, desired: 1, ordering: .acquiringAndReleasing
        ).exchanged
    }

    /// Begins to read a request: whoever finds the slot now sees by the header's length whether
    /// the kernel had copied one.
    @inline(__always)
    func beginReading() {
        memset(request, 0, MemoryLayout<fuse_in_header>.size)
        store(.answered, 0)
        store(.deaths, 0)
        store(.traps, 0)
        store(.preimageLength, 0)
        store(.replyLength, 0)
        store(.started, 1)
        enter(.reading)
    }

    /// A request of `length` bytes has come.
    @inline(__always)
    func received(length: Int) {
        store(.unique, header.pointee.unique)
        store(.length, UInt64(length))
        store(.opcode, UInt64(header.pointee.opcode))
        enter(.received)
    }

    /// Copies a received request into this slot, which becomes the request's.
    func adopt(_ other: Slot, length: Int) {
        memcpy(request, other.request, length)
        for name in [Word.unique, .length, .opcode, .deaths, .traps, .receivedAt] {
            store(name, other.load(name))
        }
        store(.answered, 0)
        store(.started, 0)
        store(.replyLength, 0)
        let preimage = min(Int(other.load(.preimageLength)), SlotFormat.preimageCapacity)
        memcpy(preimageBase, other.preimageBase, preimage)
        store(.preimageLength, UInt64(preimage))
        enter(.received)
    }

    private var replyBase: UnsafeMutableRawPointer { control + SlotFormat.replyOffset }
    private var preimageBase: UnsafeMutableRawPointer { control + SlotFormat.preimageOffset }

    /// Keeps the reply of a request whose effect is done, and says so: a successor sends it again
    /// and never does the operation a second time. False when it is too long to keep.
    func storeReply(_ vectors: UnsafePointer<iovec>, count: Int) -> Bool {
        var length = 0
        for index in 0..<count {
            let vector = vectors[index]
            guard length + vector.iov_len <= SlotFormat.replyCapacity else { return false }
            if let base = vector.iov_base { memcpy(replyBase + length, base, vector.iov_len) }
            length += vector.iov_len
        }
        store(.replyLength, UInt64(length))
        enter(.applied)
        return true
    }

    /// The reply that was kept; nil when its length cannot be one.
    var storedReply: UnsafeMutableRawBufferPointer? {
        let length = load(.replyLength)
        let least = UInt64(MemoryLayout<fuse_out_header>.size)
        guard length >= least, length <= UInt64(SlotFormat.replyCapacity) else { return nil }
        return UnsafeMutableRawBufferPointer(start: replyBase, count: Int(length))
    }

    /// What a namespace operation noted before it changed anything; empty when nothing.
    package var preimage: UnsafeRawBufferPointer {
        let length = min(load(.preimageLength), UInt64(SlotFormat.preimageCapacity))
        return UnsafeRawBufferPointer(start: preimageBase, count: Int(length))
    }

    /// Notes it. False when it is longer than 1 KiB: nothing is kept then.
    package func savePreimage(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= SlotFormat.preimageCapacity else { return false }
        store(.preimageLength, 0)
        if let base = bytes.baseAddress { memcpy(preimageBase, base, bytes.count) }
        store(.preimageLength, UInt64(bytes.count))
        return true
    }

    /// Forgets it.
    package func clearPreimage() { store(.preimageLength, 0) }

    /// Changes a word of it in one store; `offset` is in bytes, a multiple of 8.
    package func updatePreimage(_ value: UInt64, at offset: Int) {
        (preimageBase + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
            .pointee.store(value, ordering: .releasing)
    }
}

/// What the word `started` of a slot tells of its request; 0 when no thread works on it.
enum SlotStart {
    static let begun: UInt64 = 1
    /// A reader works on it and may wait for a device: that is no sign of a server that hangs.
    static let mayTakeLong: UInt64 = 2
}
