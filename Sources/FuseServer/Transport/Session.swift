import CFuse
import CLinux
import DataPath
import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls

/// How the server before this one ended.
package enum Predecessor: Sendable {
    /// There was none: the mount is new.
    case none
    /// By a trap: SIGILL, SIGTRAP, SIGSEGV, SIGABRT, SIGBUS or SIGFPE. A request may be the cause.
    case trap
    /// By a signal from outside, or it was replaced.
    case other
    /// By its own will: what it left in the slots was not in its way.
    case handedOver
}

/// How a session ended.
package enum SessionEnd: Equatable, Sendable {
    /// The mount is gone.
    case unmounted
    /// A successor is to serve on. `isIdle`: nothing is under way any more, and nothing begins.
    case handedOver(isIdle: Bool)
}

/// One life of a server on the mount's FUSE device: agrees with the kernel, takes over what an
/// earlier server left, serves until the mount is gone.
package final class Session: @unchecked Sendable {
    let device: Int32
    package let slots: RequestSlots
    let datastore: Datastore
    let pool: WorkerPool
    let invalidation = KernelInvalidation()
    let repeats = RepeatGate()
    /// READ and WRITE go past libfuse.
    private let isDirect: Bool
    /// Readers may wait for the datastore.
    let isLocal: Bool
    /// Readers that wait for a slot.
    let waitingReaders = Mutex(0)
    /// Readers that do what may take as long as a device does.
    let busyReaders = Atomic<Int>(0)
    private let phase = Condition(Phase.serving)
    /// Readers stop reading: the next server is to have what comes.
    let isLeaving = Atomic(false)
    /// libfuse's session. Set once, before any other thread exists.
    private var handle: OpaquePointer?
    private enum Phase {
        case serving
        case leaving
        case gone
    }

    /// The INIT that libfuse works on was answered by an earlier server.
    private var isInitReplayed = false

    /// `device` is the open /dev/fuse of the mount. Both descriptors stay the caller's.
    package convenience init(
        device: Int32, slots: RequestSlots, datastore: Datastore
    ) throws(Errno) {
        try self.init(
            device: device, slots: slots, datastore: datastore, table: Operations.table(),
            isDirect: true, isLocal: datastore.isLocal)
    }

    /// The same with operations of the caller's. `isDirect`: those that libfuse is not needed for
    /// are our own. `isLocal`: the datastore is a device of this machine.
    init(
        device: Int32, slots: RequestSlots, datastore: Datastore, table: fuse_lowlevel_ops,
        isDirect: Bool = false, isLocal: Bool = false,
        workers: Int = Limits.workerThreads, flashWorkers: Int = Limits.flashThreads
    ) throws(Errno) {
        self.device = device
        self.slots = slots
        self.datastore = datastore
        self.isDirect = isDirect
        self.isLocal = isLocal
        pool = WorkerPool(slots: slots, flashThreads: flashWorkers, threads: workers)
        try openSession(table)
        datastore.onInvalidate { [invalidation] copy in invalidation.post(copy) }
    }

    private func openSession(_ operations: fuse_lowlevel_ops) throws(Errno) {
        var table = operations
        table.`init` = { _, connection in
            if let connection { Capabilities.configure(connection) }
        }
        var arguments = fuse_args()
        guard fuse_opt_add_arg(&arguments, "forebay") == 0 else { throw .noMemory }
        defer { fuse_opt_free_args(&arguments) }
        let userdata = Unmanaged.passUnretained(self).toOpaque()
        guard let handle = CFuse_session_new(&arguments, &table, userdata) else {
            throw .noMemory
        }
        var io = fuse_custom_io()
        io.read = { device, buffer, size, _ in Glibc.read(device, buffer, size) }
        io.writev = { device, vectors, count, userdata in
            Replies.hook(device, vectors, count, userdata)
        }
        let status = fuse_session_custom_io(handle, &io, device)
        guard status == 0 else { throw Errno(-status) }
        self.handle = handle
    }

    static func from(_ userdata: UnsafeMutableRawPointer) -> Session {
        Unmanaged<Session>.fromOpaque(userdata).takeUnretainedValue()
    }

    /// A context for a thread that is about to run operations; `slot` is any slot.
    func makeContext(_ slot: Slot) -> RequestContext {
        RequestContext(
            datastore: datastore, slots: slots, device: device, slot: slot, repeats: repeats)
    }

    // MARK: - Life

    /// Serves until the mount is gone or `handOver` is called; then nothing of this object may be
    /// used any more but by its own threads, which go with the process. `ready` is called once
    /// requests are answered.
    @discardableResult
    package func run(
        predecessor: Predecessor, diedAt: UInt64 = 0, ready: () -> Void
    ) throws(Errno) -> SessionEnd {
        CLinux_set_io_flusher()
        slots.guardServer()
        slots.awaitEndOfReaders()
        try agree()
        let left = takeOver(after: predecessor)
        slots.beat(at: monotonicNanoseconds())
        let monitor = try Thread(name: "monitor") { [self] in
            // A busy machine must not keep it from showing that the server is alive.
            CLinux_set_nice(Limits.monitorNice)
            watch()
        }
        let invalidator = try Thread(name: "invalidation") { [self] in sendInvalidations() }
        for slot in left { submit(slot, for: .datastore) }
        noteStart(predecessor, diedAt: diedAt)
        var readers: [Thread] = []
        for number in 0..<readerCount {
            readers.append(
                try Thread(name: "reader \(number)") { [self] in
                    slots.guardReader(number)
                    readRequests()
                })
        }
        try Thread(name: "slots") { [self] in slots.releaseRest() }.detach()
        slots.markServed()
        ready()
        if phase.wait({ $0 == .serving ? nil : $0 }) == .leaving { return leave() }
        for reader in readers { reader.join() }
        if !pool.drain(until: monotonicNanoseconds() + .seconds(Limits.drain)) {
            SystemLog.warning("requests are under way after the unmount; they are given up")
        }
        pool.stop()
        invalidation.stop()
        monitor.join()
        invalidator.detach()
        return .unmounted
    }

    private func noteStart(_ predecessor: Predecessor, diedAt: UInt64) {
        let now = monotonicNanoseconds()
        _ = slots.counter(CounterWord.mounted).pointee.compareExchange(
            expected: 0, desired: now, ordering: .relaxed)
        guard predecessor != .none else { return }
        slots.count(CounterWord.restarts)
        if diedAt > 0, diedAt < now {
            slots.counter(CounterWord.lastPause).pointee.store(now - diedAt, ordering: .relaxed)
        }
    }

    /// Threads that read requests: each needs a large slot.
    var readerCount: Int { min(Limits.readerThreads, slots.format.large) }

    var hasEnded: Bool { phase.withLock { $0 == .gone } }

    func startLeaving() { phase.update { if $0 == .serving { $0 = .leaving } } }

    /// The mount is gone.
    func end() { phase.update { $0 = .gone } }

    private func sendInvalidations() {
        invalidation.run { copy in
            guard let handle else { return }
            switch copy {
            case .file(let node):
                _ = fuse_lowlevel_notify_inval_inode(handle, node.rawValue, 0, 0)
            case .name(let name, let folder):
                name.withUnsafeBytes { name in
                    _ = fuse_lowlevel_notify_inval_entry(
                        handle, folder.rawValue,
                        name.baseAddress?.assumingMemoryBound(to: CChar.self), name.count)
                }
            }
        }
    }

    /// Does a request on this thread: by itself where libfuse is not needed, else by way of it.
    @inline(__always)
    func process(_ context: RequestContext) {
        if isDirect, Operations.serve(context) { return }
        if context.opcode == OperationCode.temporary.rawValue {
            return Operations.makeTemporary(context)
        }
        var buffer = fuse_buf()
        buffer.mem = context.slot.request
        buffer.size = context.length
        fuse_session_process_buf(handle, &buffer)
    }

    // MARK: - INIT

    /// Agrees with the kernel: answers its INIT, or repeats for libfuse what an earlier server
    /// agreed.
    private func agree() throws(Errno) {
        guard slots.initReplyLength > 0 else { return try answerFirstInit() }
        isInitReplayed = true
        let scratch = slots.slot(0)
        let copy = UnsafeMutableRawPointer.allocate(
            byteCount: SlotFormat.initCapacity, alignment: 8)
        defer { copy.deallocate() }
        memcpy(copy, slots.initRequest, slots.initRequestLength)
        let request = Slot(
            index: scratch.index, control: scratch.control, request: copy,
            capacity: SlotFormat.initCapacity)
        processInit(request, length: slots.initRequestLength)
    }

    private func processInit(_ request: Slot, length: Int) {
        let context = makeContext(request)
        context.begin(request, length: length, isRepeat: false)
        context.bind()
        process(context)
        RequestContext.unbind()
    }

    /// The first request of a mount is INIT. It may lie in a slot already, when a server died
    /// before it had answered.
    private func answerFirstInit() throws(Errno) {
        for index in 0..<slots.format.count {
            let slot = slots.slot(index)
            let header = slot.header.pointee
            guard slot.state != .free, header.opcode == OperationCode.initialize.rawValue,
                header.len > 0, header.len <= UInt32(SlotFormat.initCapacity)
            else { continue }
            return try answerInit(in: slot, length: Int(header.len))
        }
        let slot = slots.slot(0)
        while true {
            slot.beginReading()
            let length = Glibc.read(device, slot.request, slot.capacity)
            if length < 0 {
                let error = Errno.last
                if error == .interrupted || error.code == EAGAIN || error == .noEntry { continue }
                throw error
            }
            slot.received(length: length)
            return try answerInit(in: slot, length: length)
        }
    }

    private func answerInit(in slot: Slot, length: Int) throws(Errno) {
        guard slot.header.pointee.opcode == OperationCode.initialize.rawValue,
            length <= SlotFormat.initCapacity
        else { throw .invalid }
        memcpy(slots.initRequest, slot.request, length)
        slots.initRequestLength = length
        processInit(slot, length: length)
        slot.enter(.free)
        guard slots.initReplyLength > 0 else { throw .invalid }
    }

    /// libfuse's reply to INIT: changed, kept and sent, or only compared when an earlier server
    /// has sent its own.
    func answerInit(
        _ context: RequestContext, _ vectors: UnsafeMutablePointer<iovec>, count: Int
    ) -> Int {
        var length = 0
        let buffer = UnsafeMutableRawPointer.allocate(
            byteCount: SlotFormat.initCapacity, alignment: 8)
        defer { buffer.deallocate() }
        for index in 0..<count {
            guard let base = vectors[index].iov_base,
                length + vectors[index].iov_len <= SlotFormat.initCapacity
            else { continue }
            memcpy(buffer + length, base, vectors[index].iov_len)
            length += vectors[index].iov_len
        }
        context.isAnswered = true
        let headerSize = MemoryLayout<fuse_out_header>.size
        guard length >= headerSize + MemoryLayout<fuse_init_out>.size else {
            SystemLog.error("the kernel's FUSE is too old or refused what we want")
            if !isInitReplayed { _ = writev(device, vectors, Int32(count)) }
            return length
        }
        let offered =
            (context.raw + MemoryLayout<fuse_in_header>.size)
            .assumingMemoryBound(to: fuse_init_in.self).pointee.flags
        Capabilities.patch(
            (buffer + headerSize).assumingMemoryBound(to: fuse_init_out.self), offered: offered,
            waitingSlots: slots.format.small)
        if isInitReplayed {
            if length != slots.initReplyLength || memcmp(buffer, slots.initReply, length) != 0 {
                SystemLog.warning("this version would have agreed on other things with the kernel")
            }
            return length
        }
        memcpy(slots.initReply, buffer, length)
        slots.initReplyLength = length
        Replies.sendAgain(
            UnsafeMutableRawBufferPointer(start: buffer, count: length), device: device)
        return length
    }
}
