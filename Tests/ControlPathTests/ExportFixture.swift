import ControlPath
import Glibc
import TestSupport

/// A machine of files: the tables of an NFS server below a folder, and an exportfs(8) that does to
/// them what the real one would. It does not look at /etc/exports, as the real one with `-i`.
struct ExportFixture {
    let space: TemporaryFolder
    let files: SystemFiles
    let mountpoint = "/srv/my vms"

    init() throws {
        space = try TemporaryFolder("exports")
        for folder in ["etc", "var", "var/lib", "var/lib/nfs", "proc", "proc/fs", "proc/fs/nfsd"] {
            _ = try space.makeFolder(folder)
        }
        files = SystemFiles(root: space.path)
        try Files.write(files.exports, "")
        try Files.write(files.activeExports, "")
        try Files.write(space.path("proc/fs/nfsd/threads"), "64\n")
        try Files.write(space.path("exportfs"), Array(Self.program.utf8), mode: 0o755)
    }

    /// Hosts named in the file `refused` fail, those in `ignored` are not entered, with status 0:
    /// so the real one treats names that do not resolve.
    private static let program = """
        #!/bin/sh
        cd "$(dirname "$0")"
        echo "$*" >>calls
        [ "$1" = -f ] && exit 0
        for target; do :; done
        host=${target%%:/*}
        path=$(printf '/%s' "${target#*:/}" | sed 's/ /\\\\040/g')
        case "$host" in '['*) host=$(echo "$host" | tr -d '[]') ;; esac
        if grep -qsxF "$host" refused; then echo "exportfs: $host is refused" >&2; exit 1; fi
        if grep -qsxF "$host" ignored; then exit 0; fi
        etab=var/lib/nfs/etab
        line=$(printf '%s\\t%s(' "$path" "$host")
        if [ "$1" = -u ] && ! grep -qF "$line" $etab; then echo "Could not find" >&2; exit 1; fi
        grep -vF "$line" $etab >etab.new
        [ "$1" = -u ] || printf '%s%s)\\n' "$line" "$3" >>etab.new
        mv etab.new $etab
        """

    /// What the fake exportfs was asked for, a line each.
    var calls: [String] {
        ((try? Files.text(space.path("calls"))) ?? "").split(separator: "\n").map(String.init)
    }

    /// The lines of the table of what is exported.
    var active: [String] {
        ((try? Files.text(files.activeExports)) ?? "").split(separator: "\n").map(String.init)
    }

    func exporter(
        table: String = "9 1 0:40 / /srv/my\\040vms rw - fuse.forebay /mnt/nas rw",
        hasProgram: Bool = true
    ) -> Exporter {
        Exporter(
            files: files, table: MountTable(parsing: table),
            program: hasProgram ? ExternalProgram(path: space.path("exportfs")) : nil)
    }

    func export(name: String = "vms", isReadOnly: Bool = false) -> DatastoreExport {
        DatastoreExport(
            name: name, mountpoint: mountpoint, backing: "/mnt/nas", isReadOnly: isReadOnly)
    }
}
