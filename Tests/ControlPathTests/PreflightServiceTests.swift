import ControlPath
import Glibc
import Policy
import TestSupport
import Testing

/// Exports, the NFS server, what is there after a restart: on a machine of files.
@Suite struct PreflightServiceTests {
    private let space: TemporaryFolder
    private let files: SystemFiles
    private let good = "rw,sync,no_root_squash,no_subtree_check,mountpoint,fsid=7"

    init() throws {
        space = try TemporaryFolder("preflight")
        for folder in [
            "etc", "etc/exports.d", "etc/nfs.conf.d", "etc/forebay", "etc/systemd",
            "etc/systemd/system", "etc/systemd/system/multi-user.target.wants", "var", "var/lib",
            "var/lib/nfs", "proc", "proc/fs", "proc/fs/nfsd",
        ] {
            _ = try space.makeFolder(folder)
        }
        files = SystemFiles(root: space.path)
    }

    private func write(_ path: String, _ text: String) throws {
        try Files.write(space.path(path), text + "\n")
    }

    private func checks(backing: String = "") -> [PreflightCheck] {
        let options = MountOptions(
            backing: "/mnt/nas", mountpoint: "/srv/vms", name: "vms", state: "/nowhere",
            ram: 16 << 20)
        let table = """
            1 0 8:1 / / rw - ext4 /dev/sda1 rw
            8 1 0:39 / /mnt/nas rw - nfs4 filer:/vms rw,vers=4.2,hard\(backing)
            """
        let preflight = Preflight(options: options, table: MountTable(parsing: table), files: files)
        return preflight.services() + preflight.backingMount()
    }

    private func check(_ name: String, backing: String = "") throws -> PreflightCheck {
        let checks = checks(backing: backing)
        let check = try #require(checks.first { $0.name == name }, "\(name)")
        #expect(check.result == .pass || !check.mend.isEmpty, "\(name)")
        return check
    }

    private func isWarned(_ name: String, backing: String = "") throws -> Bool {
        try check(name, backing: backing).result == .warn
    }

    @Test func whatIsNotExportedYetPasses() throws {
        #expect(try !isWarned("export"))
        #expect(!checks().contains { $0.name == "export-sync" })
    }

    @Test(arguments: [
        ("export-sync", "rw,async,no_root_squash,mountpoint,fsid=7"),
        ("export-root", "rw,sync,mountpoint,fsid=7"),
        ("export-root", "rw,sync,no_root_squash,all_squash,mountpoint,fsid=7"),
        ("export-subtree", "rw,sync,no_root_squash,subtree_check,mountpoint,fsid=7"),
        ("export-mountpoint", "rw,sync,no_root_squash,fsid=7"),
        ("export-fsid", "rw,sync,no_root_squash,mountpoint"),
    ])
    func optionsOfTheExport(name: String, options: String) throws {
        let names = [
            "export-sync", "export-root", "export-subtree", "export-mountpoint", "export-fsid",
            "export-clients",
        ]
        try write("etc/exports", "/other *(rw,async)\n/srv/vms 10.0.0.1(\(good))")
        for each in names { #expect(try !isWarned(each), "\(each)") }
        try write("etc/exports", "/srv/vms 10.0.0.1(\(options))")
        for each in names { #expect(try isWarned(each) == (each == name), "\(each)") }
        #expect(try check(name).reason.contains("/etc/exports line 1"))
        // The table of what is exported now counts as well, and the command mends it.
        try write("etc/exports", "")
        try write("var/lib/nfs/etab", "/srv/vms\t10.0.0.1(\(options))")
        #expect(try check(name).mend == "forebay export /srv/vms --to 10.0.0.1")
    }

    @Test func clientsIdentitiesAndNeighbours() throws {
        try write("etc/exports.d/forebay-vms.exports", "/srv/vms 10.0.0.1(\(good))")
        #expect(try !isWarned("export-neighbours"))
        try write("var/lib/nfs/etab", "/srv/vms\t*(\(good)8)")
        #expect(try isWarned("export-clients"))
        #expect(try isWarned("export-fsid"))
        try write("etc/exports", "/srv *(ro)")
        #expect(try isWarned("export-neighbours"))
        try write("etc/exports", "/mnt/nas *(rw)")
        #expect(try check("export-neighbours").reason.contains("two ways"))
    }

    @Test func threadsOfTheServer() throws {
        #expect(try check("nfs-threads").mend.contains("nfs-kernel-server"))
        try write("proc/fs/nfsd/threads", "8")
        #expect(try check("nfs-threads").mend.contains("echo 64"))
        try write("proc/fs/nfsd/threads", "64")
        #expect(try check("nfs-threads").reason.contains("8 after its next start"))
        try write("etc/nfs.conf", "# threads=1\n[nfsd]\nthreads = 16 # few\n[mountd]\nthreads=99")
        #expect(try check("nfs-threads").reason.contains("16 after"))
        try write("etc/nfs.conf.d/local.conf", "[nfsd]\nthreads=128")
        #expect(try !isWarned("nfs-threads"))
    }

    @Test(arguments: [
        ("-2 +3 +4 +4.1 +4.2", true), ("-2 +3 -4 -4.1 -4.2", false), ("-2 -3 +4 -4.0 +4.1", false),
        ("-2 -3 +4 +4.0", false), ("-2 -3 -4", true),
    ])
    func versionsOfTheServer(text: String, isWarned: Bool) throws {
        try write("proc/fs/nfsd/versions", text)
        #expect(try self.isWarned("nfs-versions") == isWarned)
    }

    @Test func versionsAfterTheNextStart() throws {
        #expect(try isWarned("nfs-versions"))
        try write("etc/nfs.conf", "[nfsd]\nvers4=n")
        #expect(try check("nfs-versions").reason.contains("version 3 only"))
        #expect(try !isWarned("nfs-grace"))
        try write("etc/nfs.conf", "[nfsd]\nvers3 = off")
        #expect(try check("nfs-versions").reason.contains("4.1 and later only"))
        #expect(try isWarned("nfs-grace"))
        try write("etc/nfs.conf", "[nfsd]\nvers3=no\ngrace-time=10")
        #expect(try !isWarned("nfs-grace"))
        try write("proc/fs/nfsd/nfsv4gracetime", "90")
        #expect(try isWarned("nfs-grace"))
    }

    @Test func mountsAfterTheNextStart() throws {
        #expect(try check("backing-boot").mend.contains("filer:/vms /mnt/nas nfs"))
        try write("etc/fstab", "#\n filer:/vms\t/mnt/nas  nfs  hard,noauto 0 0")
        #expect(try check("backing-boot").reason.contains("noauto"))
        try write("etc/fstab", "filer:/vms /mnt/nas nfs hard 0 0")
        #expect(try check("backing-boot").mend.contains("_netdev"))
        try write("etc/fstab", "filer:/vms /mnt/nas nfs hard,_netdev 0 0")
        #expect(try !isWarned("backing-boot"))
        #expect(try check("mount-boot").mend.contains("forebay@vms.service"))
        try write("etc/fstab", "/mnt/nas /srv/vms forebay ram=1G 0 0")
        #expect(try check("mount-boot").mend.contains("_netdev"))
        try write("etc/fstab", "/mnt/nas /srv/vms forebay ram=1G,_netdev 0 0")
        #expect(try !isWarned("mount-boot"))
        #expect(try isWarned("backing-boot"))
        unlink(files.fileSystems)
        symlink(
            "/nowhere",
            space.path("etc/systemd/system/multi-user.target.wants/forebay@vms.service"))
        #expect(try !isWarned("mount-boot"))
        try write("etc/systemd/system/mnt-nas.mount", "[Mount]")
        #expect(try !isWarned("backing-boot"))
    }

    @Test func alertsAreSetUp() throws {
        #expect(try isWarned("alerts"))
        try write("etc/forebay/alerts.toml", "[mail]")
        #expect(try !isWarned("alerts"))
    }

    @Test(arguments: [
        (",nconnect=4", "", ""), ("", "backing-connections", "nconnect=4"),
        (",soft", "backing-options", "hard"), (",proto=udp", "backing-options", "tcp"),
        (",noac", "backing-options", "without"), (",fsc", "backing-options", "fsc"),
        (",lookupcache=none", "backing-options", "lookupcache"),
        (",rsize=65536", "backing-options", "rsize"), (",rsize=1048576,nconnect=2", "", ""),
    ])
    func optionsOfTheBackingMount(options: String, name: String, mend: String) throws {
        for each in ["backing-options", "backing-connections"] where name.isEmpty {
            #expect(try !isWarned(each, backing: options))
        }
        guard !name.isEmpty else { return }
        let check = try check(name, backing: options)
        #expect(check.result == .warn && check.mend.contains(mend))
    }
}
