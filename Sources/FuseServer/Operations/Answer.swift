import CFuse
import DataPath
import Glibc
import Passthrough
import Syscalls

/// What one request is answered with. An operation returns exactly one of these, so that no path
/// answers twice or not at all.
enum Answer {
    /// Success without contents.
    case done
    case entry(Entry)
    case attributes(Attributes)
    /// The file is open; the kernel may keep what it has cached of it.
    case opened(keepCache: Bool)
    case created(Entry)
    /// Bytes that were written or copied.
    case written(Int)
    /// The size of an extended attribute or of their list.
    case size(Int)
    /// A position in the file.
    case offset(UInt64)
    case fileSystem(statvfs)
    /// The operation has sent its answer, because that lies in memory of its own.
    case sent
    /// A request that the kernel wants no answer to.
    case nothing
}

/// Runs an operation and answers the request with what it returns or throws. When the operation
/// needs flash or the datastore and the thread may not wait for it, nothing is answered yet: the
/// transport runs the request again on a thread that may.
@inline(__always)
func answer(
    _ request: fuse_req_t?, _ operation: (Request) throws(Errno) -> Answer
) {
    guard let request else { return }
    let context = RequestContext.current
    let current = Request(handle: request, context: context)
    do throws(Errno) {
        current.send(try operation(current))
    } catch {
        if let mode = error.neededMode {
            context.neededMode = mode
            fuse_reply_none(request)
            return
        }
        if error == .stale {
            context.datastore.walkAgain(to: NodeID(context.slot.header.pointee.nodeid))
        }
        fuse_reply_err(request, error.replyCode)
    }
}

extension Errno {
    /// The number for a reply. ENOSYS would tell the kernel never to ask for this operation again,
    /// which turns every later fsync(2) into a lie; one file that cannot do it is no reason.
    var replyCode: Int32 { self == .notImplemented ? EOPNOTSUPP : code }
}

/// The request that an operation works on.
struct Request {
    let handle: fuse_req_t
    let context: RequestContext

    var datastore: Datastore { context.datastore }

    /// Who asks, for the ownership of what is created.
    var caller: Caller { context.caller }

    /// The result of `fuse_reply_*` is of no use: the one error is that the kernel no longer waits
    /// for the answer, and the lookup count that this leaves too high is only a hint.
    func send(_ answer: Answer) {
        switch answer {
        case .done: fuse_reply_err(handle, 0)
        case .nothing: fuse_reply_none(handle)
        case .sent: break
        case .entry(let entry):
            var parameters = fuse_entry_param(entry, timeout: datastore.attributeTimeout)
            fuse_reply_entry(handle, &parameters)
        case .attributes(let attributes):
            var status = attributes.status
            fuse_reply_attr(handle, &status, datastore.attributeTimeout)
        case .opened(let keepCache):
            var file = fuse_file_info(keepCache: keepCache)
            fuse_reply_open(handle, &file)
        case .created(let entry):
            var parameters = fuse_entry_param(entry, timeout: datastore.attributeTimeout)
            var file = fuse_file_info(keepCache: true)
            fuse_reply_create(handle, &parameters, &file)
        case .written(let count): fuse_reply_write(handle, count)
        case .size(let size): fuse_reply_xattr(handle, size)
        case .offset(let offset): fuse_reply_lseek(handle, off_t(bitPattern: UInt(offset)))
        case .fileSystem(var statistics): fuse_reply_statfs(handle, &statistics)
        }
    }

    /// Sends bytes, which libfuse hands to the kernel before this returns.
    func send(_ bytes: UnsafeRawBufferPointer) -> Answer {
        fuse_reply_buf(handle, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
        return .sent
    }
}

extension RequestContext {
    /// Who asks.
    var caller: Caller {
        let header = slot.header
        return Caller(uid: header.pointee.uid, gid: header.pointee.gid)
    }

    /// The fixed part of the request's arguments, behind the header. libfuse checked that the
    /// request is long enough for it; where it lies there is room for the largest.
    @inline(__always)
    func argument<Argument: BitwiseCopyable>(as type: Argument.Type) -> Argument {
        raw.load(fromByteOffset: MemoryLayout<fuse_in_header>.size, as: type)
    }
}

extension Optional where Wrapped == Name {
    /// The name of a request; libfuse always gives one.
    var required: Name {
        get throws(Errno) {
            guard let self else { throw .invalid }
            return self
        }
    }
}
