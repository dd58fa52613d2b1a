import CFuse
import CLinux
import DataPath
import Glibc
import Policy
import Syscalls
import TestSupport

@testable import FuseServer

/// The kernel's side of a mount: sends requests and receives replies over a socket that keeps
/// messages apart as /dev/fuse does.
final class FakeKernel: Sendable {
    /// What a server gets for /dev/fuse.
    let device: Int32
    private let own: Int32

    struct Reply: Equatable {
        let unique: UInt64
        /// 0, or the error number, positive.
        let error: Int32
        let body: [UInt8]
    }

    init() throws(Errno) {
        var pair: [Int32] = [0, 0]
        try call { socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &pair) }
        (device, own) = (pair[0], pair[1])
        var size: Int32 = 4 << 20
        for descriptor in pair {
            setsockopt(
                descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    deinit {
        close(device)
        close(own)
    }

    /// The bytes of a request.
    static func request(
        _ opcode: UInt32, unique: UInt64, node: UInt64 = 1, _ body: [UInt8] = []
    ) -> [UInt8] {
        var header = fuse_in_header()
        let size = MemoryLayout<fuse_in_header>.size
        header.len = UInt32(size + body.count)
        header.opcode = opcode
        header.unique = unique
        header.nodeid = node
        return withUnsafeBytes(of: &header) { Array($0) } + body
    }

    /// The first request of a mount, as Linux 6.1 sends it.
    static func initRequest(flags: UInt32 = .max & ~(1 << 31)) -> [UInt8] {
        var body = fuse_init_in()
        body.major = 7
        body.minor = 38
        body.max_readahead = 1 << 20
        body.flags = flags & ~(1 << 30)
        return request(26, unique: 2, node: 0, withUnsafeBytes(of: &body) { Array($0) })
    }

    func send(_ bytes: [UInt8]) { _ = Glibc.send(own, bytes, bytes.count, 0) }

    func send(_ opcode: UInt32, unique: UInt64, node: UInt64 = 1, _ body: [UInt8] = []) {
        send(Self.request(opcode, unique: unique, node: node, body))
    }

    /// The next reply; nil when none comes within so many milliseconds.
    func receive(within milliseconds: Int32 = 10_000) -> Reply? {
        var event = pollfd(fd: own, events: Int16(POLLIN), revents: 0)
        guard poll(&event, 1, milliseconds) > 0 else { return nil }
        var buffer = [UInt8](repeating: 0, count: 2 << 20)
        let length = recv(own, &buffer, buffer.count, 0)
        let size = MemoryLayout<fuse_out_header>.size
        guard length >= size else { return nil }
        let header = buffer.withUnsafeBytes { $0.loadUnaligned(as: fuse_out_header.self) }
        return Reply(
            unique: header.unique, error: -header.error, body: Array(buffer[size..<length]))
    }

    /// The mount goes away.
    func unmount() { shutdown(own, Int32(SHUT_RDWR)) }
}

/// A session on a fake kernel, with operations of the test's own.
final class FakeMount {
    let kernel: FakeKernel
    let memory: Int32
    let format: SlotFormat
    private let folder: TemporaryFolder
    private let datastore: Datastore

    init(format: SlotFormat = SlotFormat(large: 8, medium: 4, small: 16)) throws(Errno) {
        kernel = try FakeKernel()
        self.format = format
        memory = try RequestSlots.create(format: format)
        folder = try TemporaryFolder("session")
        let options = MountOptions(
            backing: try folder.makeFolder("backing"), mountpoint: "/nowhere", name: "fake",
            state: folder.path("state"), ram: 16 << 20)
        datastore = try Datastore(options: options, framesDescriptor: nil, counters: nil)
    }

    deinit {
        datastore.close()
        close(memory)
    }

    /// A view of the slots as another process would have it.
    func slots() throws(Errno) -> RequestSlots {
        try RequestSlots(descriptor: memory, populated: false)
    }

    func session(
        _ table: fuse_lowlevel_ops, isDirect: Bool = false, isLocal: Bool = false,
        workers: Int = 4, flashWorkers: Int = 4
    ) throws(Errno) -> Session {
        try Session(
            device: kernel.device, slots: try slots(), datastore: datastore, table: table,
            isDirect: isDirect, isLocal: isLocal, workers: workers, flashWorkers: flashWorkers)
    }

    /// Runs a session while `body` plays the kernel, then unmounts and waits for its end.
    func serve(
        _ table: fuse_lowlevel_ops, isDirect: Bool = false, isLocal: Bool = false,
        predecessor: Predecessor = .none, workers: Int = 4, flashWorkers: Int = 4,
        _ body: (Session) throws -> Void
    ) throws {
        let session = try session(
            table, isDirect: isDirect, isLocal: isLocal, workers: workers,
            flashWorkers: flashWorkers)
        let isReady = Condition(false)
        let thread = try Thread(name: "session") {
            do throws(Errno) {
                try session.run(predecessor: predecessor) { isReady.update { $0 = true } }
            } catch {
                SystemLog.error("the session failed: \(error)")
                isReady.update { $0 = true }
            }
        }
        defer {
            kernel.unmount()
            thread.join()
        }
        if predecessor == .none {
            kernel.send(FakeKernel.initRequest())
            guard kernel.receive()?.unique == 2 else { throw TestFailure("no reply to INIT") }
        }
        _ = isReady.wait { $0 ? true : nil }
        try body(session)
    }
}

/// Operations of tests run without a capture, so what they share is here. Each test has a number
/// and so a gate of its own.
enum Gates {
    struct State {
        var isOpen: Set<UInt64> = []
        var entered: [UInt64: Int] = [:]
        var repeats: [UInt64: Int] = [:]
    }

    static let state = Condition(State())

    static func open(_ number: UInt64) { state.update { _ = $0.isOpen.insert(number) } }

    /// Waits in an operation until the test opens its gate.
    static func pass(_ number: UInt64) {
        let isRepeat = RequestContext.current.isRepeat
        state.update {
            $0.entered[number, default: 0] += 1
            if isRepeat { $0.repeats[number, default: 0] += 1 }
        }
        _ = state.wait { $0.isOpen.contains(number) ? true : nil }
    }

    /// Waits until operations have come to the gate so often.
    static func awaitEntry(_ number: UInt64, count: Int = 1) {
        _ = state.wait { $0.entered[number, default: 0] >= count ? true : nil }
    }

    static func entries(_ number: UInt64) -> Int { state.withLock { $0.entered[number] ?? 0 } }
    static func repeats(_ number: UInt64) -> Int { state.withLock { $0.repeats[number] ?? 0 } }
}
