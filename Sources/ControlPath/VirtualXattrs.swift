import DataPath
import Glibc
import Passthrough
import Policy
import Syscalls

/// The extended attributes `user.forebay.*` (docs/xattrs.md): the datastore's numbers, and the
/// policies and orders that can be set through them. All names are registered when this is made;
/// afterwards the table does not change. They are answered by name and never listed.
package final class VirtualXattrs: Sendable {
    /// Every name behind this belongs to Forebay, known or not.
    package static let prefix = "user.forebay."

    private struct Attribute: Sendable {
        var isRootOnly = false
        var read: (@Sendable (NodeID) throws(Errno) -> String)?
        var write: (@Sendable (NodeID, String) throws(Errno) -> Void)?
        /// Removing means to set this value; nil: cannot be removed.
        var removal: String?
    }

    private let datastore: any ControlledDatastore
    private let facts: ServerFacts
    private let attributes: [String: Attribute]

    package init(datastore: any ControlledDatastore, facts: ServerFacts) {
        self.datastore = datastore
        self.facts = facts
        var table: [String: Attribute] = [:]
        Self.register(statisticsOf: datastore, facts, in: &table)
        Self.register(policiesOf: datastore, in: &table)
        Self.register(ordersTo: datastore, in: &table)
        attributes = table
    }

    /// True for a name that begins with `prefix`: the datastore is not asked for it. Allocates
    /// nothing.
    package static func isReserved(_ name: Name) -> Bool {
        strncmp(name, "user.forebay.", 13) == 0
    }

    /// All names with the prefix, sorted; for tests and documentation.
    package var names: [String] { attributes.keys.map { Self.prefix + $0 }.sorted() }

    // MARK: - Requests

    /// The value of an attribute. Throws ENODATA for names that there are not, not here or not
    /// for reading; mustWait when the numbers need the datastore and the thread may not wait.
    package func get(node: NodeID, name: Name) throws(Errno) -> [UInt8] {
        guard let attribute = find(name), let read = attribute.read,
            !attribute.isRootOnly || datastore.isRoot(node)
        else { throw .noData }
        return Array(try read(node).utf8)
    }

    /// Sets an attribute. Throws EPERM for a caller other than root, for a number and on the wrong
    /// node; EOPNOTSUPP for names that there are not; EINVAL for a bad value. One line feed or NUL
    /// at the value's end does not count.
    package func set(
        node: NodeID, name: Name, value: UnsafeRawBufferPointer, uid: UInt32
    ) throws(Errno) {
        guard uid == 0 else { throw .notPermitted }
        guard let attribute = find(name) else { throw .notSupported }
        guard let write = attribute.write else { throw .notPermitted }
        // Every value is a short word; what is longer is not read.
        guard value.count <= 64 else { throw .invalid }
        var bytes = value[...]
        if let last = bytes.last, last == 10 || last == 0 { bytes.removeLast() }
        try write(node, String(decoding: bytes, as: UTF8.self))
    }

    /// Removes an attribute: a policy is inherited again. Throws EPERM for a caller other than
    /// root and for what cannot be removed, ENODATA for names that there are not.
    package func remove(node: NodeID, name: Name, uid: UInt32) throws(Errno) {
        guard uid == 0 else { throw .notPermitted }
        guard let attribute = find(name) else { throw .noData }
        guard let write = attribute.write, let value = attribute.removal else {
            throw .notPermitted
        }
        try write(node, value)
    }

    private func find(_ name: Name) -> Attribute? {
        guard Self.isReserved(name) else { return nil }
        return attributes[String(cString: name + 13)]
    }

    // MARK: - The table

    private static func register(
        statisticsOf datastore: any ControlledDatastore, _ facts: ServerFacts,
        in table: inout [String: Attribute]
    ) {
        for statistic in Statistic.all {
            table[statistic.name] = Attribute(
                isRootOnly: statistic.isRootOnly,
                read: { node throws(Errno) in
                    let snapshot = try snapshot(
                        of: node, in: datastore, facts, isWhole: statistic.isRootOnly)
                    return statistic.value(snapshot).plain
                })
        }
        table["stats"] = Attribute(read: { node throws(Errno) in
            var writer = JSONWriter()
            let isRoot = datastore.isRoot(node)
            let snapshot = try snapshot(of: node, in: datastore, facts, isWhole: isRoot)
            writer.add(snapshot, isRoot: isRoot)
            return writer.finish()
        })
    }

    /// The numbers of a node. The report of the whole datastore looks at all that is cached: it is
    /// left empty unless it is told.
    private static func snapshot(
        of node: NodeID, in datastore: any ControlledDatastore, _ facts: ServerFacts, isWhole: Bool
    ) throws(Errno) -> Snapshot {
        Snapshot(
            statistics: try datastore.statistics(of: node),
            datastore: isWhole ? datastore.report() : DatastoreReport(), facts: facts)
    }

    private static func register(
        policiesOf datastore: any ControlledDatastore, in table: inout [String: Attribute]
    ) {
        table["policy"] = Attribute(
            read: { node throws(Errno) in try datastore.writePolicy(of: node).text },
            write: { (node, value) throws(Errno) in
                if value == "inherit" { return try datastore.setWritePolicy(nil, of: node) }
                guard let policy = WritePolicy(text: value) else { throw .invalid }
                try datastore.setWritePolicy(policy, of: node)
            }, removal: "inherit")
        table["cache"] = Attribute(
            read: { node throws(Errno) in try datastore.readPolicy(of: node).text },
            write: { (node, value) throws(Errno) in
                if value == "inherit" { return try datastore.setReadPolicy(nil, of: node) }
                guard let policy = ReadPolicy(text: value) else { throw .invalid }
                try datastore.setReadPolicy(policy, of: node)
            }, removal: "inherit")
    }

    private static func register(
        ordersTo datastore: any ControlledDatastore, in table: inout [String: Attribute]
    ) {
        table["flush"] = Attribute(write: { (node, value) throws(Errno) in
            guard value == "1" else { throw .invalid }
            try datastore.startFlush(node)
        })
        table["drop"] = Attribute(write: { (node, value) throws(Errno) in
            guard value == "1" else { throw .invalid }
            try datastore.drop(node)
        })
    }
}
