import ControlPath
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

/// What preflight says of `flash=`. It looks, and changes nothing.
@Suite struct PreflightFlashTests {
    private let space: TemporaryFolder
    private let device: String

    init() throws {
        space = try TemporaryFolder("preflight-flash")
        for name in ["backing", "mountpoint", "run", "root"] { _ = try space.makeFolder(name) }
        device = space.path("device")
    }

    private func checks(
        _ flash: String?, table: String = "", name: String = "x"
    ) throws -> [PreflightCheck] {
        var options = MountOptions(
            backing: space.path("backing"), mountpoint: space.path("mountpoint"), name: name,
            state: space.path("state"), ram: 16 << 20)
        options.flash = try flash.flatMap { (text) throws in try FlashOption.parse(text) }
        let preflight = Preflight(
            options: options, table: MountTable(parsing: table),
            runFolder: RunFolder(path: space.path("run")), expectedMounts: [],
            files: SystemFiles(root: space.path("root")))
        return preflight.all().filter { $0.name.hasPrefix("flash") }
    }

    private func check(
        _ name: String, _ flash: String, table: String = ""
    ) throws -> PreflightCheck? {
        try checks(flash, table: table).first { $0.name == name }
    }

    private func make(_ size: Int) throws {
        try Files.write(device, "")
        try call { [device] in truncate(device, size) }
    }

    @Test func withoutFlashThereIsNothingToCheck() throws {
        #expect(try checks(nil).isEmpty)
    }

    @Test func aFormattedDevicePasses() throws {
        try make(64 << 20)
        let place = FlashPlace(device)
        #expect(try check("flash-device", device)?.result == .fail)
        try place.format(try place.open(readOnly: false))
        let found = try checks(device, table: "1 0 8:1 / / rw - ext4 /dev/sda1 rw")
        #expect(
            found.map(\.name) == ["flash-place", "flash-device", "flash-disk", "flash-memory"])
        #expect(found.filter { $0.result == .fail }.isEmpty, "\(found)")
        #expect(found.allSatisfy { ($0.result == .pass) == $0.mend.isEmpty })
        #expect(found.last?.reason.contains("240.0 KiB") == true, "\(found)")
        // In use, damaged, and shorter than it was.
        let held = try place.open(readOnly: false)
        #expect(try check("flash-device", device)?.reason.contains("in use") == true)
        withExtendedLifetime(held) {}
    }

    @Test func whatCannotBeUsedFailsWithWhatMendsIt() throws {
        let missing = try #require(try check("flash-device", device))
        #expect(missing.result == .fail && missing.mend.contains("flash=\(device):SIZE"))
        #expect(try check("flash-device", "\(device):32M")?.result == .pass)
        #expect(try check("flash-device", "\(device):900T")?.reason.contains("no room") == true)
        #expect(!Files.exists(device))
        try make(64 << 20)
        let blank = try #require(try check("flash-device", device))
        #expect(blank.mend.contains("forebay format --flash \(device)"))
        try OpenFile(device, O_WRONLY).write([0x53, 0xef], at: 0x438)
        #expect(try check("flash-device", device)?.reason.contains("ext file system") == true)
        for folder in ["backing", "mountpoint"] {
            let inside = try checks("\(space.path(folder))/file:32M")
            #expect(inside.map(\.name) == ["flash-place"])
            #expect(inside.first?.result == .fail)
        }
    }

    @Test func aDiskThatIsNotFasterIsTold() throws {
        try make(64 << 20)
        let place = FlashPlace(device)
        try place.format(try place.open(readOnly: false))
        // The backing lies on the same file system here.
        let local = "1 0 8:1 / / rw - ext4 /dev/sda1 rw"
        let same = try #require(try check("flash-disk", device, table: local))
        #expect(same.result == .warn && same.reason.contains("file system of the backing"))
        let remote = "1 0 0:40 / / rw - nfs4 filer:/vol rw"
        #expect(try check("flash-disk", device, table: remote)?.result == .fail)
        let memory = "1 0 0:40 / / rw - tmpfs none rw"
        #expect(try check("flash-disk", device, table: memory)?.result == .warn)
    }
}
