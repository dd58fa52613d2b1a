import Glibc
import Syscalls
import TestSupport
import Testing

/// `forebay format --flash` and `forebay check --flash` on files, which they treat like devices.
@Suite struct FlashCommandTests {
    private let space: TemporaryFolder
    private let path: String
    private static let size = 64 << 20

    init() throws {
        space = try TemporaryFolder("flash")
        path = space.path("device")
        try Files.write(path, "")
        try call { [path] in truncate(path, Self.size) }
    }

    private func run(_ arguments: [String]) throws -> ProgramResult {
        try ChildProcess.run(try Programs.forebay, arguments)
    }

    private func format(_ more: [String] = []) throws -> ProgramResult {
        try run(["format", "--flash", path] + more)
    }

    private func check() throws -> ProgramResult { try run(["check", "--flash", path, "--json"]) }

    private func expectRefusal(_ result: ProgramResult, _ reason: String) {
        #expect(result.status == 1, "\(result.text)")
        #expect(result.errorOutput.hasPrefix("forebay: "), "\(result.errorOutput)")
        #expect(result.errorOutput.contains(reason), "\(result.errorOutput)")
        #expect(result.errorOutput.split(separator: "\n").count == 1)
    }

    @Test func aBlankDeviceIsFormattedAndClean() throws {
        let formatted = try format()
        #expect(formatted.status == 0, "\(formatted.text)")
        let checked = try check()
        #expect(checked.status == 0, "\(checked.text)")
        let found = FlatJSON(checked.output)
        #expect(found.text("result") == "clean")
        #expect(found.integer("bytes") == UInt64(Self.size))
        #expect(found.integer("contents") == 0)
        #expect(found.text("in_use") == "false")
        let text = try run(["check", "--flash", path]).output
        #expect(text.hasPrefix("clean: flash tier of no mount, 64.0 MiB\n"), "\(text)")
        // What is ours may be formatted again.
        #expect(try format().status == 0)
    }

    @Test(arguments: [0, 1 << 20, 32 << 20, (64 << 20) - 4096])
    func whatHoldsSomethingIsRefusedUnlessForced(_ offset: UInt64) throws {
        let bytes = [UInt8](repeating: 7, count: 1 << 20).prefix(Self.size - Int(offset))
        try OpenFile(path, O_WRONLY).write(Array(bytes), at: offset)
        expectRefusal(try format(), "it holds data")
        let before = try OpenFile(path, O_RDONLY).read(at: offset, count: bytes.count)
        #expect(before == Array(bytes))
        #expect(try format(["--force"]).status == 0)
        #expect(try check().status == 0)
    }

    @Test func aFileSystemIsCalledByItsName() throws {
        try OpenFile(path, O_WRONLY).write([0x53, 0xef], at: 0x438)
        expectRefusal(try format(), "an ext file system")
        expectRefusal(try check(), "an ext file system")
    }

    @Test func whatIsNoTierIsNotChecked() throws {
        expectRefusal(try check(), "not formatted")
        try call { [path] in truncate(path, 8 << 20) }
        expectRefusal(try format(), "too small")
        expectRefusal(try run(["check", "--flash", space.path("nowhere")]), "no such")
        expectRefusal(try run(["format", "--flash", space.path]), "neither")
        expectRefusal(try run(["format", "--flash", "/dev/null"]), "neither")
    }

    @Test func aDamagedHeaderIsTold() throws {
        #expect(try format().status == 0)
        let file = try OpenFile(path, O_RDWR)
        var block = try file.read(at: 0, count: 4096)
        block[200] ^= 1
        try file.write(block, at: 0)
        let checked = try check()
        #expect(checked.status == 1)
        #expect(FlatJSON(checked.output).text("result") == "damaged")
        #expect(FlatJSON(checked.output).integer("damaged_headers") == 1)
        #expect(checked.errorOutput.contains("damaged"))
        try file.write(block, at: 16 * 4096)
        let both = try check()
        expectRefusal(both, "both copies")
        #expect(both.output.isEmpty)
    }

    @Test func aDeviceInUseOrShorterIsRefused() throws {
        #expect(try format().status == 0)
        let holder = try OpenFile(path, O_RDWR)
        #expect(flock(holder.raw, LOCK_EX | LOCK_NB) == 0)
        expectRefusal(try format(["--force"]), "in use")
        expectRefusal(try check(), "in use")
        #expect(flock(holder.raw, LOCK_UN) == 0)
        try call { [path] in truncate(path, Self.size / 2) }
        expectRefusal(try check(), "shorter")
    }

    @Test(arguments: [
        ["format"], ["check"], ["format", "--flash"], ["format", "--log"],
        ["check", "--flash", "/a", "--force"],
    ])
    func wrongUsage(_ arguments: [String]) throws {
        let result = try run(arguments)
        #expect(result.status == 2, "\(result.text)")
        #expect(result.output.isEmpty)
    }
}
