import Glibc
import Policy
import Synchronization
import Syscalls

// The memory of the request slots, which the keeper holds and every server maps. It is the only
// thing that a server leaves to its successor about requests, so its form is versioned.
//
//      0  header page   magic · version · slots per class · heartbeat · lengths of INIT · …
//    136  records       two copies of what servers learnt of the datastore, of which one counts
//   1024  options       what `forebay set` changed since the mount, as text for `-o`
//   3584  guards        8 locks that tell of the end of threads: `Guards.swift`
//   4096  counters      512 words; who owns which: `CounterWord`
//   8192  INIT          the request as the kernel sent it, once in the life of a mount
//  12288  INIT's reply  as the kernel got it
//  16384  events        64 entries on their way to the alert channels: `EventRing.swift`
//  32768  large slots · medium slots · small slots
//
// A slot:
//
//      0  control words (`Slot.Word`), 8 bytes each
//    128  stored reply of a mutating request, 256 bytes
//    384  pre-image of a namespace operation, 1024 bytes
//   1408  the request: small slots
//   4096  the request: medium and large slots, on a page of its own
//
// Life of a slot, each arrow one store to its state word:
//
//   FREE ─▶ READING ─▶ RECEIVED ─▶ APPLIED ─▶ FREE
//                         └──────────────────▶ FREE     requests that change nothing
//
// READING with a length in the request's own header is a request whose reader died between the
// kernel's copy and the next store: it counts as RECEIVED.

/// How many slots of each size there are; part of the format.
package struct SlotFormat: Equatable, Sendable {
    /// Slots for any request; the threads that read requests need these.
    package var large: Int
    /// Slots for writes of up to 64 KiB, the most that NFS clients commonly send.
    package var medium: Int
    /// Slots for everything that carries no data worth mentioning.
    package var small: Int

    package init(large: Int, medium: Int, small: Int) {
        self.large = large
        self.medium = medium
        self.small = small
    }

    /// What a mount uses.
    package static let standard = SlotFormat(
        large: Limits.largeSlots, medium: Limits.mediumSlots, small: Limits.parkedSlots)

    /// Bytes of request that fit: the data and 4 KiB for the headers before it.
    package static let largeCapacity = Limits.requestSize + 4096
    package static let mediumCapacity = Limits.mediumSize + 4096
    package static let smallCapacity = Limits.parkedSize

    static let magic: UInt64 = 0x3153_544f_4c53_4246  // "FBSLOTS1"
    static let version: UInt64 = 2
    static let countersOffset = 4096
    static let counterCount = 512
    static let initRequestOffset = 8192
    static let initReplyOffset = 12288
    static let initCapacity = 4096
    static let recordOffset = 136
    /// Bytes of a record, behind its length.
    static let recordCapacity = 432
    static let guardsOffset = 3584
    /// For the main thread and the readers.
    static let guardCount = 8
    static let optionsOffset = 1024
    static let optionsCapacity = 2560
    static let eventsOffset = 16384
    static let eventSize = 256
    static let eventCount = 64
    static let slotsOffset = 32768
    static let replyOffset = 128
    static let replyCapacity = 256
    static let preimageOffset = 384
    static let preimageCapacity = 1024
    static let smallRequestOffset = 1408
    static let pagedRequestOffset = 4096
    static let largeStride = pagedRequestOffset + largeCapacity
    static let mediumStride = pagedRequestOffset + mediumCapacity
    static let smallStride = smallRequestOffset + smallCapacity
    /// More slots than this are not a form that any version wrote.
    static let mostSlots = 1 << 20

    package var count: Int { large + medium + small }

    /// Bytes of memory that the format needs.
    package var size: Int {
        Self.slotsOffset + large * Self.largeStride + medium * Self.mediumStride
            + small * Self.smallStride
    }

    /// Where slot `index` begins: large ones first, then medium, then small.
    func offset(of index: Int) -> Int {
        var rest = index
        var offset = Self.slotsOffset
        if rest < large { return offset + rest * Self.largeStride }
        rest -= large
        offset += large * Self.largeStride
        if rest < medium { return offset + rest * Self.mediumStride }
        rest -= medium
        return offset + medium * Self.mediumStride + rest * Self.smallStride
    }

    func slotClass(of index: Int) -> SlotClass {
        if index < large { return .large }
        return index < large + medium ? .medium : .small
    }
}

/// The sizes of slots.
package enum SlotClass: Int, Sendable {
    case large
    case medium
    case small

    /// Bytes of request that fit.
    package var capacity: Int {
        switch self {
        case .large: SlotFormat.largeCapacity
        case .medium: SlotFormat.mediumCapacity
        case .small: SlotFormat.smallCapacity
        }
    }
}

/// Where a request is in its life; the numbers are part of the format.
package enum SlotState: UInt64, Sendable {
    case free = 0
    case reading = 1
    case received = 2
    case applied = 3
}

/// Words of the header page, by their offset in bytes.
enum HeaderWord: Int {
    case magic = 0
    case version = 8
    case large = 16
    case medium = 24
    case small = 32
    /// Monotonic time of the server's last sign of life.
    case heartbeat = 64
    /// 1 once a server has answered INIT.
    case served = 72
    /// Bytes of the saved INIT request and of its reply; 0 while there is none.
    case initRequestLength = 80
    case initReplyLength = 88
    /// Whether the cache is left out of the way: `BypassMode`.
    case bypass = 96
    /// Bytes of the options set since the mount.
    case optionsLength = 104
    /// Events raised since the mount, and those that the keeper has taken or given up.
    case eventsRaised = 112
    case eventsTaken = 120
    /// Which copy of the datastore's record counts: 1 or 2, 0 while there is none.
    case record = 128
    /// Monotonic time at which a server that hands over stopped reading requests.
    case handedOverAt = 1016
}

/// Words of the counters page, by their index. They run since the mount, over every server.
package enum CounterWord {
    /// Requests from the kernel, one word per opcode; words 0..<64 are the data path's.
    package static let opcodes = 64
    package static let opcodeCount = 64
    /// Servers replaced since the mount.
    package static let restarts = 128
    /// Monotonic time of the mount, nanoseconds.
    package static let mounted = 129
    /// Nanoseconds from the last death of a server to its successor's first read.
    package static let lastPause = 130
    /// Requests that ended without an answer by mistake and were told "try later".
    package static let dropped = 131
    /// Requests that were told "try later" because they waited too long or found no slot.
    package static let timedOut = 132
    /// Requests that two servers died of.
    package static let poisoned = 133
}

/// A word that processes share.
typealias SharedWord = UnsafeMutablePointer<Atomic<UInt64>>
