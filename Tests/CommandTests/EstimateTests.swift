import Glibc
import Syscalls
import TestSupport
import Testing

/// `forebay estimate` on images whose contents are known.
@Suite struct EstimateTests {
    private let space: TemporaryFolder

    init() throws { space = try TemporaryFolder("estimate") }

    private func estimate(_ arguments: [String]) throws -> FlatJSON {
        let command = ["estimate", "--json"] + arguments
        return FlatJSON(try ChildProcess.check(try Programs.forebay, command).output)
    }

    /// Two copies of 512 blocks, one of which ends in 512 zero blocks, half of them a hole.
    private func makeImages() throws -> String {
        let folder = try space.makeFolder("images")
        try Content.write("\(folder)/first", seed: 1, count: 512)
        _ = try space.makeFolder("images/more")
        let second = "\(folder)/more/second"
        try Content.write(second, seed: 1, count: 512)
        let file = try OpenFile(second, O_WRONLY)
        try file.write([UInt8](repeating: 0, count: 256 * 4096), at: 512 * 4096)
        try call { truncate(second, 1024 * 4096) }
        return folder
    }

    @Test func copiesAndZerosAreFound() throws {
        let found = try estimate([try makeImages()])
        #expect(found.integer("files") == 2)
        #expect(found.integer("bytes") == 1536 * 4096)
        #expect(found.integer("zero_bytes") == 512 * 4096)
        #expect(found.text("zero_share") == "0.3333")
        #expect(found.integer("data_bytes") == 1024 * 4096)
        #expect(found.integer("unique_bytes") == 512 * 4096)
        #expect(found.text("dedup_ratio") == "2.00")
        #expect(found.integer("ram_bytes") == 512 * 4096 + 1024 * 64)
        #expect(found.integer("flash_bytes") == 512 * 4096 / 16 * 17 + (32 << 20))
        #expect(found.integer("flash_index_bytes") == 512 * 9 + 1024 * 6)
        #expect(found.integer("unreadable") == 0)
    }

    @Test func theEndOfAnImageIsFilledUpWithZeros() throws {
        let path = space.path("short")
        try Files.write(path, [UInt8](repeating: 0, count: 4096) + [1])
        let found = try estimate([path])
        #expect(found.integer("bytes") == 2 * 4096)
        #expect(found.integer("zero_bytes") == 4096)
        #expect(found.integer("unique_bytes") == 4096)
    }

    @Test func nothingIsNothing() throws {
        let found = try estimate([try space.makeFolder("empty")])
        #expect(found.integer("files") == 0)
        #expect(found.integer("bytes") == 0)
        #expect(found.text("dedup_ratio") == "1.00")
        #expect(found.text("zero_share") == "0.0000")
    }

    @Test func aFileWithTwoNamesCountsOnceAndLinksAreNotFollowed() throws {
        let folder = try makeImages()
        link("\(folder)/first", "\(folder)/more/again")
        symlink("\(folder)/first", "\(folder)/link")
        symlink(folder, "\(folder)/more/loop")
        let found = try estimate([folder, "\(folder)/first"])
        #expect(found.integer("files") == 2)
        #expect(found.text("dedup_ratio") == "2.00")
    }

    @Test func aSampleReadsLessAndStillFindsCopies() throws {
        let folder = try space.makeFolder("clones")
        for name in ["a", "b", "c"] { try Content.write("\(folder)/\(name)", seed: 3, count: 8192) }
        let found = try estimate([folder, "--sample", "25"])
        #expect(found.integer("sample_percent") == 25)
        #expect(found.text("dedup_ratio") == "3.00")
        #expect(found.integer("bytes") == 3 * 8192 * 4096)
        #expect(found.integer("unique_bytes") == 8192 * 4096)
    }

    @Test func peopleGetATable() throws {
        let folder = try makeImages()
        let result = try ChildProcess.check(try Programs.forebay, ["estimate", folder])
        #expect(result.output.contains("dedup ratio       2.00\n"), "\(result.output)")
        #expect(result.output.contains("33.3 % (2.0 MiB)"), "\(result.output)")
        #expect(result.errorOutput.isEmpty)
    }

    @Test(arguments: [
        (["/nowhere"], 1, "cannot be opened"), (["/dev/null"], 1, "no file"), ([], 2, "usage"),
        (["/", "--sample", "0"], 2, "percentage"), (["/", "--sample", "x"], 2, "usage"),
    ])
    func whatCannotBeEstimated(_ arguments: [String], _ status: Int32, _ reason: String) throws {
        let result = try ChildProcess.run(try Programs.forebay, ["estimate"] + arguments)
        #expect(result.status == status)
        #expect(result.output.isEmpty)
        #expect(result.errorOutput.hasPrefix("forebay: "))
        #expect(result.errorOutput.contains(reason), "\(result.errorOutput)")
        #expect(result.errorOutput.split(separator: "\n").count == 1)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root to become another user"))
    func whatCannotBeReadIsSaidAndTheRestEstimated() throws {
        let folder = try makeImages()
        try call { chmod(space.path, 0o755) }
        try call { chmod("\(folder)/first", 0o600) }
        let result = try ChildProcess.run(
            "setpriv",
            [
                "--reuid=61001", "--regid=61001", "--clear-groups", try Programs.forebay,
                "estimate", "--json", folder,
            ])
        #expect(result.status == 1)
        #expect(FlatJSON(result.output).integer("unreadable") == 1)
        #expect(FlatJSON(result.output).integer("files") == 1)
        #expect(result.errorOutput.contains("first"), "\(result.errorOutput)")
    }
}
