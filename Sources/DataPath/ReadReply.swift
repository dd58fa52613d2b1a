import Glibc
import ReadCache
import Syscalls

/// The answer to one read: a list of memory pieces, and what keeps them in place until it is sent.
/// Made once per thread and used again for each request, so that a read allocates nothing.
package struct ReadReply: ~Copyable {
    /// Pieces of memory in the order of the file; `count` of them count. The first place is left
    /// free for the header of the transport: pieces begin at index 1.
    package let vectors: UnsafeMutableBufferPointer<iovec>
    package var count = 0
    /// Bytes in all pieces.
    package var bytes = 0
    /// Pins of cached contents.
    package var lease = ReadLease()
    /// Memory that a read from the datastore landed in, of `requestSize` bytes and two blocks;
    /// made when first needed.
    package var buffer: UnsafeMutableRawPointer?

    package init() {
        vectors = .allocate(capacity: 260)
    }

    /// Adds a piece. More than 258 pieces cannot come: a request has at most 257 blocks.
    package mutating func append(_ base: UnsafeRawPointer, _ length: Int) {
        guard length > 0, count < 258 else { return }
        count += 1
        vectors[count] = iovec(iov_base: UnsafeMutableRawPointer(mutating: base), iov_len: length)
        bytes += length
    }

    /// Lets go of what the last answer held.
    package mutating func reset() {
        lease.release()
        count = 0
        bytes = 0
    }

    deinit {
        vectors.deallocate()
        buffer?.deallocate()
    }
}
