import CLinux
import Glibc
import Policy
import Syscalls

/// What a server learnt of the datastore, for its successor: one that starts while the datastore
/// hangs must not ask it anything. Kept in the memory of the request slots.
package struct BackingRecord: Equatable, Sendable {
    package var rootHandle: FileHandle
    package var hasHandles: Bool
    package var isNetwork: Bool
    /// False in a record of a version that did not know it.
    package var isLocal: Bool
    package var isReadOnly: Bool
    /// The id of the mount that the folder is on.
    package var mount: Int32
    /// Of the folder, as learnt last.
    package var attributes = Attributes()
    /// Sizes and free space as learnt last; all zero before.
    package var space = Space()
    package var health = HealthPast()

    package init(
        rootHandle: FileHandle, hasHandles: Bool, isNetwork: Bool, isLocal: Bool,
        isReadOnly: Bool, mount: Int32
    ) {
        self.rootHandle = rootHandle
        self.hasHandles = hasHandles
        self.isNetwork = isNetwork
        self.isLocal = isLocal
        self.isReadOnly = isReadOnly
        self.mount = mount
    }

    package static func == (one: Self, other: Self) -> Bool { one.bytes == other.bytes }
}

/// The numbers of statvfs(3) that clients are told.
package struct Space: Equatable, Sendable {
    package var blockSize: UInt64 = 0
    package var fragmentSize: UInt64 = 0
    package var blocks: UInt64 = 0
    package var freeBlocks: UInt64 = 0
    package var availableBlocks: UInt64 = 0
    package var files: UInt64 = 0
    package var freeFiles: UInt64 = 0
    package var nameLength: UInt64 = 0

    package init() {}

    package init(_ status: statvfs) {
        blockSize = UInt64(status.f_bsize)
        fragmentSize = UInt64(status.f_frsize)
        blocks = UInt64(status.f_blocks)
        freeBlocks = UInt64(status.f_bfree)
        availableBlocks = UInt64(status.f_bavail)
        files = UInt64(status.f_files)
        freeFiles = UInt64(status.f_ffree)
        nameLength = UInt64(status.f_namemax)
    }

    /// The same as the C library's struct.
    package var status: statvfs {
        var status = statvfs()
        status.f_bsize = UInt(blockSize)
        status.f_frsize = UInt(fragmentSize)
        status.f_blocks = UInt(blocks)
        status.f_bfree = UInt(freeBlocks)
        status.f_bavail = UInt(availableBlocks)
        status.f_files = UInt(files)
        status.f_ffree = UInt(freeFiles)
        status.f_favail = UInt(freeFiles)
        status.f_namemax = UInt(nameLength)
        return status
    }
}

// MARK: - The form in memory

// Numbers are little-endian, one after the other:
//
//   1 version    1 flags    1 state of health    1 bytes of the root's handle    4 mount
//   4 type of the handle    6 × 8 health    8 × 8 space    40 + 40 + 32 attributes    handle
extension BackingRecord {
    private static let version: UInt8 = 1

    /// The record as `init(bytes:)` reads it, at most 364 bytes.
    package var bytes: [UInt8] {
        var writer = RecordWriter()
        writer.add(Self.version)
        writer.add(
            (hasHandles ? 1 : 0) | (isNetwork ? 2 : 0) | (isReadOnly ? 4 : 0)
                | (isLocal ? 8 : 0) as UInt8)
        writer.add(health.state.code)
        writer.add(UInt8(truncatingIfNeeded: rootHandle.bytes.count))
        writer.add(mount)
        writer.add(rootHandle.type)
        writer.add(health.silentSince)
        writer.add(health.illSince)
        writer.add(health.transitions)
        for kind in 0..<3 { writer.add(health.usual[kind]) }
        for path in Self.spaceFields { writer.add(space[keyPath: path]) }
        for path in Self.wideFields { writer.add(attributes[keyPath: path]) }
        for path in Self.narrowFields { writer.add(attributes[keyPath: path]) }
        for path in Self.timeFields { writer.add(attributes[keyPath: path]) }
        writer.bytes += rootHandle.bytes
        return writer.bytes
    }

    /// Reads a record; nil for anything that is none of this version.
    package init?(bytes: [UInt8]) {
        var reader = RecordReader(bytes)
        guard reader.next() == Self.version, let flags: UInt8 = reader.next(),
            let code: UInt8 = reader.next(), let state = PartState(code: code),
            let length: UInt8 = reader.next(), let mount: Int32 = reader.next(),
            let type: Int32 = reader.next()
        else { return nil }
        var health = HealthPast()
        health.state = state
        health.silentSince = reader.next() ?? 0
        health.illSince = reader.next() ?? 0
        health.transitions = reader.next() ?? 0
        for kind in 0..<3 { health.usual[kind] = reader.next() ?? 0 }
        var space = Space()
        var attributes = Attributes()
        for path in Self.spaceFields { space[keyPath: path] = reader.next() ?? 0 }
        for path in Self.wideFields { attributes[keyPath: path] = reader.next() ?? 0 }
        for path in Self.narrowFields { attributes[keyPath: path] = reader.next() ?? 0 }
        for path in Self.timeFields { attributes[keyPath: path] = reader.next() ?? 0 }
        guard reader.left.count == Int(length), length > 0, length <= 128 else { return nil }
        self.init(
            rootHandle: FileHandle(type: type, bytes: Array(reader.left)),
            hasHandles: flags & 1 != 0, isNetwork: flags & 2 != 0, isLocal: flags & 8 != 0,
            isReadOnly: flags & 4 != 0, mount: mount)
        self.health = health
        self.space = space
        self.attributes = attributes
    }

    private static var spaceFields: [WritableKeyPath<Space, UInt64>] {
        [
            \.blockSize, \.fragmentSize, \.blocks, \.freeBlocks, \.availableBlocks, \.files,
            \.freeFiles, \.nameLength,
        ]
    }

    private static var wideFields: [WritableKeyPath<Attributes, UInt64>] {
        [\.inode, \.size, \.blocks, \.device, \.special_device]
    }

    private static var narrowFields: [WritableKeyPath<Attributes, UInt32>] {
        [
            \.mode, \.links, \.uid, \.gid, \.block_size, \.mask, \.accessed_nanoseconds,
            \.modified_nanoseconds, \.changed_nanoseconds, \.born_nanoseconds,
        ]
    }

    private static var timeFields: [WritableKeyPath<Attributes, Int64>] {
        [\.accessed_seconds, \.modified_seconds, \.changed_seconds, \.born_seconds]
    }
}

private struct RecordWriter {
    var bytes: [UInt8] = []

    mutating func add<Number: FixedWidthInteger>(_ number: Number) {
        withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
    }
}

private struct RecordReader {
    private(set) var left: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { left = bytes[...] }

    /// The next number; nil at the end.
    mutating func next<Number: FixedWidthInteger>() -> Number? {
        let size = MemoryLayout<Number>.size
        guard left.count >= size else { return nil }
        var number = Number.zero
        withUnsafeMutableBytes(of: &number) { $0.copyBytes(from: left.prefix(size)) }
        left = left.dropFirst(size)
        return Number(littleEndian: number)
    }
}
