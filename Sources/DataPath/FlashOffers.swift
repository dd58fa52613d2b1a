import Devices
import FlashTier
import Glibc
import Policy
import Synchronization
import Syscalls

/// Blocks that were read from the datastore and wait to be stored in flash, whose writes nobody
/// shall wait for. What does not fit is not stored.
final class FlashOffers: Sendable {
    /// Blocks of one file that follow one another.
    final class Offer: @unchecked Sendable {
        let file: UInt64
        let firstBlock: UInt64
        let count: Int
        let tickets: FlashTickets
        let sample: FileSample
        /// They are wanted in flash although nobody used them twice.
        let isWanted: Bool
        private let bytes: UnsafeMutableRawPointer

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
            let size = count * Limits.blockSize
            bytes = .allocate(byteCount: size, alignment: Limits.blockSize)
            bytes.copyMemory(from: blocks, byteCount: size)
        }

        deinit { bytes.deallocate() }

        var size: Int { count * Limits.blockSize }

        func store(in tier: FlashTier<FileDevice>) {
            for index in 0..<count {
                let block = firstBlock + UInt64(index)
                guard let ticket = tickets[block] else { continue }
                _ = tier.offer(
                    file, block: block, ticket: ticket, bytes + index * Limits.blockSize,
                    isReused: isWanted, sample: sample)
            }
        }
    }

    private struct State {
        var waiting: [Offer] = []
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

    func add(_ offer: Offer) {
        state.updateWakingOne { state in
            state.waiting.append(offer)
            state.bytes += offer.size
        }
    }

    func stop() { state.update { $0.isStopping = true } }

    /// True while nothing waits.
    var isEmpty: Bool { state.withLock { $0.bytes == 0 } }

    /// The body of the thread that stores: returns after `stop`.
    func run(_ tier: () -> FlashTier<FileDevice>?) {
        WaitMode.set(.datastore)
        while true {
            // Turned round, so that each goes, and its memory with it, as soon as it is stored.
            let batch = state.wait { state -> [Offer]? in
                if state.isStopping { return [] }
                if state.waiting.isEmpty { return nil }
                defer { state.waiting = [] }
                return state.waiting.reversed()
            }
            guard var batch, !batch.isEmpty else { return }
            while let offer = batch.popLast() {
                if let tier = tier() { offer.store(in: tier) }
                state.withLock { $0.bytes -= offer.size }
            }
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
