import ControlPath
import Glibc
import Policy
import Syscalls
import Testing

@Suite struct PreflightTests {
    private let folder: String

    init() throws {
        folder = "/tmp/forebay-preflight-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        for name in ["", "/backing", "/backing/inside", "/mountpoint", "/run"] {
            try #require(mkdir(folder + name, 0o755) == 0)
        }
    }

    private func cleanUp() {
        let names = [
            "/run/x.lock", "/link", "/backing/file", "/backing/inside", "/backing", "/mountpoint",
            "/run", "",
        ]
        for name in names { remove(folder + name) }
    }

    private func preflight(
        backing: String = "/backing", mountpoint: String = "/mountpoint", table: String = "",
        state: String = "/state"
    ) -> Preflight {
        let options = MountOptions(
            backing: AbsolutePath.resolve(folder + backing),
            mountpoint: AbsolutePath.resolve(folder + mountpoint), name: "x",
            state: folder + state, ram: 16 << 20)
        return Preflight(
            options: options,
            table: MountTable(parsing: table.replacing("FOLDER", with: folder)),
            runFolder: RunFolder(path: folder + "/run"), expectedMounts: [])
    }

    private func failure(_ preflight: Preflight) -> String? {
        preflight.requirements().first { $0.result == .fail }?.name
    }

    @Test func aGoodPairPasses() {
        defer { cleanUp() }
        #expect(failure(preflight()) == nil)
        #expect(preflight().refusal() == nil)
        let all = preflight(table: "1 0 8:1 / / rw - ext4 /dev/sda1 rw").all()
        #expect(all.count >= 18)
        for check in all {
            #expect((check.result == .pass) == check.mend.isEmpty, "\(check.name)")
            #expect(JSONValue(parsing: check.json)?["name"]?.plain == check.name)
        }
        #expect(Set(all.map(\.name)).count == all.count)
    }

    /// The folder that waits for the datastore must not be taken for it.
    @Test func aFolderThatIsToBeAMountMustBeOne() {
        defer { cleanUp() }
        let fstab = """
            # /none nfs
            filer:/a\t\(folder)/backing\tnfs hard 0 0
            filer:/b /elsewhere nfs hard 0 0
            /x \(folder)/backing/inside forebay ram=1G 0 0
            UUID=1 / ext4 defaults 0 1
            """
        let inside = "\(folder)/backing/inside"
        #expect(ExpectedMounts.above(inside, table: fstab) == ["\(folder)/backing"])
        #expect(ExpectedMounts.above("/other", table: fstab) == [])
        let options = MountOptions(
            backing: inside, mountpoint: "\(folder)/mountpoint", name: "x",
            state: folder + "/state", ram: 16 << 20)
        func preflight(_ table: String) -> Preflight {
            Preflight(
                options: options, table: MountTable(parsing: table),
                runFolder: RunFolder(path: folder + "/run"),
                expectedMounts: ["\(folder)/backing"])
        }
        #expect(failure(preflight("1 0 8:1 / / rw - ext4 /dev/sda1 rw")) == "backing-mounted")
        let mounted = "2 1 0:40 / \(folder)/backing rw - nfs filer:/a rw"
        #expect(failure(preflight(mounted)) == nil)
    }

    @Test func missingFoldersFail() {
        defer { cleanUp() }
        #expect(failure(preflight(backing: "/nowhere")) == "backing")
        #expect(failure(preflight(mountpoint: "/nowhere")) == "mountpoint")
        let file = open(folder + "/backing/file", O_CREAT | O_WRONLY, 0o600)
        close(file)
        #expect(failure(preflight(backing: "/backing/file")) == "backing")
        #expect(failure(preflight(mountpoint: "/backing/file")) == "mountpoint")
    }

    @Test func oneInsideTheOtherFails() {
        defer { cleanUp() }
        symlink(folder + "/backing/inside", folder + "/link")
        let pairs = [
            ("/backing", "/backing"), ("/backing", "/backing/inside"),
            ("/backing/inside", "/backing"), ("/backing", "/link"), ("/link", "/backing"),
        ]
        for (backing, mountpoint) in pairs {
            let answer = failure(preflight(backing: backing, mountpoint: mountpoint))
            #expect(answer == "apart", "\(backing) \(mountpoint)")
        }
        #expect(failure(preflight(state: "/backing/state")) == "state-place")
        #expect(failure(preflight(state: "/mountpoint")) == "state-place")
    }

    @Test func placesAndNamesInUseFail() throws {
        defer { cleanUp() }
        let mounted = "9 1 0:40 / FOLDER/mountpoint rw - ext4 /dev/sdb rw"
        #expect(failure(preflight(table: mounted)) == "mountpoint-free")
        let automount = "9 1 0:40 / FOLDER/mountpoint rw - autofs systemd-1 rw"
        #expect(failure(preflight(table: automount)) == nil)

        let run = RunFolder(path: folder + "/run")
        let mount = RunFolder.Mount(name: "x", mountpoint: "/a", backing: "/b")
        let held = try run.take(mount)
        #expect(failure(preflight()) == "name-free")
        #expect(run.mounts() == [mount])
        #expect(throws: Errno(EWOULDBLOCK)) { _ = try run.take(mount).raw }
        #expect(!run.remove("x"))
        close(held.release())
        #expect(!run.isTaken("x"))
        #expect(run.remove("x"))
        #expect(failure(preflight()) == nil)
    }

    @Test func optionsOfTheDatastoresMount() {
        defer { cleanUp() }
        func result(_ options: String) -> PreflightCheck.Result? {
            let table = "9 1 0:40 / FOLDER/backing rw - nfs4 filer:/vol \(options)"
            return preflight(table: table).all().first { $0.name == "backing-options" }?.result
        }
        #expect(result("rw,vers=4.2,hard") == .pass)
        #expect(result("rw,vers=3,hard") == .pass)
        #expect(result("rw,vers=4.2,soft") == .warn)
        #expect(result("rw,vers=4.0,hard") == .warn)
        let nested = preflight(table: "9 1 0:40 / FOLDER/backing/inside rw - ext4 /dev/sdb rw")
        #expect(nested.all().first { $0.name == "nested-mounts" }?.result == .warn)
    }

    @Test func remoteStateFails() {
        defer { cleanUp() }
        func result(_ type: String) -> PreflightCheck.Result? {
            preflight(table: "9 1 0:40 / FOLDER rw - \(type) x rw").all()
                .first { $0.name == "state-disk" }?.result
        }
        #expect(result("ext4") == .pass)
        #expect(result("tmpfs") == .warn)
        #expect(result("nfs4") == .fail)
    }

    @Test func nothingIsWrittenIntoTheDatastore() {
        defer { cleanUp() }
        var before = stat()
        var after = stat()
        stat(folder + "/backing", &before)
        _ = preflight().all()
        stat(folder + "/backing", &after)
        #expect(before.st_mtim.tv_nsec == after.st_mtim.tv_nsec)
        #expect(before.st_ctim.tv_nsec == after.st_ctim.tv_nsec)
    }
}

@Suite struct MountTableTests {
    @Test func linesAreRead() {
        let table = MountTable(
            parsing: """
                25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
                90 25 0:50 / /srv/my\\040vms rw shared:2 master:3 - fuse.forebay /mnt/n\\134as rw
                junk
                1 2 3 4
                91 90 0:51 / /srv/my\\040vms/deep rw - tmpfs tmpfs rw
                92 25 0:52 / /srv/my\\040vms rw - ext4 /dev/sdc rw
                """)
        #expect(table.entries.count == 4)
        #expect(table.entries[1].mountpoint == "/srv/my vms")
        #expect(table.entries[1].source == "/mnt/n\\as")
        #expect(table.entry(at: "/srv/my vms")?.source == "/dev/sdc")
        #expect(table.entry(containing: "/srv/my vms/deep/er")?.type == "tmpfs")
        #expect(table.entry(containing: "/srv/my vmsx")?.mountpoint == "/")
        #expect(table.entries(below: "/srv/my vms").map(\.type) == ["tmpfs"])
    }

    @Test func thisMachineHasARoot() {
        #expect(MountTable.current().entry(containing: "/") != nil)
    }

    @Test func damagedLinesNeverTrap() {
        let text = "25 1 8:1 / /a\\040b rw shared:1 - ext4 /dev/sda1 rw"
        for end in 0...text.utf8.count {
            _ = MountTable(parsing: String(text.prefix(end)))
        }
        for line in ["- - - - - - -", "      -", "a b c d \\ f - \\0 \\04 \\999"] {
            _ = MountTable(parsing: line)
        }
    }

    @Test(arguments: [
        ("/a/b", "/a", true), ("/ab", "/a", false), ("/a", "/a", false), ("/a", "/", true),
    ])
    func insideIsByWholeNames(path: String, folder: String, isInside: Bool) {
        #expect(MountTable.isInside(path, folder, orSame: false) == isInside)
        #expect(MountTable.isInside(path, path, orSame: true))
    }

    @Test(arguments: [
        ("/a/./b/../c//", "/a/c"), ("/..", "/"), ("/", "/"), ("/a/..", "/"),
    ])
    func pathsAsText(path: String, result: String) {
        #expect(AbsolutePath.lexical(path) == result)
    }
}
