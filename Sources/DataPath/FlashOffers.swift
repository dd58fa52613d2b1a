import FlashTier
import Glibc
import Policy
import Synchronization
import Syscalls

/// Blocks that were read from the datastore and wait to be stored in flash, whose writes nobody
/// shall wait for. What does not fit is not stored.
final class FlashOffers: Sendable {
    /// Blocks of one file that follow one another.
    struct Offer: ~Copyable, @unchecked Sendable {
        let file: UInt64
        let firstBlock: UInt64
        let count: Int
        let tickets: FlashTickets
        let sample: FileSample
        /// They are wanted in flash although nobody used them twice.
        let isWanted: Bool
        fileprivate let bytes: UnsafeMutableRawPointer

        /// Copies `count` blocks of 4,096 bytes.
        init(
            file: UInt64, firstBlock: UInt64, count: Int, _ blocks: UnsafeRawPointer,
            tickets: FlashTickets, sample: FileSample, isWanted: Bool
        ) {
            self.file = file
            self.firstBlock = firstBlock
            self.count = count
            self.tickets = tickets
            self.sample = sample
            self.isWanted = isWanted
            bytes = .allocate(byteCount: count * Limits.blockSize, alignment: Limits.blockSize)
            bytes.copyMemory(from: blocks, byteCount: count * Limits.blockSize)
        }

        deinit { bytes.deallocate() }
    }

    private final class Waiting: Sendable {
        let offer: Mutex<Offer?>
        let size: Int

        init(_ offer: consuming sending Offer) {
            size = offer.count * Limits.blockSize
            self.offer = Mutex(offer)
        }
    }

    private struct State {
        var waiting: [Waiting] = []
        var bytes = 0
        var isStopping = false
    }

    private let state = Condition(State())
    /// Blocks that came while there was no room.
    let skipped = Atomic<UInt64>(0)

    /// Whether so many blocks would be taken now; counts them as skipped if not.
    func hasRoom(blocks: Int) -> Bool {
        let isRoom = state.withLock { state in
            state.bytes + blocks * Limits.blockSize <= Limits.flashOffers && !state.isStopping
        }
        if !isRoom { skipped.wrappingAdd(UInt64(blocks), ordering: .relaxed) }
        return isRoom
    }

    func add(_ offer: consuming sending Offer) {
        let waiting = Waiting(offer)
        state.updateWakingOne { state in
            state.waiting.append(waiting)
            state.bytes += waiting.size
        }
    }

    func stop() { state.update { $0.isStopping = true } }

    /// True while nothing waits.
    var isEmpty: Bool { state.withLock { $0.bytes == 0 } }

    /// The body of the thread that stores: returns after `stop`.
    func run(_ tier: () -> FlashTier<FileDevice>?) {
        WaitMode.set(.datastore)
        while true {
            let batch = state.wait { state -> [Waiting]? in
                if state.isStopping { return [] }
                if state.waiting.isEmpty { return nil }
                defer { state.waiting = [] }
                return state.waiting
            }
            guard let batch, !batch.isEmpty else { return }
            for waiting in batch {
                if let tier = tier() {
                    waiting.offer.withLock { offer in offer?.store(in: tier) }
                }
                waiting.offer.withLock { $0 = nil }
                state.withLock { $0.bytes -= waiting.size }
            }
        }
    }
}

extension FlashOffers.Offer {
    fileprivate borrowing func store(in tier: FlashTier<FileDevice>) {
        for index in 0..<count {
            let block = firstBlock + UInt64(index)
            guard let ticket = tickets[block] else { continue }
            _ = tier.offer(
                file, block: block, ticket: ticket, bytes + index * Limits.blockSize,
                isReused: isWanted, sample: sample)
        }
    }
}

/// What offers of a run of blocks remember from before the run was read.
struct FlashTickets: Sendable {
    private let firstGroup: UInt64
    private let groups: [UInt64?]

    /// Blocks that have a ticket together.
    private static let groupBlocks: UInt64 = 256

    init(
        _ tier: FlashTier<FileDevice>, _ file: UInt64, firstBlock: UInt64, count: Int
    ) {
        firstGroup = firstBlock / Self.groupBlocks
        let last = (firstBlock + UInt64(max(count, 1)) - 1) / Self.groupBlocks
        groups = (firstGroup...last).map { tier.ticket(file, block: $0 * Self.groupBlocks) }
    }

    /// The ticket of a block; nil when it was being written.
    subscript(block: UInt64) -> UInt64? {
        let group = Int(block / Self.groupBlocks - firstGroup)
        return groups.indices.contains(group) ? groups[group] : nil
    }
}
