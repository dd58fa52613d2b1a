import CLinux
import Glibc
import Policy
import Syscalls

/// The folder of the datastore, and how its files are opened.
package final class Backing: Sendable {
    package let root: BackingFile
    package let rootHandle: FileHandle
    /// False when only paths lead to the files of this datastore.
    package let hasHandles: Bool
    /// True when another machine holds the data: writes are then durable only after an fsync, and
    /// times of a write are set when it arrives there.
    package let isNetwork: Bool
    /// True on a file system of this machine, where a call takes as long as its device does.
    package let isLocal: Bool
    package let isReadOnly: Bool
    package let health: Health
    /// The id of the mount that the folder is on; another one below it is refused.
    private let mount: Int32

    /// Opens the folder. Throws what open(2) or statx(2) answers.
    package convenience init(path: String) throws(Errno) {
        let folder = try Descriptor(path: path, flags: O_RDONLY | O_DIRECTORY)
        try self.init(root: folder.release(), record: nil)
    }

    /// Takes over the open folder `root`, which is closed with the object. What an earlier server
    /// learnt of it is in `record`; without one the datastore is asked, which may wait for ever.
    package init(root descriptor: Int32, record: BackingRecord?) throws(Errno) {
        root = BackingFile(owning: descriptor, access: .read)
        let known: BackingRecord
        if let record { known = record } else { known = try Self.learn(descriptor) }
        rootHandle = known.rootHandle
        hasHandles = known.hasHandles
        isNetwork = known.isNetwork
        isLocal = known.isLocal
        isReadOnly = known.isReadOnly
        mount = known.mount
        health = Health(past: known.health)
    }

    private static func learn(_ root: Int32) throws(Errno) -> BackingRecord {
        var attributes = Attributes()
        try call { CLinux_statx(root, "", CLinux_AT_EMPTY_PATH, &attributes) }
        let named = try? FileHandle.of(descriptor: root)
        var usable = false
        if let named {
            // Some file systems give handles out and cannot open them again.
            let again = CLinux_open_by_handle(
                root, named.handle.bytes, UInt32(named.handle.bytes.count), named.handle.type,
                CLinux_O_PATH | O_CLOEXEC)
            usable = again >= 0
            if again >= 0 { close(again) }
        }
        let derived = FileHandle.derived(from: attributes)
        var type: UInt64 = 0
        var mountFlags: UInt64 = 0
        try call { CLinux_file_system(root, &type, &mountFlags) }
        return BackingRecord(
            rootHandle: usable ? named?.handle ?? derived : derived, hasHandles: usable,
            isNetwork: networkTypes.contains(type), isLocal: localTypes.contains(type),
            isReadOnly: mountFlags & UInt64(ST_RDONLY) != 0, mount: named?.mount ?? 0)
    }

    /// What a successor needs to begin without asking; attributes and sizes are the caller's.
    package var record: BackingRecord {
        var record = BackingRecord(
            rootHandle: rootHandle, hasHandles: hasHandles, isNetwork: isNetwork,
            isLocal: isLocal, isReadOnly: isReadOnly, mount: mount)
        record.health = health.past
        return record
    }

    /// File system types of statfs(2) whose data is on another machine: NFS, SMB, CIFS, Ceph, 9P.
    private static let networkTypes: Set<UInt64> = [
        0x6969, 0xfe53_4d42, 0xff53_4d42, 0x00c3_6400, 0x0102_1997,
    ]

    /// Those whose data is on a device of this machine or in its memory: ext4, XFS, Btrfs, ZFS,
    /// F2FS, tmpfs. All others, FUSE among them, may be anything.
    private static let localTypes: Set<UInt64> = [
        0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0xf2f5_2010, 0x0102_1994,
    ]

    /// Runs a call on the datastore. On a thread that may not wait it throws `mustWait` instead,
    /// ETIMEDOUT ("try later") when the datastore cannot be asked.
    @inline(__always)
    @discardableResult
    package func ask<Result>(
        _ kind: CallKind = .metadata, _ body: () throws(Errno) -> Result
    ) throws(Errno) -> Result {
        guard WaitMode.mayWait else { throw .mustWait }
        let isCounted = health.isAway ? try health.enterWhileAway() : false
        defer { if isCounted { health.leave() } }
        let mark = health.begin(kind)
        do throws(Errno) {
            let result = try body()
            health.end(mark)
            return result
        } catch {
            health.end(mark, error)
            guard error.meansNoAnswer else { throw error }
            // Silence is better than an error: who waits may be answered from memory meanwhile.
            sleep(milliseconds: Limits.unreachablePause)
            throw .timedOut
        }
    }

    /// Asks the datastore something cheap, to learn whether it answers.
    package func probe() {
        let mark = health.begin()
        var attributes = Attributes()
        do throws(Errno) {
            let flags = CLinux_AT_EMPTY_PATH | CLinux_AT_STATX_FORCE_SYNC
            try call { CLinux_statx(root.descriptor, "", flags, &attributes) }
            health.end(mark)
        } catch {
            health.end(mark, error)
        }
    }

    /// Opens a file by its handle. ESTALE when it is gone.
    package func open(
        _ handle: FileHandle, _ access: Access, type: UInt32, errors: WritebackErrors?
    ) throws(Errno) -> BackingFile {
        let flags = Self.flags(access, type: type)
        let raw = try ask(.other) { () throws(Errno) in
            try call {
                CLinux_open_by_handle(
                    root.descriptor, handle.bytes, UInt32(handle.bytes.count), handle.type, flags)
            }
        }
        return BackingFile(owning: raw, access: access, errors: errors)
    }

    /// The flags of open(2). The client's own flags play no part: O_DIRECT would ask for aligned
    /// memory, O_APPEND would ignore offsets, O_TRUNC came as a change of size.
    package static func flags(_ access: Access, type: UInt32) -> Int32 {
        let common = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
        switch access {
        case .path: return CLinux_O_PATH | O_CLOEXEC | O_NOFOLLOW
        case .read: return (type == S_IFDIR ? O_RDONLY | O_DIRECTORY : O_RDONLY) | common
        case .write: return O_RDWR | common
        }
    }

    /// Finds out what an open file is. EXDEV when it is on a file system mounted below the folder.
    package func identify(
        descriptor: Int32
    ) throws(Errno) -> (handle: FileHandle, attributes: Attributes) {
        try ask(.other) { () throws(Errno) in
            var attributes = Attributes()
            try call { CLinux_statx(descriptor, "", CLinux_AT_EMPTY_PATH, &attributes) }
            guard hasHandles else {
                return (.derived(from: attributes), attributes)
            }
            let (handle, mount) = try FileHandle.of(descriptor: descriptor)
            if mount != self.mount { throw .crossDevice }
            return (handle, attributes)
        }
    }
}
