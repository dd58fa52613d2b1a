import Synchronization

/// What the tier did since it was opened, and what it holds now.
package struct FlashStatistics: Equatable, Sendable {
    /// Blocks read from the tier.
    package var hits: UInt64 = 0
    /// Blocks whose bytes were not what they were stored as.
    package var damaged: UInt64 = 0
    /// Blocks whose slot got another content meanwhile.
    package var overtaken: UInt64 = 0
    /// Blocks that the device did not read.
    package var errors: UInt64 = 0
    /// Offers that were stored.
    package var stored: UInt64 = 0
    /// Offers of contents that were there.
    package var shared: UInt64 = 0
    /// Offers that were not admitted.
    package var passedOver: UInt64 = 0
    /// Offers refused for the write budget.
    package var throttled: UInt64 = 0
    /// Bytes written to the device since the opening.
    package var writtenBytes: UInt64 = 0
    /// Bytes written to it since it was formatted; after a crash some of the last are missing.
    package var totalWrittenBytes: UInt64 = 0
    /// Bytes of new contents that may be written now; nil without limit.
    package var budgetBytes: UInt64?
    /// How many times its size would be written in a day that is like the last hour.
    package var writesPerDay = 0.0
    /// What it does now.
    package var phase = FlashPhase.loading
    /// How much of the index is read, from 0 to 1.
    package var loaded = 0.0
    /// Blocks in the map: of all files, also blocks of zeros and such as share a slot.
    package var mappedBlocks: UInt64 = 0
    /// Slots whose contents stay whether they are used or not.
    package var keptSlots: UInt64 = 0
    /// Contents that were to stay likewise and found no room in their share.
    package var keptTooMany: UInt64 = 0
    /// Bytes of memory for the index, the block map and everything else.
    package var indexBytes: UInt64 = 0
    /// Slots with content.
    package var filledSlots: UInt64 = 0
    /// Bytes of distinct contents.
    package var uniqueBytes: UInt64 { filledSlots * 4096 }
    /// All slots.
    package var slots: UInt64 = 0
    /// Files with a map.
    package var files: UInt64 = 0
}

/// Counts without locks.
final class FlashCounters: Sendable {
    let hits = Atomic<UInt64>(0)
    let damaged = Atomic<UInt64>(0)
    let overtaken = Atomic<UInt64>(0)
    let errors = Atomic<UInt64>(0)
    let stored = Atomic<UInt64>(0)
    let shared = Atomic<UInt64>(0)
    let passedOver = Atomic<UInt64>(0)
    let throttled = Atomic<UInt64>(0)
    let writtenBytes = Atomic<UInt64>(0)
    let filledSlots = Atomic<Int>(0)
    let loadedRegions = Atomic<Int>(0)

    func snapshot() -> FlashStatistics {
        func value(_ counter: borrowing Atomic<UInt64>) -> UInt64 {
            counter.load(ordering: .relaxed)
        }
        var result = FlashStatistics()
        result.hits = value(hits)
        result.damaged = value(damaged)
        result.overtaken = value(overtaken)
        result.errors = value(errors)
        result.stored = value(stored)
        result.shared = value(shared)
        result.passedOver = value(passedOver)
        result.throttled = value(throttled)
        result.writtenBytes = value(writtenBytes)
        result.filledSlots = UInt64(max(filledSlots.load(ordering: .relaxed), 0))
        return result
    }
}

extension Atomic where Value == UInt64 {
    func count(_ more: UInt64 = 1) { wrappingAdd(more, ordering: .relaxed) }
}
