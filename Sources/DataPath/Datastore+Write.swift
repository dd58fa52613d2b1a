import CLinux
import Glibc
import Journal
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// write, fallocate, lseek, copy_file_range.
extension Datastore {
    /// Writes to the datastore and answers how many bytes it took. `flags` are those of the
    /// request: with O_SYNC or O_DSYNC the data is durable when this returns.
    package func write(
        _ node: NodeID, bytes: UnsafeRawBufferPointer, offset: UInt64, flags: Int32,
        killSetID: Bool
    ) throws(Errno) -> Int {
        if options.readOnly { throw .readOnly }
        let inode = try inode(node)
        guard inode.isRegular else { throw inode.isDirectory ? .isDirectory : .invalid }
        guard offset <= UInt64(Int64.max) - UInt64(bytes.count) else { throw .fileTooBig }
        let isStable = flags & (O_SYNC | O_DSYNC) != 0
        if let log = logForWrite(inode, offset: offset, count: bytes.count) {
            let isKept = try unlessFailed(log) { () throws(Errno) in
                try write(
                    inode, bytes, at: offset, to: log, isStable: isStable, killSetID: killSetID)
            }
            if isKept { return bytes.count }
        }
        try beginMutation()
        let file = try file(inode, .write)
        let end = offset + UInt64(bytes.count)
        return try change(inode, from: offset, to: end, unsynced: !isStable) {
            () throws(Errno) in
            // The bits go first: a reader must not execute new contents with old rights.
            if killSetID { try clearSetID(file) }
            let written = try writeAll(
                file, bytes, at: offset, flags: isStable ? Self.durability(flags) : 0)
            extend(inode, to: offset + UInt64(written))
            try noteGrowth(inode, to: offset + UInt64(written))
            count(inode, .writes, 1)
            count(inode, .writeBytes, UInt64(written))
            count(inode, .backendWrites, 1)
            count(inode, .backendWriteBytes, UInt64(written))
            return written
        }
    }

    private static func durability(_ flags: Int32) -> Int32 {
        flags & O_SYNC == O_SYNC ? CLinux_RWF_SYNC : CLinux_RWF_DSYNC
    }

    func writeAll(
        _ file: BackingFile, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, flags: Int32
    ) throws(Errno) -> Int {
        var done = 0
        while done < bytes.count {
            do throws(Errno) {
                let written = try backing.ask(flags == 0 ? .other : .write) { () throws(Errno) in
                    try call {
                        CLinux_pwrite(
                            file.descriptor, bytes.baseAddress.map { $0 + done },
                            bytes.count - done, Int64(offset) + Int64(done), flags)
                    }
                }
                if written == 0 { break }
                done += written
            } catch {
                // What was written was written: the error comes with the next write.
                if done == 0 { throw error }
                break
            }
        }
        return done
    }

    /// Runs a change of the bytes [start, end) alone on them, with their cached blocks gone before
    /// it begins and nothing admitted that was read before it ended. `sizes`: what it may leave the
    /// file with, unless it at most extends it to `end`.
    func change<Result>(
        _ inode: Inode, from start: UInt64, to end: UInt64, unsynced: Bool,
        sizes: ClosedRange<UInt64>? = nil, _ body: () throws(Errno) -> Result
    ) throws(Errno) -> Result {
        inode.ranges.lock(start, end)
        defer { inode.ranges.unlock(start, end) }
        try bringHome(inode)
        let first = start / UInt64(blockSize)
        let last = end == .max ? .max : (end &+ UInt64(blockSize - 1)) / UInt64(blockSize)
        return try supersede(
            inode, firstBlock: first, count: end == .max ? .max : last - first,
            to: sizes?.upperBound ?? end, from: sizes?.lowerBound ?? .max, unsynced: unsynced, body)
    }

    /// Runs a change with its blocks gone from every tier; the caller has locked their range. The
    /// change leaves the file with a size from `shortest` to `longest`. `isDestage`: it is in the
    /// log as well.
    func supersede<Result>(
        _ inode: Inode, firstBlock: UInt64, count: UInt64, to longest: UInt64,
        from shortest: UInt64, unsynced: Bool, isDestage: Bool = false,
        _ body: () throws(Errno) -> Result
    ) throws(Errno) -> Result {
        let stored = beginFlashWrite(inode, firstBlock: firstBlock, count: count)
        defer { endFlashWrite(stored) }
        let map = inode.beginChange(to: longest, from: shortest)
        let ticket = tier.beginWrite(
            CacheID(rawValue: map), firstBlock: firstBlock, count: count)
        defer {
            tier.endWrite(ticket)
            inode.endChange(map: map, unsynced: unsynced, isDestage: isDestage)
        }
        return try body()
    }

    /// The file is at least so long now.
    func extend(_ inode: Inode, to end: UInt64) {
        var known = inode.size.load(ordering: .relaxed)
        while known < end {
            let (exchanged, original) = inode.size.weakCompareExchange(
                expected: known, desired: end, ordering: .releasing)
            if exchanged { return }
            known = original
        }
    }

    /// Allocates, punches or zeroes. The corresponding C function is `fallocate`, with whatever
    /// modes the datastore has.
    package func allocate(
        _ node: NodeID, mode: Int32, offset: UInt64, length: UInt64
    ) throws(Errno) {
        try beginMutation()
        let inode = try inode(node)
        guard inode.isRegular else { throw inode.isDirectory ? .isDirectory : .invalid }
        guard length > 0, offset <= UInt64(Int64.max), length <= UInt64(Int64.max) - offset
        else { throw length == 0 ? .invalid : .fileTooBig }
        if mode & (FallocateMode.punch | FallocateMode.zero) != 0,
            try zeroIfDirty(
                inode, offset, length, extends: mode & FallocateMode.keepSize == 0)
        {
            return
        }
        let file = try file(inode, .write)
        // Collapsing and inserting move everything behind.
        let movesRest = mode & (FallocateMode.collapse | FallocateMode.insert) != 0
        let end = movesRest ? UInt64.max : offset + length
        let sizes = movesRest ? 0...(UInt64(Int64.max)) : nil
        try change(inode, from: offset, to: end, unsynced: true, sizes: sizes) {
            () throws(Errno) in
            try backing.ask(.other) { () throws(Errno) in
                try call {
                    CLinux_fallocate(
                        file.descriptor, mode, Int64(offset), Int64(length))
                }
            }
            try learnSize(inode, file)
        }
    }

    /// Zeroes in the log when the file has data there; false when it has not.
    private func zeroIfDirty(
        _ inode: Inode, _ offset: UInt64, _ length: UInt64, extends: Bool
    ) throws(Errno) -> Bool {
        inode.ranges.lock(offset, offset + length)
        defer { inode.ranges.unlock(offset, offset + length) }
        let isCertain = !extends || offset + length <= Limits.certainFileSize
        guard isCertain, let log = logIfDirty(inode) else { return false }
        return try unlessFailed(log) { () throws(Errno) in
            try zero(inode, from: offset, length: length, in: log, extends: extends)
        }
    }

    /// Takes over the size that a change of ours has left.
    private func learnSize(_ inode: Inode, _ file: BackingFile) throws(Errno) {
        var attributes = Attributes()
        try backing.ask(.other) { () throws(Errno) in
            try call { CLinux_statx(file.descriptor, "", CLinux_AT_EMPTY_PATH, &attributes) }
        }
        inode.size.store(attributes.size, ordering: .releasing)
        try noteGrowth(inode, to: attributes.size)
    }

    /// Finds data or a hole. The corresponding C function is `lseek` with SEEK_DATA or SEEK_HOLE.
    package func seek(
        _ node: NodeID, offset: UInt64, whence: Int32
    ) throws(Errno) -> UInt64 {
        guard WaitMode.mayWait else { throw .mustWait }
        guard whence == seekData || whence == seekHole else { throw .invalid }
        // Before the beginning there is as little as behind the end.
        guard offset <= UInt64(Int64.max) else { throw Errno(ENXIO) }
        let inode = try inode(node)
        let file = try file(inode, .read)
        let below = { (offset: UInt64) throws(Errno) -> UInt64 in
            try self.backing.ask(.other) { () throws(Errno) in
                UInt64(try call { CLinux_seek(file.descriptor, Int64(offset), whence) })
            }
        }
        guard let writeBack, writeBack.isDirty(node.rawValue) else { return try below(offset) }
        let kind = whence == seekData ? SeekKind.data : .hole
        return try seekDirty(inode, offset: offset, whence: kind, below: below)
    }

    /// Copies on the datastore's side. The corresponding C function is `copy_file_range`.
    package func copyRange(
        from: NodeID, fromOffset: UInt64, to: NodeID, toOffset: UInt64, count: Int
    ) throws(Errno) -> Int {
        try beginMutation()
        let source = try inode(from)
        let target = try inode(to)
        guard source.isRegular, target.isRegular else { throw .invalid }
        let limit = UInt64(Int64.max) - UInt64(max(0, count))
        guard fromOffset <= limit, toOffset <= limit else { throw .fileTooBig }
        // The datastore cannot copy what it does not have: the kernel reads and writes instead.
        if let writeBack, writeBack.isDirty(from.rawValue) || writeBack.isDirty(to.rawValue) {
            throw Errno(EOPNOTSUPP)
        }
        let input = try file(source, .read)
        let output = try file(target, .write)
        let end = toOffset + UInt64(max(0, count))
        return try change(target, from: toOffset, to: end, unsynced: true) { () throws(Errno) in
            var (from, to) = (Int64(fromOffset), Int64(toOffset))
            let copied = try backing.ask(.other) { () throws(Errno) in
                try call {
                    CLinux_copy_range(input.descriptor, &from, output.descriptor, &to, count)
                }
            }
            extend(target, to: toOffset + UInt64(copied))
            self.count(target, .writes, 1)
            self.count(target, .writeBytes, UInt64(copied))
            return copied
        }
    }
}

// Hidden by the C library without _GNU_SOURCE: lseek(2).
private let seekData: Int32 = 3
private let seekHole: Int32 = 4

/// Modes of fallocate(2).
private enum FallocateMode {
    static let keepSize: Int32 = 0x01
    static let punch: Int32 = 0x02
    static let collapse: Int32 = 0x08
    static let zero: Int32 = 0x10
    static let insert: Int32 = 0x20
}
