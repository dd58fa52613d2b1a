import Policy
import Testing

@Suite struct RuntimeOptionsTests {
    private let options = MountOptions(
        backing: "/mnt/nas", mountpoint: "/srv/vms", name: "nas", state: "/tmp/s", ram: 64 << 20)

    private func apply(_ changes: String...) throws(Refusal) -> MountOptions {
        try RuntimeOptions.apply(changes, to: options, memory: 1 << 30)
    }

    @Test func eachKey() throws {
        var expected = options
        expected.ram = 128 << 20
        #expect(try apply("ram=128M") == expected)
        expected.attributeTimeout = 2.5
        expected.backendTimeout = 7
        #expect(try apply("ram=128M", "attr_timeout=2.5", "backend_timeout=7") == expected)
        #expect(try apply("ram=128M,attr_timeout=2.5", "backend_timeout=7") == expected)
        #expect(try apply("write=through") == options)
        expected = options
        expected.flash = FlashOption(path: "/dev/x")
        expected.flashWritesPerDay = 0
        expected.log = LogOption(path: "/dev/y")
        expected.dirtyMax = 1 << 30
        let devices = try apply("flash=/dev/x,flash_dwpd=0", "log=/dev/y,dirty_max=1G")
        #expect(devices == expected)
        #expect(try RuntimeOptions.apply(["flash=none"], to: expected).flash == nil)
        for key in RuntimeOptions.keys { #expect(expected.optionText.contains("\(key)=")) }
    }

    /// With the reason that a mount would give, or another one; exit status 2 in any case.
    @Test(arguments: [
        ("write=back", "needs a log"), ("flash=x", "not an absolute path"),
        ("flash=/x:1K", "too small"), ("flash_dwpd=-1", "drive writes per day"),
        ("log=x", "not an absolute path"), ("name=x", "cannot be changed"),
        ("state=/x", "cannot be changed"), ("ro", "cannot be changed"),
        ("_netdev", "cannot be changed"), ("bogus=1", "not known"), ("ram=junk", "not a size"),
        ("ram=99T", "more than"), ("ram", "needs a value"), ("attr_timeout=-1", "seconds"),
        ("", "nothing"), ("=", "not known"), ("ram=128M,name=x", "cannot be changed"),
    ])
    func refused(change: String, reason: String) throws {
        let refusal = try #require(throws: Refusal.self) { try apply(change) }
        #expect(refusal.status == 2)
        #expect(refusal.why.contains(reason), "\(refusal.why)")
    }

    @Test func laterChangesReplaceEarlierOnes() {
        var text = RuntimeOptions.merge(["ram=1G"], into: "")
        #expect(text == "ram=1G")
        text = RuntimeOptions.merge(["attr_timeout=3", "ram=2G"], into: text)
        #expect(text == "attr_timeout=3,ram=2G")
        for _ in 0..<1000 { text = RuntimeOptions.merge(["ram=3G", "ram=4G"], into: text) }
        #expect(text == "attr_timeout=3,ram=4G")
    }
}
