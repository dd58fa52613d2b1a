import CFuse
import DataPath
import Passthrough
import Syscalls

extension Operations {
    /// Operations on names in directories.
    static func addNames(to table: inout fuse_lowlevel_ops) {
        addLookups(to: &table)
        addCreations(to: &table)
        addRemovals(to: &table)
    }

    private static func addLookups(to table: inout fuse_lowlevel_ops) {
        // A name that does not exist is an error, never an entry without inode: the kernel would
        // remember the absence and miss what another host creates on the datastore.
        table.lookup = { request, parent, name in
            answer(request) { (request) throws(Errno) in
                .entry(
                    try request.datastore.lookup(
                        parent: NodeID(parent), name: try name.required))
            }
        }
        table.forget = { request, node, count in
            answer(request) { (request) throws(Errno) in
                request.datastore.forget(NodeID(node), count: count)
                return .nothing
            }
        }
        table.forget_multi = { request, count, nodes in
            answer(request) { (request) throws(Errno) in
                for one in UnsafeBufferPointer(start: nodes, count: count) {
                    request.datastore.forget(NodeID(one.ino), count: one.nlookup)
                }
                return .nothing
            }
        }
        table.readlink = { request, node in
            answer(request) { (request) throws(Errno) in
                let target = UnsafeMutableRawBufferPointer.allocate(
                    byteCount: Operations.pathLength, alignment: 1)
                defer { target.deallocate() }
                let length = try request.datastore.readLink(NodeID(node), into: target)
                return request.send(UnsafeRawBufferPointer(rebasing: target.prefix(length)))
            }
        }
    }

    private static func addCreations(to table: inout fuse_lowlevel_ops) {
        table.mknod = { request, parent, name, mode, device in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(parent), try name.required)
                return .entry(
                    try request.makeOnce(at: place) { (datastore, _) throws(Errno) in
                        try datastore.makeNode(
                            parent: place.parent, name: place.name, mode: mode,
                            device: UInt64(device),
                            caller: request.caller)
                    })
            }
        }
        table.mkdir = { request, parent, name, mode in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(parent), try name.required)
                return .entry(
                    try request.makeOnce(at: place) { (datastore, _) throws(Errno) in
                        try datastore.makeDirectory(
                            parent: place.parent, name: place.name, mode: mode,
                            caller: request.caller)
                    })
            }
        }
        table.symlink = { request, target, parent, name in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(parent), try name.required)
                let target = try target.required
                return .entry(
                    try request.makeOnce(at: place) { (datastore, _) throws(Errno) in
                        try datastore.makeSymlink(
                            parent: place.parent, name: place.name, target: target,
                            caller: request.caller)
                    })
            }
        }
        table.link = { request, node, newParent, newName in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(newParent), try newName.required)
                return .entry(try request.linkOnce(NodeID(node), at: place))
            }
        }
    }

    private static func addRemovals(to table: inout fuse_lowlevel_ops) {
        table.unlink = { request, parent, name in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(parent), try name.required)
                try request.removeOnce(at: place) { (datastore) throws(Errno) in
                    try datastore.unlink(parent: place.parent, name: place.name)
                }
                return .done
            }
        }
        table.rmdir = { request, parent, name in
            answer(request) { (request) throws(Errno) in
                let place = Place(NodeID(parent), try name.required)
                try request.removeOnce(at: place) { (datastore) throws(Errno) in
                    try datastore.removeDirectory(parent: place.parent, name: place.name)
                }
                return .done
            }
        }
        table.rename = { request, parent, name, newParent, newName, flags in
            answer(request) { (request) throws(Errno) in
                try request.renameOnce(
                    from: Place(NodeID(parent), try name.required),
                    to: Place(NodeID(newParent), try newName.required), flags: flags)
                return .done
            }
        }
    }

    /// Bytes of the longest target of a symbolic link (PATH_MAX).
    private static let pathLength = 4096
}
