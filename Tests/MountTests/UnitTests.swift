import Glibc
import Syscalls
import TestSupport
import Testing

/// The unit as it is shipped, and the drop-ins that the generator adds to it.
@Suite struct UnitTests {
    private let space: TemporaryFolder
    private let unit: String

    init() throws {
        space = try TemporaryFolder("units")
        let top = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
        let bytes = try Files.read("\(top)/systemd/forebay@.service")
        let shipped = String(decoding: bytes, as: UTF8.self)
        // As scripts/install does for another PREFIX.
        unit = shipped.replacing("/usr/local/bin/forebay", with: try Programs.forebay)
        try #require(unit != shipped)
    }

    private func verify(_ text: String) throws -> ProgramResult {
        let path = space.path("forebay@.service")
        unlink(path)
        try Files.write(path, Array(text.utf8))
        return try ChildProcess.run("systemd-analyze", ["verify", "--man=no", path])
    }

    @Test func systemdUnderstandsAllOfIt() throws {
        let result = try verify(unit)
        #expect(result.status == 0 && result.errorOutput.isEmpty, "\(result.text)")
        let wrong = try verify(unit.replacing("[Service]", with: "[Service]\nWrong=1"))
        #expect(wrong.text.contains("Wrong"), "\(wrong.text)")
    }

    /// knfsd must see the mount: no directive may give the unit mounts of its own.
    @Test func itHasNoMountsOfItsOwn() {
        let keys = unit.split(separator: "\n").filter { !$0.hasPrefix("#") }.compactMap {
            $0.split(separator: "=").first.map(String.init)
        }
        #expect(keys.contains("FileDescriptorStoreMax"))
        let forbidden = [
            "Protect", "Private", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "Temporary",
            "Root", "Mount", "Dynamic", "ProcSubset", "LogNamespace",
        ]
        #expect(keys.filter { key in forbidden.contains { key.hasPrefix($0) } } == [])
    }

    @Test func theGeneratorNamesWhatMustBeMounted() throws {
        let configuration = try space.makeFolder("etc")
        let output = try space.makeFolder("out")
        let text = "backing = \"/mnt/na s-1/vms\"\nmountpoint = \"/srv/vms\"\n"
        try Files.write("\(configuration)/one.toml", Array(text.utf8))
        try Files.write("\(configuration)/bad.toml", Array("backing".utf8))
        try Files.write("\(configuration)/alerts.toml", Array("[mail]\n".utf8))
        let program = space.path("forebay-generator")
        let forebay = try Programs.forebay
        try must { symlink(forebay, program) }
        let result = try ChildProcess.check(
            program, [output, output, output],
            environment: ["FOREBAY_CONFIGURATION": configuration])
        #expect(result.errorOutput.contains("bad.toml line 1"))
        #expect(!result.errorOutput.contains("alerts"))
        #expect(try Files.names(output) == ["forebay@one.service.d"])
        let bytes = try Files.read("\(output)/forebay@one.service.d/50-places.conf")
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        let units = try ["/mnt/na s-1/vms", "/mnt/na s-1", "/mnt"].map {
            let escaped = try ChildProcess.check(
                "systemd-escape", ["--path", "--suffix=mount", $0])
            return String(escaped.output.split(separator: "\n")[0])
        }.joined(separator: " ")
        #expect(lines.contains("After=\(units)"))
        #expect(lines.contains("Wants=\(units)"))
        #expect(lines.contains("RequiresMountsFor=\"/srv\""))
    }
}
