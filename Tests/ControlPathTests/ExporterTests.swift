import ControlPath
import Glibc
import Policy
import TestSupport
import Testing

/// Exports and their end, on a machine of files.
@Suite struct ExporterTests {
    private let machine: ExportFixture
    private let identity = "5d7f49b9-e46a-55b1-a7f3-ffb1bf8043b9"
    private var file: String { machine.files.exports(of: "vms") }

    init() throws { machine = try ExportFixture() }

    private func clients(_ list: String) throws(Refusal) -> [ExportClient] {
        try ExportClient.list([list])
    }

    @Test func anExportIsWrittenAndActive() throws {
        let texts = try machine.exporter().export(
            machine.export(), to: clients("10.0.0.0/24,[2001:db8::1]"))
        #expect(texts.isEmpty)
        let options = "rw,sync,no_root_squash,no_subtree_check,mountpoint,fsid=\(identity)"
        #expect(
            try Files.text(file) == """
                # Made by 'forebay export'; 'forebay unexport' removes it.
                /srv/my\\040vms 10.0.0.0/24(\(options))
                /srv/my\\040vms 2001:db8::1(\(options))

                """)
        #expect(
            Set(machine.active) == [
                "/srv/my\\040vms\t10.0.0.0/24(\(options))",
                "/srv/my\\040vms\t2001:db8::1(\(options))",
            ])
        // Nothing that belongs to others is read, exported or taken away.
        #expect(machine.calls.allSatisfy { $0.hasPrefix("-i -o ") })
        #expect(try Files.names(machine.files.exportsFolder) == ["forebay-vms.exports"])
    }

    @Test func aReadOnlyMountIsExportedReadOnly() throws {
        _ = try machine.exporter().export(
            machine.export(isReadOnly: true), to: clients("10.0.0.1"))
        #expect(try Files.text(file).contains("10.0.0.1(ro,sync,"))
        #expect(machine.active.count == 1 && machine.active[0].contains("(ro,"))
    }

    @Test func repeatingReplacesTheClients() throws {
        let others = "/other\t10.0.0.9(rw,sync,fsid=4)"
        try Files.write(machine.files.activeExports, others + "\n")
        _ = try machine.exporter().export(machine.export(), to: clients("10.0.0.1,10.0.0.2"))
        let texts = try machine.exporter().export(machine.export(), to: clients("10.0.0.2,*"))
        #expect(texts.contains { $0.contains("no longer exported to 10.0.0.1") })
        #expect(texts.contains { $0.contains("everyone") })
        #expect(machine.active.contains(others))
        #expect(machine.active.count == 3)
        #expect(!machine.active.contains { $0.contains("10.0.0.1(") })
        // Who stays does not lose it for a moment.
        #expect(machine.calls.filter { $0.hasPrefix("-u") } == ["-u 10.0.0.1:/srv/my vms"])
    }

    @Test func aFailureTakesEverythingBack() throws {
        _ = try machine.exporter().export(machine.export(), to: clients("10.0.0.1"))
        let (text, active) = (try Files.text(file), machine.active)
        for (name, reason) in [("refused", "is refused"), ("ignored", "lacks it for 10.0.0.3")] {
            try Files.write(machine.space.path(name), "10.0.0.3\n")
            let refusal = #expect(throws: Refusal.self) {
                try machine.exporter().export(machine.export(), to: clients("10.0.0.2,10.0.0.3"))
            }
            #expect(refusal?.line.contains(reason) == true, "\(refusal?.line ?? "")")
            #expect(try Files.text(file) == text)
            #expect(machine.active == active)
            unlink(machine.space.path(name))
        }
        // The first export of a mount leaves nothing at all.
        _ = try machine.exporter().unexport(machine.mountpoint)
        try Files.write(machine.space.path("refused"), "10.0.0.3\n")
        #expect(throws: Refusal.self) {
            try machine.exporter().export(machine.export(), to: clients("10.0.0.2,10.0.0.3"))
        }
        #expect(machine.active.isEmpty)
        #expect(!Files.exists(machine.files.exportsFolder))
    }

    @Test func whatIsMissingIsSaid() throws {
        let refusal = #expect(throws: Refusal.self) {
            try machine.exporter(hasProgram: false).export(
                machine.export(), to: clients("10.0.0.1"))
        }
        #expect(refusal?.hint.contains("nfs-kernel-server") == true)
        let unknown = #expect(throws: Refusal.self) {
            try machine.exporter().export(machine.export(), to: clients("nobody.invalid"))
        }
        #expect(unknown?.line.contains("name service") == true)
        #expect(machine.calls.isEmpty)
        try Files.write(machine.space.path("proc/fs/nfsd/threads"), "0\n")
        let texts = try machine.exporter().export(machine.export(), to: clients("10.0.0.1"))
        #expect(texts.contains { $0.contains("nfs-server") })
    }

    @Test(arguments: [
        ("/srv/my\\040vms 10.0.0.7(rw,async)", "/etc/exports line 1"),
        ("/other *(ro,fsid=5d7f49b9-e46a-55b1-a7f3-ffb1bf8043b9)", "fsid="),
        ("/mnt/nas 10.0.0.0/24(rw,fsid=3)", "two ways"), ("/mnt/nas/web *(rw)", "two ways"),
        ("/mnt *(rw,crossmnt)", "two ways"),
    ])
    func dangerousNeighbours(line: String, reason: String) throws {
        try Files.write(machine.files.exports, line + "\n")
        let table = """
            1 0 8:1 / / rw - ext4 /dev/sda1 rw
            8 1 0:39 / /mnt/nas rw - nfs4 filer:/vms rw
            9 1 0:40 / /srv/my\\040vms rw - fuse.forebay /mnt/nas rw
            """
        let refusal = #expect(throws: Refusal.self) {
            try machine.exporter(table: table).export(machine.export(), to: clients("10.0.0.1"))
        }
        #expect(refusal?.why.contains(reason) == true, "\(refusal?.line ?? "")")
        #expect(machine.calls.isEmpty && !Files.exists(file))
    }

    @Test(arguments: [
        "/mnt/nas *(ro)", "/mnt *(rw)", "/mnt/nas2 *(rw)", "/srv *(rw)",
        "/other 10.0.0.1(rw,async)",
    ])
    func harmlessNeighbours(line: String) throws {
        try Files.write(machine.files.exports, line + "\n")
        let table = """
            1 0 8:1 / / rw - ext4 /dev/sda1 rw
            8 1 0:39 / /mnt/nas rw - nfs4 filer:/vms rw
            9 1 0:40 / /srv/my\\040vms rw - fuse.forebay /mnt/nas rw
            """
        let texts = try machine.exporter(table: table).export(
            machine.export(), to: clients("10.0.0.1"))
        #expect(texts.contains { $0.contains("empty folder") } == line.hasPrefix("/srv "))
    }

    @Test func unexportLeavesNothingAndMayBeRepeated() throws {
        let others = "/other\t10.0.0.9(rw,sync,fsid=4)"
        try Files.write(machine.files.activeExports, others + "\n")
        _ = try machine.exporter().export(machine.export(), to: clients("10.0.0.1,[2001:db8::]/64"))
        #expect(try machine.exporter().unexport(machine.mountpoint).isEmpty)
        #expect(machine.active == [others])
        #expect(!Files.exists(machine.files.exportsFolder))
        #expect(machine.calls.last == "-f")
        #expect(machine.calls.contains("-u [2001:db8::]/64:/srv/my vms"))
        let count = machine.calls.count
        #expect(try machine.exporter().unexport(machine.mountpoint).isEmpty)
        #expect(machine.calls.count == count)
    }

    /// The words are what Linux 6.1 shows for this UUID on a little-endian processor.
    @Test func whoAskedBeforeTheMountIsAnswered() throws {
        for folder in ["proc/net", "proc/net/rpc", "proc/net/rpc/nfsd.fh"] {
            _ = try machine.space.makeFolder(folder)
        }
        let channel = machine.space.path("proc/net/rpc/nfsd.fh/channel")
        try Files.write(
            machine.space.path("proc/net/rpc/nfsd.fh/content"),
            """
            #domain fsidtype fsid [path]
            # *,127.0.0.1 6 0xedaab3ba5a55bbe2f4efe88cb49f7e7b
            # * 6 0x00000000000000000000000000000000
            * 6 0xedaab3ba5a55bbe2f4efe88cb49f7e7b /elsewhere

            """)
        try Files.write(channel, "")
        machine.exporter().renew(machine.mountpoint)
        #expect(try Files.text(channel).isEmpty)
        _ = try machine.exporter().export(machine.export(name: "vm"), to: clients("10.0.0.1"))
        machine.exporter().renew(machine.mountpoint)
        let words = try Files.text(channel).split(separator: " ")
        #expect(words.count == 5)
        #expect(words.prefix(3) == ["*,127.0.0.1", "6", "\\xbab3aaede2bb555a8ce8eff47b7e9fb4"])
        #expect(Int(words[3]).map { abs($0 - time(nil) - 1800) < 60 } == true)
        #expect(words.last == "/srv/my\\040vms\n")
    }

    @Test func unexportNeedsNeitherTheMountNorTheProgram() throws {
        _ = try machine.exporter().export(machine.export(), to: clients("10.0.0.1"))
        _ = try machine.exporter(table: "", hasProgram: false).unexport(machine.mountpoint)
        #expect(!Files.exists(file))
        _ = try machine.exporter(table: "").unexport(machine.mountpoint)
        #expect(machine.active.isEmpty)
    }

    @Test func clientsThatHoldTheMountAreForgottenOrNamed() throws {
        let clients = try machine.space.makeFolder("proc/fs/nfsd/clients")
        func client(_ name: String, _ states: [String]) throws {
            _ = try machine.space.makeFolder("proc/fs/nfsd/clients/\(name)")
            let lines = states.map {
                "- 0x01: { type: open, superblock: \"\($0):77\", filename: \"disk\" }\n"
            }
            try Files.write("\(clients)/\(name)/states", lines.joined())
            try Files.write("\(clients)/\(name)/info", "clientid: 0x1\naddress: \"10.0.0.5:884\"\n")
            try Files.write("\(clients)/\(name)/ctl", "")
        }
        let unlocker = machine.space.path("proc/fs/nfsd/unlock_filesystem")
        try Files.write(unlocker, "")
        try client("3", ["fd:00"])
        try client("4", ["00:28", "fd:00"])
        try client("5", ["00:28", "00:28"])
        let holding = ServerClient.holding("0:40", machine.files)
        #expect(holding.map(\.here) == [1, 2] && holding.map(\.elsewhere) == [1, 0])
        _ = try machine.exporter().export(machine.export(), to: self.clients("10.0.0.1"))
        let refusal = #expect(throws: Refusal.self) {
            try machine.exporter().unexport(machine.mountpoint)
        }
        #expect(refusal?.line.contains("client 10.0.0.5 still has 1 files open") == true)
        #expect(refusal?.hint.contains("clients/4/ctl") == true)
        // Only the client that has nothing elsewhere is made to go.
        #expect(try Files.text("\(clients)/5/ctl") == "expire\n")
        #expect(try Files.text("\(clients)/4/ctl").isEmpty)
        #expect(try Files.text("\(clients)/3/ctl").isEmpty)
        #expect(try Files.text(unlocker) == "\(machine.mountpoint)\n")
    }
}
