import CLinux
import Glibc
import Passthrough
import Policy
import Syscalls

package final class Datastore: Sendable {
    package let attributeTimeout: Double = 10
    package init(options: MountOptions, framesDescriptor: Int32?, counters: UnsafeMutablePointer<UInt64>?) throws(Errno) {}
    package func lookup(parent: NodeID, name: Name) throws(Errno) -> Entry { throw .notImplemented }
    package func forget(_ node: NodeID, count: UInt64) {}
    package func attributes(_ node: NodeID) throws(Errno) -> Attributes { throw .notImplemented }
    package func setAttributes(_ node: NodeID, _ change: AttributeChange) throws(Errno) -> Attributes { throw .notImplemented }
    package func readLink(_ node: NodeID, into: UnsafeMutableRawBufferPointer) throws(Errno) -> Int { throw .notImplemented }
    package func makeNode(parent: NodeID, name: Name, mode: UInt32, device: UInt64, caller: Caller) throws(Errno) -> Entry { throw .notImplemented }
    package func makeDirectory(parent: NodeID, name: Name, mode: UInt32, caller: Caller) throws(Errno) -> Entry { throw .notImplemented }
    package func makeSymlink(parent: NodeID, name: Name, target: Name, caller: Caller) throws(Errno) -> Entry { throw .notImplemented }
    package func link(_ node: NodeID, newParent: NodeID, newName: Name) throws(Errno) -> Entry { throw .notImplemented }
    package func unlink(parent: NodeID, name: Name) throws(Errno) { throw .notImplemented }
    package func removeDirectory(parent: NodeID, name: Name) throws(Errno) { throw .notImplemented }
    package func rename(parent: NodeID, name: Name, newParent: NodeID, newName: Name, flags: UInt32) throws(Errno) { throw .notImplemented }
    /// True when the kernel may keep what it has cached of the file.
    package func open(_ node: NodeID, flags: Int32, killSetID: Bool) throws(Errno) -> Bool { throw .notImplemented }
    package func create(parent: NodeID, name: Name, mode: UInt32, flags: Int32, caller: Caller) throws(Errno) -> Entry { throw .notImplemented }
    package func makeTemporary(parent: NodeID, mode: UInt32, flags: Int32, caller: Caller) throws(Errno) -> Entry { throw .notImplemented }
    package func read(_ node: NodeID, offset: UInt64, count: Int, into reply: inout ReadReply) throws(Errno) { throw .notImplemented }
    package func write(_ node: NodeID, bytes: UnsafeRawBufferPointer, offset: UInt64, flags: Int32, killSetID: Bool) throws(Errno) -> Int { throw .notImplemented }
    package func flush(_ node: NodeID) throws(Errno) {}
    package func release(_ node: NodeID, flags: Int32) {}
    package func sync(_ node: NodeID, dataOnly: Bool) throws(Errno) { throw .notImplemented }
    package func openDirectory(_ node: NodeID) throws(Errno) {}
    package func releaseDirectory(_ node: NodeID) {}
    package func syncDirectory(_ node: NodeID) throws(Errno) {}
    package func readDirectory<W: DirectoryWriter>(_ node: NodeID, offset: UInt64, plus: Bool, into writer: inout W) throws(Errno) { throw .notImplemented }
    package func fileSystem() throws(Errno) -> statvfs { throw .notImplemented }
    /// Bytes of the value; an empty buffer asks for the size only.
    package func getXattr(_ node: NodeID, name: Name, into: UnsafeMutableRawBufferPointer) throws(Errno) -> Int { throw .notImplemented }
    package func listXattr(_ node: NodeID, into: UnsafeMutableRawBufferPointer) throws(Errno) -> Int { throw .notImplemented }
    package func setXattr(_ node: NodeID, name: Name, value: UnsafeRawBufferPointer, flags: Int32) throws(Errno) { throw .notImplemented }
    package func removeXattr(_ node: NodeID, name: Name) throws(Errno) { throw .notImplemented }
    package func allocate(_ node: NodeID, mode: Int32, offset: UInt64, length: UInt64) throws(Errno) { throw .notImplemented }
    package func seek(_ node: NodeID, offset: UInt64, whence: Int32) throws(Errno) -> UInt64 { throw .notImplemented }
    package func copyRange(from: NodeID, fromOffset: UInt64, to: NodeID, toOffset: UInt64, count: Int) throws(Errno) -> Int { throw .notImplemented }
    // Transport's monitor
    /// Nanoseconds that a request may wait now.
    package func waitLimit() -> UInt64 { .seconds(60) }
    package func datastoreIsSilent() -> Bool { false }
    /// Receives node ids whose kernel page cache must be dropped; set once, before serving.
    package func onInvalidate(_ body: @escaping @Sendable (NodeID) -> Void) {}
    // ControlPath
    package func statistics(of node: NodeID) throws(Errno) -> StatisticsReport { throw .notImplemented }
    package func report() -> DatastoreReport { DatastoreReport() }
    package func isRoot(_ node: NodeID) -> Bool { node == .root }
    package func readPolicy(of node: NodeID) throws(Errno) -> ReadPolicy { .normal }
    package func setReadPolicy(_ policy: ReadPolicy?, of node: NodeID) throws(Errno) {}
    package func writePolicy(of node: NodeID) throws(Errno) -> WritePolicy { .through }
    package func setWritePolicy(_ policy: WritePolicy?, of node: NodeID) throws(Errno) {}
    package func drop(_ node: NodeID) throws(Errno) {}
    package func flushAll(_ node: NodeID) throws(Errno) {}
    /// The node of a path below the mount, "" or "/" for its root.
    package func resolve(path: String) throws(Errno) -> NodeID { throw .notImplemented }
    /// Stops the background threads, writes the state. The datastore is complete afterwards.
    package func close() {}
}
