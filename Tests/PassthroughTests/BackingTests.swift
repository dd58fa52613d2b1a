import CLinux
import Glibc
import Passthrough
import Syscalls
import TestSupport
import Testing

@Suite struct BackingTests {
    init() { WaitMode.set(mayWait: true) }

    @Test func aFolderThatIsNotThereIsRefused() throws {
        let folder = try TemporaryFolder()
        #expect(throws: Errno.noEntry) { try Backing(path: folder.path("no")) }
        try Files.write(folder.path("file"), "")
        #expect(throws: Errno.notDirectory) { try Backing(path: folder.path("file")) }
    }

    @Test(.enabled(if: geteuid() == 0)) func aFileIsOpenedByItsHandle() throws {
        let folder = try TemporaryFolder()
        try Files.write(folder.path("a"), "first")
        let backing = try Backing(path: folder.path)
        #expect(backing.hasHandles)
        #expect(!backing.isNetwork)
        #expect(!backing.isReadOnly)
        let handle = try identify(backing, folder.path("a")).handle
        #expect(rename(folder.path("a"), folder.path("b")) == 0)
        let file = try backing.open(handle, .write, type: S_IFREG, errors: nil)
        #expect(pwrite(file.descriptor, "F", 1, 0) == 1)
        #expect(try Files.text(folder.path("b")) == "First")
        unlink(folder.path("b"))
        try Files.write(folder.path("b"), "other")
        withExtendedLifetime(file) {}
    }

    @Test(.enabled(if: geteuid() == 0)) func theHandleOfAFileThatIsGoneIsStale() throws {
        let folder = try TemporaryFolder()
        try Files.write(folder.path("a"), "first")
        let backing = try Backing(path: folder.path)
        let handle = try identify(backing, folder.path("a")).handle
        unlink(folder.path("a"))
        try Files.write(folder.path("b"), "takes the number")
        #expect(throws: Errno.stale) {
            _ = try backing.open(handle, .path, type: S_IFREG, errors: nil)
        }
        let nonsense = FileHandle(type: handle.type, bytes: [1, 2, 3])
        #expect(throws: Errno.stale) {
            _ = try backing.open(nonsense, .read, type: S_IFREG, errors: nil)
        }
        let long = FileHandle(type: handle.type, bytes: [UInt8](repeating: 0, count: 500))
        #expect(throws: Errno.stale) {
            _ = try backing.open(long, .read, type: S_IFREG, errors: nil)
        }
    }

    @Test func identifyingTellsNameAndAttributes() throws {
        let folder = try TemporaryFolder()
        try Files.write(folder.path("a"), "12345")
        #expect(link(folder.path("a"), folder.path("b")) == 0)
        try Files.write(folder.path("c"), "12345")
        let backing = try Backing(path: folder.path)
        let (handle, attributes) = try identify(backing, folder.path("a"))
        #expect(attributes.size == 5)
        #expect(attributes.links == 2)
        let second = try identify(backing, folder.path("b"))
        #expect(second.handle == handle)
        let third = try identify(backing, folder.path("c"))
        #expect(third.handle != handle)
        let root = try identify(backing, folder.path)
        #expect(root.handle == backing.rootHandle)
    }

    @Test(.enabled(if: Machine.canMount)) func anotherFileSystemBelowIsRefused() throws {
        let folder = try TemporaryFolder()
        let nested = try folder.makeFolder("nested")
        #expect(CLinux_mount("none", nested, "tmpfs", 0, "size=1m") == 0)
        try Files.write("\(nested)/file", "")
        let backing = try Backing(path: folder.path)
        #expect(throws: Errno.crossDevice) { _ = try identify(backing, nested) }
        #expect(throws: Errno.crossDevice) { _ = try identify(backing, "\(nested)/file") }
        #expect(umount2(nested, 0) == 0)
        _ = try identify(backing, nested)
    }

    @Test func aThreadThatMayNotWaitIsSentAway() throws {
        let folder = try TemporaryFolder()
        let backing = try Backing(path: folder.path)
        WaitMode.set(mayWait: false)
        defer { WaitMode.set(mayWait: true) }
        var isAsked = false
        #expect(throws: Errno.mustWait) { try backing.ask { () throws(Errno) in isAsked = true } }
        #expect(!isAsked)
    }

    @Test func linksAreNotFollowedAndNothingBlocks() {
        for access in [Access.path, .read, .write] {
            for type in [S_IFREG, S_IFDIR, S_IFLNK] {
                let flags = Backing.flags(access, type: type)
                #expect(flags & O_NOFOLLOW != 0)
                #expect(flags & O_CLOEXEC != 0)
                #expect(flags & (O_APPEND | O_TRUNC | O_CREAT) == 0)
                if access != .path { #expect(flags & O_NONBLOCK != 0) }
            }
        }
        #expect(Backing.flags(.read, type: S_IFDIR) & O_DIRECTORY != 0)
        #expect(Backing.flags(.write, type: S_IFREG) & O_ACCMODE == O_RDWR)
    }

    private func identify(
        _ backing: Backing, _ path: String
    ) throws -> (handle: FileHandle, attributes: Attributes) {
        let file = try OpenFile(path, CLinux_O_PATH | O_NOFOLLOW)
        return try backing.identify(descriptor: file.raw)
    }
}
