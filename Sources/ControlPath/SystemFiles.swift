/// Files of the NFS server and of the machine's configuration; below another root in tests.
package struct SystemFiles: Sendable {
    private let root: String

    package init(root: String = "") { self.root = root }

    /// The exports that the administrator wrote (exports(5)).
    package var exports: String { "\(root)/etc/exports" }
    /// More of them, one file for each program that has some.
    package var exportsFolder: String { "\(root)/etc/exports.d" }
    /// What is exported now (exportfs(8)).
    package var activeExports: String { "\(root)/var/lib/nfs/etab" }
    /// The settings of the NFS server (nfs.conf(5)).
    package var serverConfiguration: String { "\(root)/etc/nfs.conf" }
    /// Files that add to them.
    package var serverConfigurationFolder: String { "\(root)/etc/nfs.conf.d" }
    /// The NFS server's own file system (nfsd(7)).
    package var nfsServer: String { "\(root)/proc/fs/nfsd" }
    /// The NFS server's questions whose a handle is, and their answers (exports(5) tells nothing of
    /// it; rpc.mountd(8) gives them).
    package var serverHandles: String { "\(root)/proc/net/rpc/nfsd.fh" }
    /// What is mounted at boot (fstab(5)).
    package var fileSystems: String { "\(root)/etc/fstab" }
    /// Links of the units that start at boot, below a folder for each target.
    package var enabledUnits: String { "\(root)/etc/systemd/system" }

    /// The file that exports the mount of this name.
    package func exports(of name: String) -> String {
        "\(exportsFolder)/forebay-\(name).exports"
    }

    /// Any other file, by its path on the machine.
    package func place(_ path: String) -> String { root + path }

    /// The path as it is without the other root, for messages.
    package func shown(_ path: String) -> String { String(path.dropFirst(root.count)) }

    /// Threads of the NFS server that run; 0 when there is none.
    package var serverThreads: Int {
        TextFile.word("\(nfsServer)/threads").flatMap { Int($0) } ?? 0
    }
}
