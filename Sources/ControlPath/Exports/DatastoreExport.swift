/// What `forebay export` makes of a mount: everything but the clients.
package struct DatastoreExport: Sendable {
    /// The name of the mount.
    package let name: String
    package let mountpoint: String
    package let backing: String
    /// True for a mount with the option `ro`.
    package let isReadOnly: Bool

    package init(name: String, mountpoint: String, backing: String, isReadOnly: Bool) {
        self.name = name
        self.mountpoint = mountpoint
        self.backing = backing
        self.isReadOnly = isReadOnly
    }

    /// The `fsid=` of the export, the same for ever.
    package var identity: String { ExportIdentity.uuid(name: name) }

    /// The options of exports(5), in the order in which they are written.
    package var options: [String] {
        [
            isReadOnly ? "ro" : "rw", "sync", "no_root_squash", "no_subtree_check", "mountpoint",
            "fsid=\(identity)",
        ]
    }

    /// The file for /etc/exports.d: a line for each client.
    package func text(clients: [ExportClient]) -> String {
        let path = ExportTable.escape(mountpoint)
        let list = options.joined(separator: ",")
        let lines = clients.map { "\(path) \($0.text)(\(list))\n" }
        return "# Made by 'forebay export'; 'forebay unexport' removes it.\n" + lines.joined()
    }

    /// True when the entry exports the mount as it is meant.
    func isMet(by entry: ExportTable.Entry) -> Bool {
        entry.path == mountpoint && entry.identity == identity && entry.isWritable != isReadOnly
            && entry.has("sync") && entry.has("no_root_squash") && entry.has("no_subtree_check")
            && entry.needsMount
    }
}
