import CLinux
import Glibc
import Syscalls

/// What the datastore itself calls a file (name_to_handle_at(2)): it survives renames and
/// restarts, and no later file gets the same one. On a datastore without handles it is derived
/// from the file number and the time of birth.
package struct FileHandle: Hashable, Sendable {
    /// The kernel's type of the handle, or `derivedType`.
    package let type: Int32
    /// At most 128 bytes.
    package let bytes: [UInt8]

    /// Marks handles that this program made up; the kernel's types are not negative.
    package static let derivedType: Int32 = -1

    package init(type: Int32, bytes: [UInt8]) {
        self.type = type
        self.bytes = bytes
    }

    /// True when the kernel cannot open it: only a path leads to the file.
    package var isDerived: Bool { type == Self.derivedType }

    /// The handle of an open file, and the id of the mount that it is on.
    package static func of(
        descriptor: Int32
    ) throws(Errno) -> (handle: FileHandle, mount: Int32) {
        var mount: Int32 = 0
        var type: Int32 = 0
        var code: Errno?
        let bytes = [UInt8](unsafeUninitializedCapacity: 128) { buffer, count in
            var length: UInt32 = 0
            do throws(Errno) {
                try call {
                    CLinux_name_to_handle(
                        descriptor, "", CLinux_AT_EMPTY_PATH, buffer.baseAddress, &length, &type,
                        &mount)
                }
                count = Int(min(length, 128))
            } catch {
                code = error
                count = 0
            }
        }
        if let code { throw code }
        return (FileHandle(type: type, bytes: bytes), mount)
    }

    /// Type and bytes in one list, as the journal keeps them.
    package var encoded: [UInt8] {
        var encoded: [UInt8] = []
        encoded.reserveCapacity(4 + bytes.count)
        for shift in stride(from: 0, to: 32, by: 8) {
            encoded.append(UInt8(truncatingIfNeeded: UInt32(bitPattern: type) >> UInt32(shift)))
        }
        return encoded + bytes
    }

    /// The handle of such a list. Throws EINVAL when it is too short to be one.
    package init(encoded: [UInt8]) throws(Errno) {
        guard encoded.count > 4 else { throw .invalid }
        let type = encoded[..<4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        self.init(type: Int32(bitPattern: type), bytes: Array(encoded[4...]))
    }

    /// A handle from what statx(2) tells, for datastores that have none of their own.
    package static func derived(from attributes: Attributes) -> FileHandle {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24)
        append(attributes.inode, to: &bytes)
        append(UInt64(bitPattern: attributes.born_seconds), to: &bytes)
        append(UInt64(attributes.born_nanoseconds), to: &bytes)
        return FileHandle(type: derivedType, bytes: bytes)
    }

    private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        for shift in stride(from: 0, to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
        }
    }

    /// The node id that follows from the handle: a 64-bit hash, the same in every process.
    /// `salt` gives another one when two handles meet on the same. Never 0 or the root's.
    package func nodeID(salt: UInt64 = 0) -> NodeID {
        // FNV-1a, then the finisher of MurmurHash3, so that handles differing in one byte spread.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325 &+ salt &* 0x9e37_79b9_7f4a_7c15
        for byte in bytes {
            hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
        }
        hash = (hash ^ UInt64(UInt32(bitPattern: type))) &* 0x100_0000_01b3
        hash ^= hash >> 33
        hash = hash &* 0xff51_afd7_ed55_8ccd
        hash ^= hash >> 33
        hash = hash &* 0xc4ce_b9fe_1a85_ec53
        hash ^= hash >> 33
        return NodeID(hash < 2 ? hash &+ 2 : hash)
    }
}
