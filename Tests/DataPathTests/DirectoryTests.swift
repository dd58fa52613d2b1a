import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@testable import DataPath

@Suite struct DirectoryTests {
    private let fixture: Fixture
    private let folder: NodeID

    init() throws {
        fixture = try Fixture()
        mkdir(fixture.backing("d"), 0o755)
        folder = try fixture.datastore.lookup(parent: .root, name: "d").node
    }

    private func list(
        _ node: NodeID, from offset: UInt64 = 0, room: Int = .max, plus: Bool = false
    ) throws -> [Listed] {
        var collector = Collector(room: room)
        try fixture.datastore.readDirectory(node, offset: offset, plus: plus, into: &collector)
        return collector.entries
    }

    @Test func everyEntryComesOnceWhateverTheRoom() throws {
        var expected: Set<String> = [".", ".."]
        for number in 0..<500 {
            expected.insert("n\(number)")
            close(creat(fixture.backing("d/n\(number)"), 0o600))
        }
        let all = try list(folder)
        #expect(all.count == 502)
        #expect(Set(all.map(\.name)) == expected)
        for room in [1, 7, 100, 501, 502, 600] {
            var names: [String] = []
            var offset: UInt64 = 0
            while true {
                let part = try list(folder, from: offset, room: room)
                guard let last = part.last else { break }
                names += part.map(\.name)
                offset = last.offset
            }
            #expect(names == all.map(\.name))
        }
        // From any place, also by somebody else in between.
        for place in stride(from: 0, to: 500, by: 49) {
            let rest = try list(folder, from: all[place].offset, room: 20)
            #expect(rest.map(\.name) == all[(place + 1)...].prefix(20).map(\.name))
        }
        // By the datastore's cookies, which a successor understands.
        let reopened = try fixture.reopened()
        var collector = Collector(room: .max)
        try reopened.datastore.readDirectory(
            folder, offset: all[250].offset, plus: false, into: &collector)
        #expect(collector.entries.map(\.name) == all[251...].map(\.name))
        reopened.datastore.releaseDirectory(folder)
    }

    @Test func whatIsAskedForWithAttributesIsKnownAfterwards() throws {
        for name in ["a", "b"] { try Files.write(fixture.backing("d/\(name)"), name) }
        mkdir(fixture.backing("d/sub"), 0o755)
        for entry in try list(folder, plus: true) where !entry.name.hasPrefix(".") {
            let node = try #require(entry.node)
            let found = try fixture.datastore.lookup(parent: folder, name: entry.name)
            #expect(found.node == node)
            #expect(found.attributes.inode == entry.inode)
            #expect(UInt32(entry.type) << 12 == found.attributes.mode & S_IFMT)
        }
        #expect(try list(folder).allSatisfy { $0.node == nil })
    }

    @Test func readingFromTheBeginningSeesWhatIsNew() throws {
        try Files.write(fixture.backing("d/a"), "")
        #expect(try list(folder, room: 1).count == 1)
        try Files.write(fixture.backing("d/b"), "")
        #expect(try list(folder).count == 4)
        unlink(fixture.backing("d/a"))
        #expect(try list(folder).count == 3)
    }

    @Test func aboveTheRootThereIsNothing() throws {
        let inode = try Files.attributes(fixture.backing("")).inode
        for entry in try list(.root) where entry.name.hasPrefix(".") {
            #expect(entry.inode == inode)
        }
    }

    @Test func onlyFoldersAreListed() throws {
        let file = try fixture.file("f", [])
        let datastore = fixture.datastore
        #expect(throws: Errno.notDirectory) { _ = try list(file) }
        #expect(throws: Errno.notDirectory) { try datastore.openDirectory(file) }
        try datastore.openDirectory(folder)
        try datastore.syncDirectory(folder)
        try datastore.syncDirectory(.root)
        fixture.withoutWaiting { #expect(throws: Errno.mustWait) { _ = try list(folder) } }
    }
}

private struct Listed {
    let name: String
    let offset: UInt64
    let inode: UInt64
    let type: UInt8
    let node: NodeID?
}

/// Takes so many entries.
private struct Collector: DirectoryWriter {
    let room: Int
    var entries: [Listed] = []

    init(room: Int) { self.room = room }

    mutating func add(
        name: Name, offset: UInt64, inode: UInt64, type: UInt8, entry: Entry?
    ) -> Bool {
        guard entries.count < room else { return false }
        entries.append(
            Listed(
                name: String(cString: name), offset: offset, inode: inode, type: type,
                node: entry?.node))
        return true
    }
}
