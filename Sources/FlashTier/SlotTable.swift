import ReadCache
import Synchronization
import Syscalls

/// What a slot is known by: 29 bits of the fingerprint of its content, whether it was used since
/// its region was last in turn, and a generation that changes with the content.
struct SlotWord: BitwiseCopyable, Equatable {
    var rawValue: UInt32 = 0

    static let generationMask: UInt8 = 3
    private static let usedBit: UInt32 = 4

    /// A slot that never had any.
    init() {}

    init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A slot with content.
    init(_ fingerprint: Fingerprint, generation: UInt8) {
        rawValue = Self.tag(fingerprint) << 3 | UInt32(generation & Self.generationMask)
    }

    /// A slot without.
    init(emptyOf generation: UInt8) { rawValue = UInt32(generation & Self.generationMask) }

    /// Never zero, which is an empty slot's. Other bits than those that choose the bucket.
    private static func tag(_ fingerprint: Fingerprint) -> UInt32 {
        max(UInt32(truncatingIfNeeded: fingerprint.low >> 35), 1)
    }

    var generation: UInt8 { UInt8(truncatingIfNeeded: rawValue) & Self.generationMask }
    /// Of the fingerprint; zero when there is no content.
    var tag: UInt32 { rawValue >> 3 }
    var isFilled: Bool { tag != 0 }
    var isUsed: Bool { rawValue & Self.usedBit != 0 }
    /// Without what changes with use: what the map log compares.
    var identity: UInt32 { rawValue & ~Self.usedBit }
    var used: SlotWord { SlotWord(rawValue: rawValue | Self.usedBit) }
    var unused: SlotWord { SlotWord(rawValue: rawValue & ~Self.usedBit) }

    func stands(for fingerprint: Fingerprint) -> Bool {
        isFilled && tag == Self.tag(fingerprint)
    }
}

/// Names a content of the tier: its slot and the slot's generation; or the block of zeros.
package struct FlashAddress: BitwiseCopyable, Equatable, Sendable {
    let rawValue: UInt32

    init(rawValue: UInt32) { self.rawValue = rawValue }

    init(slot: Int, generation: UInt8) {
        rawValue =
            UInt32(truncatingIfNeeded: slot) << 2
            | UInt32(generation & SlotWord.generationMask)
    }

    /// A block of zeros, which takes no slot.
    package static let zero = FlashAddress(rawValue: .max)

    /// Whether the block is all zero and need not be read.
    package var isZero: Bool { rawValue == .max }
    /// The slot with the content; no such slot for a block of zeros.
    package var slot: Int { Int(rawValue >> 2) }
    var generation: UInt8 { UInt8(truncatingIfNeeded: rawValue) & SlotWord.generationMask }
}

/// The words of all slots, 4 bytes each.
struct SlotTable: @unchecked Sendable {
    private let words: UnsafeMutablePointer<Atomic<UInt32>>
    let count: Int

    static func bytes(_ count: Int) -> Int { Arena.bytes(Atomic<UInt32>.self, count) }

    init(_ arena: inout Arena, count: Int) {
        self.count = count
        words = arena.take(Atomic<UInt32>.self, count)
    }

    subscript(_ slot: Int) -> SlotWord {
        get { SlotWord(rawValue: words[slot].load(ordering: .acquiring)) }
        nonmutating set { words[slot].store(newValue.rawValue, ordering: .releasing) }
    }

    /// Whether what the address names is still there.
    func isCurrent(_ address: FlashAddress) -> Bool {
        if address.isZero { return true }
        guard address.slot < count else { return false }
        let word = self[address.slot]
        return word.isFilled && word.generation == address.generation
    }

    /// The content was used: it stays when its region is next in turn.
    func markUsed(_ slot: Int) {
        let word = self[slot]
        guard word.isFilled, !word.isUsed else { return }
        _ = words[slot].compareExchange(
            expected: word.rawValue, desired: word.used.rawValue, ordering: .relaxed)
    }

    /// The content stays, and must be used again to stay next time. Answers false when there is
    /// none any more.
    func markUnused(_ slot: Int) -> Bool {
        while true {
            let word = self[slot]
            guard word.isFilled else { return false }
            let isDone = words[slot].compareExchange(
                expected: word.rawValue, desired: word.unused.rawValue, ordering: .relaxed
            ).exchanged
            if isDone { return true }
        }
    }

    /// The content makes room, if it is of this generation; the slot is of the next one. Answers
    /// whether it was there: however many threads say so, a generation ends once.
    func empty(_ slot: Int, of generation: UInt8?) -> Bool {
        while true {
            let word = self[slot]
            guard word.isFilled, word.generation == generation ?? word.generation else {
                return false
            }
            let empty = SlotWord(emptyOf: word.generation &+ 1)
            let isDone = words[slot].compareExchange(
                expected: word.rawValue, desired: empty.rawValue, ordering: .sequentiallyConsistent
            ).exchanged
            if isDone { return true }
        }
    }
}
