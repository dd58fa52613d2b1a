import CLinux
import Devices
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

/// The datastore as the destager sees it: what it writes goes the way of any change, past the log.
package final class DatastoreTarget: DestageTarget {
    private struct State {
        weak var datastore: Datastore?
        /// How files looked when they were last ours, of those that nothing was destaged to yet
        /// since the log was read.
        var expected: [UInt64: FileState] = [:]
        /// Why files are being set aside.
        var reasons: [UInt64: Errno] = [:]
    }

    private let state = Mutex(State())
    private let comparing = Mutex(())
    let aside: AsideFolder
    /// Writes and bytes that went to the datastore.
    let writes = Atomic<UInt64>(0)
    let bytes = Atomic<UInt64>(0)

    /// `state`: the state folder.
    init(state: String) { aside = AsideFolder(state: state) }

    /// Set before the destager starts.
    func attach(_ datastore: Datastore) { state.withLock { $0.datastore = datastore } }

    /// A file of an earlier life is only written when it looks as it did then.
    func expect(_ file: UInt64, _ expected: FileState) {
        state.withLock { $0.expected[file] = expected }
    }

    private func inode(_ file: UInt64) throws(Errno) -> (Datastore, Inode) {
        // The threads are the destager's: they may wait for what they write to.
        WaitMode.set(.datastore)
        let (datastore, isExpected) = state.withLock {
            ($0.datastore, $0.expected[file] != nil)
        }
        // A datastore that is being closed destages nothing any more; its successor does.
        guard let datastore else { throw .timedOut }
        let inode = try datastore.inode(NodeID(file))
        if isExpected { try compare(datastore, inode) }
        return (datastore, inode)
    }

    /// Refuses a file that others have changed. One thread at a time: what the others write behind
    /// it changes the file too.
    private func compare(_ datastore: Datastore, _ inode: Inode) throws(Errno) {
        let file = inode.node.rawValue
        try comparing.withLock { (_) throws(Errno) in
            guard let expected = state.withLock({ $0.expected[file] }) else { return }
            let found = try datastore.sample(inode, forced: true).attributes
            guard FileState(Sample(found)) == expected else { throw .changedByOthers }
            state.withLock { _ = $0.expected.removeValue(forKey: file) }
        }
    }

    /// Writes all of the bytes, or throws.
    package func write(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, isDurable: Bool
    ) throws(Errno) {
        let (datastore, inode) = try inode(file)
        let opened = try datastore.file(inode, .write)
        let end = offset + UInt64(bytes.count)
        try datastore.supersede(inode, from: offset, to: end) { () throws(Errno) in
            let written = try datastore.writeAll(
                opened, bytes, at: offset, flags: isDurable ? CLinux_RWF_DSYNC : 0)
            datastore.extend(inode, to: offset + UInt64(written))
            datastore.count(inode, .backendWrites, 1)
            datastore.count(inode, .backendWriteBytes, UInt64(written))
            guard written == bytes.count else { throw .noSpace }
        }
        writes.add(1, ordering: .relaxed)
        self.bytes.add(UInt64(bytes.count), ordering: .relaxed)
    }

    /// Changes the size.
    package func truncate(_ file: UInt64, to size: UInt64) throws(Errno) {
        let (datastore, inode) = try inode(file)
        guard inode.size.load(ordering: .relaxed) != size else { return }
        let opened = try datastore.file(inode, .write)
        try datastore.cut(inode, opened, to: size, isDestage: true)
    }

    /// Punches a hole, or writes zeros where the datastore cannot. Behind the end nothing is done.
    package func zero(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno) {
        let (datastore, inode) = try inode(file)
        let size = inode.size.load(ordering: .relaxed)
        guard offset < size else { return }
        let end = min(offset + length, size)
        let opened = try datastore.file(inode, .write)
        do throws(Errno) {
            try datastore.supersede(inode, from: offset, to: end) { () throws(Errno) in
                try datastore.backing.ask(.other) { () throws(Errno) in
                    try call {
                        CLinux_fallocate(
                            opened.descriptor, Self.punchHole, Int64(offset), Int64(end - offset))
                    }
                }
            }
        } catch {
            guard error == .notSupported || error == .notImplemented else { throw error }
            try writeZeros(file, from: offset, to: end)
        }
    }

    private func writeZeros(_ file: UInt64, from start: UInt64, to end: UInt64) throws(Errno) {
        let zeros = BlockBuffer(blocks: Limits.requestSize / Limits.blockSize)
        var position = start
        while position < end {
            let count = Int(min(end - position, UInt64(zeros.bytes.count)))
            try write(
                file, UnsafeRawBufferPointer(rebasing: zeros.bytes[..<count]), at: position,
                isDurable: false)
            position += UInt64(count)
        }
    }

    /// FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE.
    private static let punchHole: Int32 = 0x03

    /// Makes what was written durable.
    package func sync(_ file: UInt64) throws(Errno) {
        let (datastore, inode) = try inode(file)
        let opened = try datastore.file(inode, .write)
        let before = inode.state.withLock { $0.changesEnded }
        try datastore.backing.ask(.other) { () throws(Errno) in
            try call { fsync(opened.descriptor) }
        }
        inode.update { state in
            if state.changesBegun == before { state.isUnsynced = false }
        }
        if let late = inode.errors.take() { throw late }
    }

    /// Sets the time of modification that clients have seen, and tells how the file looks.
    package func finish(_ file: UInt64, modified: Timestamp) throws(Errno) -> FileState {
        let (datastore, inode) = try inode(file)
        let opened = try datastore.file(inode, .path)
        try setTime(of: inode, opened, modified, datastore)
        // What others do from now on is to be told from what we did.
        return FileState(Sample(try datastore.sample(inode, forced: true).attributes))
    }

    private func setTime(
        of inode: Inode, _ file: BackingFile, _ modified: Timestamp, _ datastore: Datastore
    ) throws(Errno) {
        let map = inode.beginChange()
        defer { inode.endChange(map: map, unsynced: false) }
        try datastore.backing.ask { () throws(Errno) in
            try call {
                CLinux_set_times(
                    file.descriptor, [0, modified.seconds],
                    [CLinux_UTIME_OMIT, Int64(modified.nanoseconds)])
            }
        }
    }

    // MARK: - Setting aside

    /// Begins to keep what the datastore does not take, in the state folder.
    package func beginSettingAside(
        _ file: UInt64, handle: [UInt8], because error: Errno
    ) throws(Errno) {
        let name = name(of: file)
        state.withLock { $0.reasons[file] = error }
        try aside.begin(
            file, title: "\(name): \(error)\nhandle \(handle.map { String($0, radix: 16) })")
    }

    /// Keeps a piece that was written.
    package func setAside(
        _ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64
    ) throws(Errno) {
        try aside.keep(file, bytes, at: offset)
    }

    /// Notes a piece that was zeroed.
    package func setAsideZeros(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno) {
        try aside.note(file, "zeros", at: offset, length: length)
    }

    /// Notes a piece that the log does not give back.
    package func reportUnreadable(
        _ file: UInt64, at offset: UInt64, length: UInt64
    ) throws(Errno) {
        try aside.note(file, "lost", at: offset, length: length)
    }

    /// Ends it and tells the administrator.
    package func endSettingAside(
        _ file: UInt64, size: UInt64?, modified: Timestamp
    ) throws(Errno) {
        let kept = try aside.end(file, size: size)
        let (datastore, error) = state.withLock { state in
            state.expected.removeValue(forKey: file)
            return (state.datastore, state.reasons.removeValue(forKey: file) ?? .io)
        }
        let name = name(of: file)
        if error == .changedByOthers {
            LogEvents.conflict(name, bytes: kept.bytes, place: kept.path)
        } else {
            LogEvents.setAside(name, bytes: kept.bytes, reason: "\(error)", place: kept.path)
        }
        // What the kernel has of the file is what clients wrote.
        datastore?.invalidateKernel(.file(NodeID(file)))
    }

    private func name(of file: UInt64) -> String {
        let datastore = state.withLock { $0.datastore }
        let name = datastore?.inodes.find(NodeID(file))?.state.withLock { $0.name } ?? []
        return name.isEmpty
            ? "file \(String(file, radix: 16))" : String(decoding: name, as: UTF8.self)
    }
}

extension Datastore {
    /// A change by the destager of the bytes [start, end). No client's change of them can be under
    /// way: those wait for it, or go into the log behind it.
    func supersede(
        _ inode: Inode, from start: UInt64, to end: UInt64, _ body: () throws(Errno) -> Void
    ) throws(Errno) {
        let first = start / UInt64(blockSize)
        let last = (end + UInt64(blockSize) - 1) / UInt64(blockSize)
        try supersede(
            inode, firstBlock: first, count: last - first, to: end, from: .max, unsynced: true,
            isDestage: true, body)
    }
}
