import CFuse
import Glibc
import Syscalls

/// Where every reply leaves the process, libfuse's and our own.
///
/// A request has exactly one: whoever claims the slot's `answered` word sends, all others are
/// swallowed and told that it went well. The reply of a request that changes the datastore is kept
/// in the slot before the kernel sees it, so that a successor can send it again and need not do
/// the operation twice, perhaps over a newer one.
enum Replies {
    /// The `writev` of fuse_session_custom_io. Answers the bytes sent, or -1 with errno.
    static func hook(
        _ device: Int32, _ vectors: UnsafeMutablePointer<iovec>?, _ count: Int32,
        _ userdata: UnsafeMutableRawPointer?
    ) -> Int {
        guard let vectors, count > 0,
            let header = vectors[0].iov_base?.assumingMemoryBound(to: fuse_out_header.self)
        else { return 0 }
        // Notifications have no request; they come from a thread of their own.
        guard header.pointee.unique != 0, let context = RequestContext.currentIfAny else {
            return writev(device, vectors, count)
        }
        if context.opcode == OperationCode.initialize.rawValue, let userdata {
            return Session.from(userdata).answerInit(context, vectors, count: Int(count))
        }
        return send(context, vectors, count: Int(count))
    }

    /// Sends a reply of the request of `context`; vector 0 begins with the header, whose length
    /// is filled in.
    @inline(__always)
    static func send(
        _ context: RequestContext, _ vectors: UnsafeMutablePointer<iovec>, count: Int
    ) -> Int {
        let total = Int(length(of: vectors))
        guard context.slot.claimAnswer() else {
            context.isAnswered = true
            return total
        }
        context.isAnswered = true
        guard OperationCode(context.opcode).mutates else {
            deliver(context.device, vectors, count: count)
            return total
        }
        FailPoint.done.reach(context.opcode)
        if !context.slot.storeReply(vectors, count: count) {
            SystemLog.error("reply of \(total) bytes to opcode \(context.opcode) is not kept")
        }
        FailPoint.applied.reach(context.opcode)
        deliver(context.device, vectors, count: count)
        FailPoint.replied.reach(context.opcode)
        return total
    }

    @inline(__always)
    private static func length(of vectors: UnsafeMutablePointer<iovec>) -> UInt32 {
        vectors[0].iov_base?.assumingMemoryBound(to: fuse_out_header.self).pointee.len ?? 0
    }

    /// Answers the request of a slot with an error from outside of its operation; nothing happens
    /// when it has been answered. True when this was the answer.
    @discardableResult
    static func fail(_ slot: Slot, _ error: Errno, device: Int32) -> Bool {
        guard slot.claimAnswer() else { return false }
        let size = MemoryLayout<fuse_out_header>.size
        var header = fuse_out_header(
            len: UInt32(size), error: -error.code, unique: slot.unique)
        withUnsafeMutablePointer(to: &header) { header in
            var vector = iovec(iov_base: header, iov_len: size)
            if slot.operation.mutates {
                _ = slot.storeReply(&vector, count: 1)
            }
            deliver(device, &vector, count: 1)
        }
        return true
    }

    /// Sends a stored reply once more.
    static func sendAgain(_ reply: UnsafeMutableRawBufferPointer, device: Int32) {
        var vector = iovec(iov_base: reply.baseAddress, iov_len: reply.count)
        deliver(device, &vector, count: 1)
    }

    /// Gives a reply to the kernel. ENOENT means that the request ended without it (its caller was
    /// killed, or a server that died had answered), ENODEV that the mount is gone: both are fine.
    @inline(__always)
    static func deliver(_ device: Int32, _ vectors: UnsafeMutablePointer<iovec>, count: Int) {
        let sent = writev(device, vectors, Int32(count))
        if sent < 0 { refused(Errno.last, device, vectors) }
    }

    /// The kernel did not take a reply. It still waits for one if the form was wrong, so it gets
    /// the shortest that says "try later".
    @inline(never)
    private static func refused(
        _ error: Errno, _ device: Int32, _ vectors: UnsafeMutablePointer<iovec>
    ) {
        if error == .noEntry || error.code == ENODEV { return }
        guard let base = vectors[0].iov_base else { return }
        var header = base.assumingMemoryBound(to: fuse_out_header.self).pointee
        SystemLog.error("the kernel refused a reply of \(header.len) bytes: \(error)")
        header.len = UInt32(MemoryLayout<fuse_out_header>.size)
        header.error = -ETIMEDOUT
        _ = Glibc.write(device, &header, MemoryLayout<fuse_out_header>.size)
    }
}
