import Glibc
import Passthrough
import Policy
import ReadCache
import Syscalls

/// The answer to one read: a list of memory pieces, and what keeps them in place until it is sent.
/// Made once per thread and used again for each request, so that a read allocates nothing.
package struct ReadReply: ~Copyable {
    /// Pieces of memory in the order of the file; `count` of them count. The first place is left
    /// free for the header of the transport: pieces begin at index 1.
    package let vectors: UnsafeMutableBufferPointer<iovec>
    package private(set) var count = 0
    /// Bytes in all pieces.
    package private(set) var bytes = 0
    /// Pins of cached contents.
    var lease = ReadLease()
    /// What to admit to the cache once the answer is on its way.
    var pending: [PendingFill] = []
    /// Whose cache that is.
    var owner: Datastore?
    private var buffer: UnsafeMutableRawPointer?
    private var overlayBuffer: UnsafeMutableRawPointer?

    /// Bytes that fit behind `landing`: the largest request with blocks cut at both ends, and what
    /// is read along with it.
    static let landingSize = Limits.requestSize + Limits.firstReadAhead + 2 * Limits.blockSize

    package init() {
        vectors = .allocate(capacity: 260)
        pending.reserveCapacity(16)
    }

    /// Where reads from the datastore land. Only threads that may wait for it ever need one.
    mutating func landing() -> UnsafeMutableRawPointer {
        if let buffer { return buffer }
        let made = UnsafeMutableRawPointer.allocate(
            byteCount: Self.landingSize, alignment: Limits.blockSize)
        buffer = made
        return made
    }

    /// Where what the log has is laid over what is below. Only files with data in the log need it.
    mutating func overlay() -> UnsafeMutableRawPointer {
        if let overlayBuffer { return overlayBuffer }
        let made = UnsafeMutableRawPointer.allocate(
            byteCount: Limits.requestSize, alignment: Limits.blockSize)
        overlayBuffer = made
        return made
    }

    /// Adds a piece. More than 258 pieces cannot come: a request has at most 257 blocks.
    mutating func append(_ base: UnsafeRawPointer, _ length: Int) {
        guard length > 0, count < 258 else { return }
        count += 1
        vectors[count] = iovec(iov_base: UnsafeMutableRawPointer(mutating: base), iov_len: length)
        bytes += length
    }

    /// Forgets the pieces and lets the pins go.
    mutating func clear() {
        lease.release()
        count = 0
        bytes = 0
    }

    /// To be called when the answer was sent, or will not be: lets go of what it held, and only now
    /// spends time on the fingerprints of what was read.
    package mutating func reset() {
        clear()
        guard !pending.isEmpty else { return }
        for fill in pending { owner?.finish(fill) }
        pending.removeAll(keepingCapacity: true)
    }

    deinit {
        vectors.deallocate()
        buffer?.deallocate()
        overlayBuffer?.deallocate()
    }
}

/// Blocks that were read from the datastore or from flash and may enter the cache.
struct PendingFill {
    /// The claim that ends with this; nil when another fill ends it, or nothing was claimed.
    let claim: UInt64?
    let ticket: FillTicket
    let firstBlock: UInt64
    let blocks: UnsafeRawPointer
    let count: Int
    let isPinned: Bool
    /// Nobody asked for the blocks yet.
    let isReadAhead: Bool
    /// For whom, and since when, the blocks are offered to flash.
    let flash: (inode: Inode, tickets: FlashTickets)?
}
