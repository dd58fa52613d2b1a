import CLinux
import Glibc
import Passthrough
import Syscalls

// getxattr, listxattr, setxattr, removexattr of the datastore's own attributes. The calls take a
// path: the one in /proc leads to the very file that is open, also to a symbolic link itself.
extension Datastore {
    /// The length of the value, which is copied to `buffer`; an empty buffer asks for the length
    /// alone. ERANGE when the buffer is too small. The corresponding C function is `getxattr`.
    package func getXattr(
        _ node: NodeID, name: Name, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        // The kernel asks for it before nearly every write of knfsd's, and no NFS has it.
        if backing.isNetwork, strcmp(name, "security.capability") == 0 { throw .noData }
        return try withPath(node) { (path) in
            buffer.count == 0
                ? CLinux_getxattr(path, name, nil, 0)
                : CLinux_getxattr(path, name, buffer.baseAddress, buffer.count)
        }
    }

    /// The names, each ended by NUL; as for `getXattr`. The corresponding C function is
    /// `listxattr`.
    package func listXattr(
        _ node: NodeID, into buffer: UnsafeMutableRawBufferPointer
    ) throws(Errno) -> Int {
        try withPath(node) { (path) in
            buffer.count == 0
                ? CLinux_listxattr(path, nil, 0)
                : CLinux_listxattr(
                    path, buffer.assumingMemoryBound(to: CChar.self).baseAddress,
                    buffer.count)
        }
    }

    /// Sets a value. The corresponding C function is `setxattr`.
    package func setXattr(
        _ node: NodeID, name: Name, value: UnsafeRawBufferPointer, flags: Int32
    ) throws(Errno) {
        try beginMutation()
        try withPath(node) { (path) in
            Int(CLinux_setxattr(path, name, value.baseAddress, value.count, flags))
        }
        touch(try inode(node))
    }

    /// Removes an attribute. The corresponding C function is `removexattr`.
    package func removeXattr(_ node: NodeID, name: Name) throws(Errno) {
        try beginMutation()
        try withPath(node) { (path) in Int(CLinux_removexattr(path, name)) }
        touch(try inode(node))
    }

    @discardableResult
    private func withPath(
        _ node: NodeID, _ body: (UnsafePointer<CChar>) -> Int
    ) throws(Errno) -> Int {
        guard WaitMode.mayWait else { throw .mustWait }
        let file = try file(try inode(node), .path)
        let path = "/proc/self/fd/\(file.descriptor)".utf8CString
        return try backing.ask(.other) { () throws(Errno) in
            try path.withUnsafeBufferPointer { (path) throws(Errno) in
                guard let start = path.baseAddress else { throw .invalid }
                return try call { body(start) }
            }
        }
    }
}
