import CFuse
import ControlPath
import DataPath
import Glibc
import Passthrough
import Policy
import Syscalls

extension Operations {
    /// Operations on extended attributes. Names below `user.forebay.` are the product's own and
    /// never reach the datastore; they are not listed, so that copies do not carry them along.
    static func addExtendedAttributes(to table: inout fuse_lowlevel_ops) {
        table.setxattr = { request, node, name, value, size, flags in
            answer(request) { (request) throws(Errno) in
                try request.setXattrOnce(
                    NodeID(node), try name.required,
                    UnsafeRawBufferPointer(start: value, count: size), flags)
                return .done
            }
        }
        table.getxattr = { request, node, name, size in
            answer(request) { (request) throws(Errno) in
                try request.sendXattr(NodeID(node), try name.required, room: size)
            }
        }
        table.listxattr = { request, node, size in
            answer(request) { (request) throws(Errno) in
                try request.sendFilled(room: size) { (datastore, bytes) throws(Errno) in
                    try datastore.listXattr(NodeID(node), into: bytes)
                }
            }
        }
        table.removexattr = { request, node, name in
            answer(request) { (request) throws(Errno) in
                try request.removeXattrOnce(NodeID(node), try name.required)
                return .done
            }
        }
    }
}

extension Request {
    /// The product's own attributes.
    private var virtualXattrs: VirtualXattrs {
        get throws(Errno) {
            guard let xattrs = Operations.virtualXattrs else { throw .noData }
            return xattrs
        }
    }

    fileprivate func setXattrOnce(
        _ node: NodeID, _ name: Name, _ value: UnsafeRawBufferPointer, _ flags: Int32
    ) throws(Errno) {
        if VirtualXattrs.isReserved(name) {
            return try virtualXattrs.set(
                node: node, name: name, value: value, uid: caller.uid)
        }
        try refuseAccessList(name)
        // Only "create" can find its own work done; the rest may run twice.
        guard flags & xattrCreate != 0, try wasAbsent(node, name) else {
            return try datastore.setXattr(node, name: name, value: value, flags: flags)
        }
        try datastore.setXattr(node, name: name, value: value, flags: flags & ~xattrCreate)
    }

    fileprivate func removeXattrOnce(_ node: NodeID, _ name: Name) throws(Errno) {
        if VirtualXattrs.isReserved(name) {
            return try virtualXattrs.remove(node: node, name: name, uid: caller.uid)
        }
        try refuseAccessList(name)
        let (before, isRepeat) = try preimage { () throws(Errno) in
            (try hasXattr(node, name) ? 1 : 0, 0)
        }
        do throws(Errno) {
            try datastore.removeXattr(node, name: name)
        } catch .noData where isRepeat && before.source != 0 {}
    }

    /// Whether this is a repeat of a request that found no such attribute at its first attempt.
    private func wasAbsent(_ node: NodeID, _ name: Name) throws(Errno) -> Bool {
        let (before, isRepeat) = try preimage { () throws(Errno) in
            (try hasXattr(node, name) ? 1 : 0, 0)
        }
        return isRepeat && before.source == 0
    }

    private func hasXattr(_ node: NodeID, _ name: Name) throws(Errno) -> Bool {
        let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        do throws(Errno) {
            _ = try datastore.getXattr(node, name: name, into: none)
            return true
        } catch .noData {
            return false
        }
    }

    fileprivate func sendXattr(_ node: NodeID, _ name: Name, room: Int) throws(Errno) -> Answer {
        if VirtualXattrs.isReserved(name) {
            let value = try virtualXattrs.get(node: node, name: name)
            guard room > 0 else { return .size(value.count) }
            guard value.count <= room else { throw .range }
            return value.withUnsafeBytes { send($0) }
        }
        try refuseAccessList(name)
        return try sendFilled(room: room) { (datastore, bytes) throws(Errno) in
            try datastore.getXattr(node, name: name, into: bytes)
        }
    }

    /// Sends what `fill` writes into `room` bytes; without room, only the size that is needed.
    fileprivate func sendFilled(
        room: Int,
        _ fill: (Datastore, UnsafeMutableRawBufferPointer) throws(Errno) -> Int
    ) throws(Errno) -> Answer {
        guard room > 0 else {
            return .size(try fill(datastore, UnsafeMutableRawBufferPointer(start: nil, count: 0)))
        }
        let bytes = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(room, Limits.attributeSize), alignment: 1)
        defer { bytes.deallocate() }
        let length = try fill(datastore, bytes)
        guard length <= bytes.count else { throw .range }
        return send(UnsafeRawBufferPointer(rebasing: bytes.prefix(length)))
    }

    /// Access control lists are not offered: the kernel checks permissions by the mode alone, so
    /// a list would look as if it counted.
    private func refuseAccessList(_ name: Name) throws(Errno) {
        if strncmp(name, "system.posix_acl_", 17) == 0 { throw .notSupported }
    }
}

/// setxattr(2): fail when the attribute exists. An enumeration in C, so it has no stable type.
private let xattrCreate = Int32(1)
