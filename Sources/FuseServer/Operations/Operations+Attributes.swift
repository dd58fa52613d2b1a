import CFuse
import DataPath
import Passthrough
import Syscalls

extension Operations {
    /// Operations on the attributes of files and of the file system.
    static func addAttributes(to table: inout fuse_lowlevel_ops) {
        table.getattr = { request, node, _ in
            answer(request) { (request) throws(Errno) in
                .attributes(try request.datastore.attributes(NodeID(node)))
            }
        }
        table.setattr = { request, node, status, wanted, _ in
            answer(request) { (request) throws(Errno) in
                guard let status else { throw .invalid }
                let change = AttributeChange(status.pointee, wanted: wanted)
                return .attributes(try request.datastore.setAttributes(NodeID(node), change))
            }
        }
        table.statfs = { request, _ in
            answer(request) { (request) throws(Errno) in
                .fileSystem(try request.datastore.fileSystem())
            }
        }
    }
}
