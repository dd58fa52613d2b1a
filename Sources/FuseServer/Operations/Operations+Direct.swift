import CFuse
import DataPath
import Glibc
import Passthrough
import Policy
import Syscalls

// READ and WRITE are taken from the slot as the kernel wrote them and answered in its own format.
// By way of libfuse each would allocate, make and destroy a lock, and be put in a list that only
// INTERRUPT reads, which never comes there. FUSE_TMPFILE libfuse 3.14 does not know at all.
extension Operations {
    /// Does a request that libfuse is not needed for; false for all others.
    @inline(__always)
    static func serve(_ context: RequestContext) -> Bool {
        switch OperationCode(context.opcode) {
        case .read: read(context)
        case .write: write(context)
        default: return false
        }
        return true
    }

    @inline(__always)
    private static func read(_ context: RequestContext) {
        let reply = context.reply
        do throws(Errno) {
            let arguments = try context.checkedArgument(as: fuse_read_in.self)
            defer { reply.pointee.reset() }
            try context.datastore.read(
                context.node, offset: arguments.offset,
                count: min(Int(arguments.size), Limits.requestSize), into: &reply.pointee)
            sendReply(context)
        } catch {
            refuse(context, error)
        }
    }

    /// The bytes lie in the request's slot. `flags` are those of this write: O_SYNC or O_DSYNC
    /// there is all that tells of a stable write.
    @inline(__always)
    private static func write(_ context: RequestContext) {
        do throws(Errno) {
            let arguments = try context.checkedArgument(as: fuse_write_in.self)
            let start = MemoryLayout<fuse_in_header>.size + MemoryLayout<fuse_write_in>.size
            let count = Int(arguments.size)
            guard count <= context.length - start else { throw .invalid }
            let written = try context.datastore.write(
                context.node,
                bytes: UnsafeRawBufferPointer(start: context.raw + start, count: count),
                offset: arguments.offset, flags: Int32(bitPattern: arguments.flags),
                killSetID: arguments.write_flags & UInt32(FUSE_WRITE_KILL_SUIDGID) != 0)
            var reply = fuse_write_out(size: UInt32(written), padding: 0)
            withUnsafeMutableBytes(of: &reply) { send(context, $0, error: 0) }
        } catch {
            refuse(context, error)
        }
    }

    /// Sends the pieces of memory that a read has collected, without a copy.
    @inline(__always)
    private static func sendReply(_ context: RequestContext) {
        let reply = context.reply
        let header = context.header
        let size = MemoryLayout<fuse_out_header>.size
        guard let vectors = reply.pointee.vectors.baseAddress else { return }
        header.pointee.len = UInt32(size + reply.pointee.bytes)
        header.pointee.error = 0
        header.pointee.unique = context.slot.unique
        // The first vector was left free for this.
        vectors[0] = iovec(iov_base: header, iov_len: size)
        _ = Replies.send(context, vectors, count: reply.pointee.count + 1)
    }

    /// Answers a request with an error, or leaves it to a thread that may wait for what it needs.
    @inline(never)
    static func refuse(_ context: RequestContext, _ error: Errno) {
        if let mode = error.neededMode {
            context.neededMode = mode
            return
        }
        if error == .stale { context.datastore.walkAgain(to: context.node) }
        let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        send(context, none, error: error.replyCode)
    }

    /// Sends a header and what follows it.
    static func send(
        _ context: RequestContext, _ bytes: UnsafeMutableRawBufferPointer, error: Int32
    ) {
        let headerSize = MemoryLayout<fuse_out_header>.size
        var header = fuse_out_header(
            len: UInt32(headerSize + bytes.count), error: -error, unique: context.slot.unique)
        withUnsafeMutableBytes(of: &header) { header in
            var vectors = (
                iovec(iov_base: header.baseAddress, iov_len: headerSize),
                iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
            )
            withUnsafeMutableBytes(of: &vectors) { vectors in
                let vectors = vectors.bindMemory(to: iovec.self)
                guard let base = vectors.baseAddress else { return }
                _ = Replies.send(context, base, count: bytes.isEmpty ? 1 : 2)
            }
        }
    }
}

extension RequestContext {
    /// The file that the request is about.
    @inline(__always)
    var node: NodeID { NodeID(slot.header.pointee.nodeid) }

    /// The fixed part of the request's arguments; EINVAL when the request is too short for it.
    @inline(__always)
    func checkedArgument<Argument: BitwiseCopyable>(
        as type: Argument.Type
    ) throws(Errno) -> Argument {
        let least = MemoryLayout<fuse_in_header>.size + MemoryLayout<Argument>.size
        guard length >= least else { throw .invalid }
        return argument(as: type)
    }
}
