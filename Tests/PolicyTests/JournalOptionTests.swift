import Policy
import Testing

@Suite struct JournalOptionTests {
    private func parse(_ options: String...) throws(Refusal) -> MountOptions {
        try MountOptionsParser.parse(
            backing: "/mnt/nas", mountpoint: "/srv/vms", options: options, memory: 8 << 30)
    }

    @Test func thereIsNoLogUnlessAskedFor() throws {
        let options = try parse()
        #expect(options.log == nil)
        #expect(options.write == .through)
        #expect(options.destageDelay == 5)
        #expect(options.destageOrder == .epoch)
        #expect(options.dirtyMax == nil)
        #expect(!options.discardLog)
        #expect(try parse(options.optionText) == options)
    }

    @Test(
        arguments: [
            ("/dev/nvme1n1", "/dev/nvme1n1", nil), ("/dev/md/log", "/dev/md/log", nil),
            ("/log/file:16G", "/log/file", 16 << 30), ("/a:1G:2G", "/a:1G", 2 << 30),
            ("/dev/disk/by-path/pci-0000:00:1f.2", "/dev/disk/by-path/pci-0000:00:1f.2", nil),
        ] as [(String, String, UInt64?)])
    func log(text: String, path: String, size: UInt64?) throws {
        let options = try parse("log=\(text),write=back")
        #expect(options.log == LogOption(path: path, size: size))
        #expect(options.write == .back)
        #expect(try parse(options.optionText) == options)
    }

    @Test func everyOptionReadsBack() throws {
        let options = try parse(
            "log=/log:1G,write=back,destage_delay=0.5,destage_order=strict,dirty_max=256M",
            "discard_log")
        #expect(options.destageDelay == 0.5)
        #expect(options.destageOrder == .strict)
        #expect(options.dirtyMax == 256 << 20)
        #expect(options.discardLog)
        #expect(try parse(options.optionText) == options)
    }

    @Test func theConfigurationFileHasTheSameKeys() throws {
        let text = """
            log = "/dev/nvme1n1"
            write = "back"
            destage_delay = 2.5
            destage_order = "strict"
            dirty_max = "1G"
            discard_log = true
            """
        let file = try ConfigurationFile(text: text, path: "x.toml")
        let options = try MountOptionsParser.parse(
            backing: "/mnt/nas", mountpoint: "/srv/vms", options: file.options)
        let expected = try parse(
            "log=/dev/nvme1n1,write=back,destage_delay=2.5,destage_order=strict,dirty_max=1G",
            "discard_log,ram=\(options.ram)")
        #expect(options == expected)
    }

    @Test func aMountedLogChanges() throws {
        let options = try parse("log=/dev/x,write=back")
        let changed = try RuntimeOptions.apply(
            ["log=/dev/y", "destage_delay=1", "destage_order=strict", "dirty_max=8M"],
            to: options)
        #expect(changed.log == LogOption(path: "/dev/y"))
        #expect(changed.destageDelay == 1)
        #expect(changed.destageOrder == .strict)
        #expect(changed.dirtyMax == 8 << 20)
        #expect(changed.write == .back)
        let none = try RuntimeOptions.apply(["log=none", "write=through"], to: options)
        #expect(none.log == nil)
        // A policy without the log that it needs is refused before anything changes.
        #expect(throws: Refusal.self) { try RuntimeOptions.apply(["log=none"], to: options) }
        #expect(throws: Refusal.self) { try RuntimeOptions.apply(["discard_log"], to: options) }
    }
}
