import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@Suite struct DirectoryListingTests {
    @Test func everyNameComesOnceFromAnyPlaceOn() throws {
        let folder = try TemporaryFolder()
        var expected: Set<String> = [".", ".."]
        for number in 0..<3000 {
            // Names of many lengths, so that records end everywhere in a buffer.
            let name = "n\(number)" + String(repeating: "x", count: number % 200)
            expected.insert(name)
            close(creat(folder.path(name), 0o600))
        }
        var listing = try open(folder, 0)
        var names: [String] = []
        var cookies: [UInt64] = [0]
        while let entry = try listing.peek() {
            #expect(listing.position == cookies.last)
            names.append(text(entry))
            cookies.append(entry.offset)
            listing.advance()
        }
        #expect(Set(names) == expected)
        #expect(names.count == expected.count)
        #expect(Set(cookies).count == cookies.count)
        for place in stride(from: 0, to: names.count, by: 97) {
            var rest = try open(folder, cookies[place])
            #expect(try rest.peek().map(text) == names[place])
        }
        for place in [1, 2, 700, 1499, 2998, 3001, 3002] {
            #expect(try self.rest(folder, cookies[place]) == Array(names[place...]))
        }
    }

    @Test func whatIsNotAdvancedComesAgain() throws {
        let folder = try TemporaryFolder()
        var listing = try open(folder, 0)
        let first = try listing.peek().map(text)
        #expect(try listing.peek().map(text) == first)
        listing.advance()
        #expect(try listing.peek().map(text) != first)
        listing.advance()
        #expect(try listing.peek() == nil)
        listing.advance()
        #expect(try listing.peek() == nil)
    }

    @Test func typesAndNumbersAreTheFiles() throws {
        let folder = try TemporaryFolder()
        _ = try folder.makeFolder("folder")
        try Files.write(folder.path("file"), "")
        symlink("nowhere", folder.path("link"))
        let types: [String: UInt8] = ["folder": 4, "file": 8, "link": 10, ".": 4, "..": 4]
        var listing = try open(folder, 0)
        while let entry = try listing.peek() {
            #expect(entry.type == types[text(entry)])
            let path = folder.path(text(entry))
            #expect(try Files.attributes(path, following: false).inode == entry.inode)
            listing.advance()
        }
    }

    private func open(_ folder: TemporaryFolder, _ cookie: UInt64) throws -> DirectoryListing {
        let raw = try Descriptor(path: folder.path, flags: O_RDONLY | O_DIRECTORY).release()
        return try DirectoryListing(
            file: BackingFile(owning: raw, access: .read), position: cookie)
    }

    private func rest(_ folder: TemporaryFolder, _ cookie: UInt64) throws -> [String] {
        var listing = try open(folder, cookie)
        var names: [String] = []
        while let entry = try listing.peek() {
            names.append(text(entry))
            listing.advance()
        }
        return names
    }

    private func text(_ entry: DirectoryListing.Entry) -> String {
        String(decoding: entry.name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
