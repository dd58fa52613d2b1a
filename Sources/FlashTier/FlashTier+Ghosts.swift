import Devices
import Policy
import Synchronization
import Syscalls

/// What was offered once and not stored is remembered over a clean stop, in the half of the log
/// that does not count (docs/on-disk-format.md, ghosts). A hint: what is lost of it costs a second
/// offer.
extension FlashTier {
    private var ghostPages: Int {
        (GhostFilter.count(slots: slots.count) + SealedPage.room - 1) / SealedPage.room
    }

    /// Writes them behind the last checkpoint; durable with the header that follows.
    func storeGhosts(_ ghosts: GhostFilter) throws(Errno) {
        let (epoch, offset) = header.withLock { header in
            (header.epoch, geometry.logOffset(half: 1 - Int(header.half)))
        }
        for first in stride(from: 0, to: ghostPages, by: Limits.flashLogBatch) {
            let count = min(ghostPages - first, Limits.flashLogBatch)
            let buffer = BlockBuffer(blocks: count)
            for page in 0..<count {
                let block = buffer.block(page)
                let length = ghosts.copy(from: (first + page) * SealedPage.room, to: block)
                SealedPage.seal(
                    block, .ghosts, sequence: epoch,
                    position: offset + UInt64(first + page) * 4096, length: length, key: pageKey)
            }
            try device.write(
                UnsafeRawBufferPointer(buffer.bytes), at: offset + UInt64(first) * 4096)
            counters.writtenBytes.count(UInt64(count) * 4096)
        }
        try device.flush()
    }

    /// Reads what the last clean stop left; before the first checkpoint, which takes its place.
    func loadGhosts() throws(Errno) {
        let (epoch, offset) = header.withLock { header in
            (header.epoch, geometry.logOffset(half: 1 - Int(header.half)))
        }
        let buffer = BlockBuffer(blocks: Limits.flashLogBatch)
        for first in stride(from: 0, to: ghostPages, by: Limits.flashLogBatch) {
            let count = min(ghostPages - first, Limits.flashLogBatch)
            try device.read(buffer.blocks(0, count), at: offset + UInt64(first) * 4096)
            for page in 0..<count {
                let position = offset + UInt64(first + page) * 4096
                let opened = SealedPage.open(
                    buffer.block(page), .ghosts, position: position, key: pageKey)
                guard let opened, opened.sequence == epoch else { return }
                filling.withLock {
                    $0.ghosts.restore(opened.payload, at: (first + page) * SealedPage.room)
                }
            }
        }
    }
}
