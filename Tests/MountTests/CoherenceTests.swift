import CLinux
import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// Changes made on the datastore itself, behind the mount, are seen: by the next open, and by
    /// open files and maps when the attributes expire (`attr_timeout`, 1 s here).
    @Suite(.serialized) struct CoherenceTests {
        private static let blocks = 64
        private static let size = blocks * 4096

        private func withFile(
            _ body: (_ mount: ForebayMount, _ datastore: TestDatastore) throws -> Void
        ) throws {
            try withForebay(
                options: ["attr_timeout=1"],
                prepare: {
                    try Content.write($0.folderPath("file"), seed: 1, count: Self.blocks)
                }, body)
        }

        /// Reads by every way, so that all caches have it.
        private func warm(_ mount: ForebayMount) throws {
            let expected = Content.blocks(seed: 1, count: Self.blocks)
            #expect(try Files.read(mount.path("file")) == expected)
            #expect(try readDirect(mount.path("file")) == expected)
        }

        /// Waits until attributes that were known before have expired.
        private func expire() { sleep(milliseconds: 1_500) }

        private func expectContents(
            _ mount: ForebayMount, _ expected: [UInt8], _ name: String = "file",
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let isSeen = try eventually(within: 5) { try Files.read(mount.path(name)) == expected }
            #expect(isSeen, "buffered", sourceLocation: sourceLocation)
            let found = try readDirect(mount.path(name))
            #expect(found == expected, "direct", sourceLocation: sourceLocation)
            let size = try status(mount.path(name)).size
            #expect(size == UInt64(expected.count), sourceLocation: sourceLocation)
        }

        @Test func contentsOfTheSameSize() throws {
            try withFile { mount, datastore in
                try warm(mount)
                let changed = Content.blocks(seed: 2, count: Self.blocks)
                try OpenFile(datastore.folderPath("file"), O_RDWR).write(changed, at: 0)
                expire()
                try expectContents(mount, changed)
                // One block in the middle, several times.
                for round in 3..<6 as Range<UInt64> {
                    var next = try Files.read(datastore.folderPath("file"))
                    let block = Content.block(seed: round, number: 7)
                    next.replaceSubrange(7 * 4096..<8 * 4096, with: block)
                    try OpenFile(datastore.folderPath("file"), O_RDWR).write(block, at: 7 * 4096)
                    expire()
                    try expectContents(mount, next)
                }
            }
        }

        /// A restore sets the old time again; the time of change tells.
        @Test func timeSetBack() throws {
            try withFile { mount, datastore in
                try warm(mount)
                let path = datastore.folderPath("file")
                let before = try status(path)
                let changed = Content.blocks(seed: 2, count: Self.blocks)
                try OpenFile(path, O_RDWR).write(changed, at: 0)
                try must {
                    CPosix_utimens(
                        AT_FDCWD, path, before.accessed_seconds,
                        Int64(before.accessed_nanoseconds), before.modified_seconds,
                        Int64(before.modified_nanoseconds), 0)
                }
                #expect(try status(path).modified == before.modified)
                expire()
                try expectContents(mount, changed)
            }
        }

        @Test func sizes() throws {
            try withFile { mount, datastore in
                try warm(mount)
                var model = Content.blocks(seed: 1, count: Self.blocks)
                let path = datastore.folderPath("file")
                try must { truncate(path, 10_001) }
                model.removeLast(Self.size - 10_001)
                expire()
                try expectContents(mount, model)
                try OpenFile(path, O_RDWR).write(pattern(30_000), at: 20_000)
                model += [UInt8](repeating: 0, count: 9_999) + pattern(30_000)
                expire()
                try expectContents(mount, model)
                try must { truncate(path, 0) }
                expire()
                try expectContents(mount, [])
            }
        }

        @Test func replacedFile() throws {
            try withFile { mount, datastore in
                try warm(mount)
                let opened = try DirectReader(mount.path("file"))
                try Content.write(datastore.folderPath("new"), seed: 2, count: Self.blocks)
                try must { rename(datastore.folderPath("new"), datastore.folderPath("file")) }
                expire()
                try expectContents(mount, Content.blocks(seed: 2, count: Self.blocks))
                let inode = try status(mount.path("file")).inode
                #expect(try inode == status(datastore.folderPath("file")).inode)
                // Who had the old file open has it or an error, never the new one's bytes.
                let old = try? opened.once(4096, at: 0)
                if let old { #expect(old == Content.block(seed: 1, number: 0)) }
            }
        }

        @Test func namesThatComeAndGo() throws {
            try withFile { mount, datastore in
                try warm(mount)
                // A name that was looked for and missed is seen as soon as it is there.
                var attributes = CLinux_attributes()
                for number in 0..<5 {
                    let name = "new-\(number)"
                    expect(.noEntry) { CLinux_statx(AT_FDCWD, mount.path(name), 0, &attributes) }
                    try Files.write(datastore.folderPath(name), [UInt8(number)])
                    let isSeen = eventually(within: 5) {
                        (try? Files.read(mount.path(name))) == [UInt8(number)]
                    }
                    #expect(isSeen)
                }
                #expect(try Files.names(mount.path).count == 6)
                try must { unlink(datastore.folderPath("file")) }
                try must { unlink(datastore.folderPath("new-0")) }
                expire()
                for name in ["file", "new-0"] {
                    let isGone = eventually(within: 5) {
                        failure { CLinux_open(mount.path(name), O_RDONLY, 0) } == .noEntry
                    }
                    #expect(isGone, "\(name)")
                }
                #expect(try Files.names(mount.path).count == 4)
                try must { rename(datastore.folderPath("new-1"), datastore.folderPath("moved")) }
                expire()
                let isMoved = eventually(within: 5) {
                    (try? Files.read(mount.path("moved"))) == [1]
                        && !Files.exists(mount.path("new-1"))
                }
                #expect(isMoved)
            }
        }

        @Test func attributes() throws {
            try withFile { mount, datastore in
                try warm(mount)
                try must { chmod(datastore.folderPath("file"), 0o601) }
                try must { chown(datastore.folderPath("file"), User.first, User.groupA) }
                expire()
                let isSeen = try eventually(within: 5) {
                    let found = try status(mount.path("file"))
                    return found.permissions == 0o601 && found.uid == User.first
                        && found.gid == User.groupA
                }
                #expect(isSeen)
            }
        }

        /// What was open all the time, and what is mapped, follows when the attributes expire.
        @Test func openFilesAndMaps() throws {
            try withFile { mount, datastore in
                let file = try TestFile(mount.path("file"), O_RDWR)
                let address = mmap(nil, Self.size, PROT_READ, MAP_SHARED, file.raw, 0)
                let base = try #require(address != MAP_FAILED ? address : nil)
                defer { munmap(base, Self.size) }
                let memory = UnsafeRawBufferPointer(start: base, count: Self.size)
                #expect(Array(memory) == Content.blocks(seed: 1, count: Self.blocks))
                let changed = Content.blocks(seed: 2, count: Self.blocks)
                try OpenFile(datastore.folderPath("file"), O_RDWR).write(changed, at: 0)
                let isRead = try eventually(within: 10) {
                    sleep(milliseconds: 200)
                    // A file in use: its attributes are asked for, as nfsd does.
                    _ = try status(of: file)
                    return try file.read(Self.size) == changed
                }
                #expect(isRead, "the open file")
                let isMapped = eventually(within: 5) { Array(memory) == changed }
                #expect(isMapped, "the map")
            }
        }

        /// Our own writes are no change from outside: the cache stays warm.
        @Test func ownWritesKeepTheCache() throws {
            try withFile { mount, datastore in
                try warm(mount)
                let file = try TestFile(mount.path("file"), O_RDWR)
                for round in 0..<4 {
                    try file.write(pattern(4096, seed: UInt64(round)), at: round * 4096)
                    try must { fsync(file.raw) }
                    expire()
                    _ = try status(mount.path("file"))
                    try datastore.resetCounts()
                    let found = try readDirect(mount.path("file"))
                    #expect(
                        Array(found[(8 * 4096)...])
                            == Array(Content.blocks(seed: 1, count: Self.blocks)[(8 * 4096)...]))
                    // At most what was written is read again.
                    let read = try datastore.counts().readBytes
                    #expect(read <= UInt64((round + 1) * 4096), "\(read) bytes, round \(round)")
                }
            }
        }
    }
}
