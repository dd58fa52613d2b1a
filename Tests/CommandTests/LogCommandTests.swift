import Glibc
import Syscalls
import TestSupport
import Testing

/// `forebay format --log` and `forebay check --log` on files, which they treat like devices.
@Suite struct LogCommandTests {
    private let space: TemporaryFolder
    private let path: String
    private static let size = 64 << 20

    init() throws {
        space = try TemporaryFolder("log")
        path = space.path("device")
        try Files.write(path, "")
        try call { [path] in truncate(path, Self.size) }
    }

    private func run(_ arguments: [String]) throws -> ProgramResult {
        try ChildProcess.run(try Programs.forebay, arguments)
    }

    private func format(_ more: [String] = []) throws -> ProgramResult {
        try run(["format", "--log", path] + more)
    }

    private func check() throws -> ProgramResult { try run(["check", "--log", path, "--json"]) }

    private func expectRefusal(_ result: ProgramResult, _ reason: String, status: Int32 = 1) {
        #expect(result.status == status, "\(result.text)")
        #expect(result.errorOutput.hasPrefix("forebay: "), "\(result.errorOutput)")
        #expect(result.errorOutput.contains(reason), "\(result.errorOutput)")
        #expect(result.errorOutput.split(separator: "\n").count == 1)
    }

    @Test func aBlankDeviceIsFormattedAndClean() throws {
        let formatted = try format()
        #expect(formatted.status == 0, "\(formatted.text)")
        #expect(formatted.output.contains("64.0 MiB of log"), "\(formatted.output)")
        let checked = try check()
        #expect(checked.status == 0, "\(checked.text)")
        let found = FlatJSON(checked.output)
        #expect(found.text("result") == "clean")
        #expect(found.integer("bytes") == UInt64(Self.size))
        #expect(found.integer("dirty_bytes") == 0)
        #expect(found.text("uuid")?.count == 32)
        let text = try run(["check", "--log", path]).output
        #expect(text.hasPrefix("clean: log of no mount, 64.0 MiB\n"), "\(text)")
        // A log of nobody holds nothing and may be formatted again; it is another one then.
        #expect(try format().status == 0)
        #expect(FlatJSON(try check().output).text("uuid") != found.text("uuid"))
    }

    @Test(arguments: [0, 32 << 20, (64 << 20) - 4096])
    func whatHoldsSomethingIsRefusedUnlessForced(_ offset: UInt64) throws {
        let bytes = [UInt8](repeating: 7, count: 1 << 20).prefix(Self.size - Int(offset))
        try OpenFile(path, O_WRONLY).write(Array(bytes), at: offset)
        expectRefusal(try format(), "it holds data")
        #expect(try format(["--force"]).status == 0)
        #expect(try check().status == 0)
    }

    /// Each kind of device is something else to the other kind.
    @Test func aFlashTierIsNoLogAndALogNoFlashTier() throws {
        #expect(try run(["format", "--flash", path]).status == 0)
        expectRefusal(try format(), "it holds")
        expectRefusal(try check(), "holds")
        #expect(try format(["--force"]).status == 0)
        expectRefusal(try run(["format", "--flash", path]), "it holds")
        #expect(try check().status == 0)
    }

    @Test func whatIsNoLogIsNotChecked() throws {
        expectRefusal(try check(), "not formatted")
        try call { [path] in truncate(path, 8 << 20) }
        expectRefusal(try format(), "too small")
        expectRefusal(try run(["check", "--log", space.path("nowhere")]), "no such")
        expectRefusal(try run(["format", "--log", "/dev/null"]), "neither")
        expectRefusal(try run(["format"]), "one device", status: 2)
        expectRefusal(
            try run(["check", "--log", path, "--flash", path]), "one device", status: 2)
    }

    @Test func aDamagedHeaderIsTold() throws {
        #expect(try format().status == 0)
        let file = try OpenFile(path, O_RDWR)
        var block = try file.read(at: 0, count: 4096)
        block[100] ^= 1
        try file.write(block, at: 0)
        let checked = try check()
        #expect(checked.status == 1)
        #expect(FlatJSON(checked.output).text("result") == "damaged")
        #expect(FlatJSON(checked.output).integer("damaged_headers") == 1)
        try file.write(block, at: 64 << 10)
        expectRefusal(try check(), "both copies")
    }

    @Test func aDeviceInUseOrShorterIsRefused() throws {
        #expect(try format().status == 0)
        let holder = try OpenFile(path, O_RDWR)
        #expect(flock(holder.raw, LOCK_EX | LOCK_NB) == 0)
        expectRefusal(try format(["--force"]), "in use")
        expectRefusal(try check(), "in use")
        #expect(flock(holder.raw, LOCK_UN) == 0)
        try call { [path] in truncate(path, 48 << 20) }
        expectRefusal(try check(), "shorter")
    }

    @Test func quiesceWantsAMountAndACommand() throws {
        expectRefusal(try run(["quiesce", space.path]), "no command", status: 2)
        expectRefusal(try run(["quiesce", space.path, "--", "true"]), "not a mount")
        expectRefusal(
            try run(["quiesce", space.path, "--timeout", "0", "--", "true"]), "not a time",
            status: 2)
    }
}
