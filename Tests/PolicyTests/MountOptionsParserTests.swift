import Policy
import Testing

@Suite struct MountOptionsParserTests {
    private func parse(
        _ options: String..., backing: String = "/mnt/nas", memory: UInt64 = 8 << 30,
        sloppy: Bool = false
    ) throws(Refusal) -> MountOptions {
        try MountOptionsParser.parse(
            backing: backing, mountpoint: "/srv/vms", options: options, memory: memory,
            sloppy: sloppy)
    }

    private func refusal(_ options: String..., backing: String = "/mnt/nas") -> Refusal? {
        do throws(Refusal) {
            _ = try MountOptionsParser.parse(
                backing: backing, mountpoint: "/srv/vms", options: options, memory: 8 << 30)
            return nil
        } catch {
            return error
        }
    }

    @Test func defaults() throws {
        let options = try parse()
        #expect(options.name == "nas")
        #expect(options.state == "/var/lib/forebay/nas")
        #expect(options.ram == 1 << 30)
        #expect(options.attributeTimeout == 10)
        #expect(options.backendTimeout == 60)
        #expect(!options.readOnly)
        #expect(options.mountFlags == 0)
        #expect(options.controlSocket == "/run/forebay/nas.sock")
    }

    @Test(
        arguments: [
            (1 << 20, 16 << 20), (256 << 20, 32 << 20), (64 << 30, 4 << 30),
            (8 << 30, 1 << 30),
        ] as [(UInt64, Int)])
    func ramFollowsTheMemory(memory: UInt64, ram: Int) throws {
        #expect(try parse(memory: memory).ram == ram)
    }

    @Test func everyOption() throws {
        let options = try parse(
            "name=lab-1,state=/var/tmp/x/,ram=64M", "attr_timeout=2.5,backend_timeout=7,ro")
        #expect(options.name == "lab-1")
        #expect(options.state == "/var/tmp/x")
        #expect(options.ram == 64 << 20)
        #expect(options.attributeTimeout == 2.5)
        #expect(options.backendTimeout == 7)
        #expect(options.readOnly)
    }

    @Test func laterOptionsWin() throws {
        #expect(try parse("ram=32M", "ram=64M,ro,rw").ram == 64 << 20)
        #expect(try !parse("ro,rw").readOnly)
    }

    @Test(arguments: [
        "rw", "defaults", "auto", "noauto", "nofail", "_netdev", "x-systemd.requires=/mnt/nas",
        "x-systemd.automount", "X-mount.mkdir", "write=through", "nouser", "", ",,",
        "allow_other,default_permissions", "comment=x",
    ])
    func acceptedForOthers(option: String) throws {
        var expected = try parse()
        let parsed = try parse(option)
        expected.mountFlags = parsed.mountFlags
        #expect(parsed == expected)
    }

    @Test func flagsOfTheKernel() throws {
        #expect(try parse("nosuid,nodev,noexec,noatime").mountFlags == 2 | 4 | 8 | 1024)
        #expect(try parse("nosuid,suid,nodev,dev").mountFlags == 0)
        #expect(try parse("noatime,relatime").mountFlags == 1 << 21)
    }

    @Test(arguments: [
        "bogus", "bogus=1", "ram", "ram=", "ram=junk", "ram=1M", "ram=16777215", "ram=-1", "ram=9G",
        "ram=99999999999999T", "name=", "name=a/b", "name=..", "name=ü", "name=a b",
        "name=12345678901234567890123456789012345678901234567890123456789012345",
        "state=relative", "state=", "write=back", "write=back,log=none", "write=junk",
        "write",
        "flash", "flash=", "flash=relative", "flash=nvme0n1:4G", "flash=/dev/", "flash=/a:",
        "flash=/a:junk", "flash=/a:4X", "flash=/a:1K", "flash=/a:33554431", "flash=/a:0",
        "flash=/a:99999999999T", "flash_dwpd", "flash_dwpd=", "flash_dwpd=-1", "flash_dwpd=x",
        "flash_dwpd=10001", "flash_dwpd=0.0001", "flash_dwpd=1e3",
        "log", "log=", "log=relative", "log=/dev/", "log=/a:4X", "log=/a:1M",
        "destage_delay", "destage_delay=", "destage_delay=-1", "destage_delay=3601",
        "destage_order=", "destage_order=random", "dirty_max=", "dirty_max=junk", "dirty_max=1M",
        "dirty_max=65M,log=/a:64M", "discard_log=1", "discard_log=",
        "attr_timeout=-1", "attr_timeout=x", "attr_timeout=nan",
        "attr_timeout=inf", "attr_timeout=1e3", "attr_timeout=.5", "attr_timeout=999999",
        "backend_timeout=0", "backend_timeout=", "remount", "user", "bind", "ro=1", "=",
    ])
    func refusedWithStatusTwo(option: String) {
        let refusal = refusal(option)
        #expect(refusal?.status == 2)
        #expect(refusal?.why.isEmpty == false)
    }

    @Test func writeBackNeedsALog() throws {
        #expect(refusal("write=back")?.why == "needs a log for what it acknowledges")
        #expect(refusal("write=back,log=/dev/x,log=none")?.status == 2)
        #expect(try parse("write=back", "log=/dev/x").write == .back)
        #expect(try parse("log=/dev/x").write == .through)
    }

    @Test func sloppyPassesOverUnknownOptionsOnly() throws {
        #expect(try parse("bogus,ram=32M", sloppy: true).ram == 32 << 20)
        #expect(throws: Refusal.self) { try parse("ram=junk", sloppy: true) }
    }

    @Test func namesComeFromTheBacking() throws {
        #expect(try parse(backing: "/data/store//").backing == "/data/store")
        #expect(try parse(backing: "/data/store//").name == "store")
        #expect(refusal(backing: "/data/vm store")?.status == 2)
        #expect(refusal(backing: "/")?.status == 2)
        #expect(refusal("name=x", backing: "/") == nil)
        #expect(refusal(backing: "relative")?.status == 2)
    }

    @Test func canonicalTextReadsBack() throws {
        let options = try parse("ram=48M,ro,noatime,nosuid,attr_timeout=0.25,name=x.y")
        #expect(try parse(options.optionText) == options)
    }

    @Test(
        arguments: [
            ("/dev/nvme0n1", "/dev/nvme0n1", nil), ("/cache/file:200G", "/cache/file", 200 << 30),
            ("/a b/ü:33554432", "/a b/ü", 32 << 20), ("/a:b:1T", "/a:b", 1 << 40),
            ("/a:1G:2G", "/a:1G", 2 << 30), ("/dev/x:y_z", "/dev/x:y_z", nil),
            (
                "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
                "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", nil
            ),
            ("/a:b/c", "/a:b/c", nil),
        ] as [(String, String, UInt64?)])
    func flash(text: String, path: String, size: UInt64?) throws {
        let options = try parse("flash=\(text)")
        #expect(options.flash == FlashOption(path: path, size: size))
        #expect(try parse(options.optionText) == options)
    }

    @Test func flashIsNothingUnlessAskedFor() throws {
        #expect(try parse().flash == nil)
        #expect(try parse().flashWritesPerDay == 3)
        #expect(try parse("flash=/dev/x", "flash=none").flash == nil)
        #expect(try parse("flash_dwpd=0").flashWritesPerDay == 0)
        let options = try parse("flash=/dev/x,flash_dwpd=0.25")
        #expect(options.flashWritesPerDay == 0.25)
        #expect(try parse(options.optionText) == options)
    }

    @Test(arguments: ["0.001", "0.25", "86400", "1.5"])
    func numbersReadBack(_ number: String) throws {
        let options = try parse("attr_timeout=\(number),flash_dwpd=0.001")
        #expect(try parse(options.optionText) == options)
        #expect(refusal("attr_timeout=\(number)0001")?.status == 2)
    }

    @Test func theConfigurationFileHasTheSameKeys() throws {
        let text = "flash = \"/cache/file:200G\" # a file\nflash_dwpd = 1.5\n"
        let file = try ConfigurationFile(text: text, path: "x.toml")
        let options = try MountOptionsParser.parse(
            backing: "/mnt/nas", mountpoint: "/srv/vms", options: file.options)
        #expect(options.flash == FlashOption(path: "/cache/file", size: 200 << 30))
        #expect(options.flashWritesPerDay == 1.5)
        let written = try ConfigurationFile.text(
            backing: "/mnt/nas", mountpoint: "/srv/vms",
            options: options.optionText.split(separator: ",").map(String.init)
                .filter { !$0.hasPrefix("name=") })
        let again = try ConfigurationFile(text: written, path: "x.toml")
        #expect(
            try MountOptionsParser.parse(
                backing: "/mnt/nas", mountpoint: "/srv/vms", options: again.options) == options)
    }

    @Test func arbitraryTextNeverTraps() {
        var random = SystemRandomNumberGenerator()
        let letters = Array("ram=name,ostwxyz.-_0189GMK/\"\\\u{0}ü =")
        for _ in 0..<2000 {
            let length = Int.random(in: 0...40, using: &random)
            var text = ""
            for _ in 0..<length { text.append(letters.randomElement(using: &random) ?? "a") }
            let answer = refusal(text)
            #expect(answer == nil || answer?.status == 2)
        }
    }
}
