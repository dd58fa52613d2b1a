import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

/// The misbehaving datastore itself: what other tests conclude rests on it.
@Suite(.serialized, .enabled(if: Machine.canMount, "needs root and /dev/fuse"))
struct TestDatastoreTests {
    @Test func passesContentsAndAttributesThrough() throws {
        try withDatastore { datastore in
            try Content.write(datastore.path("disk"), seed: 1, count: 300)
            let (disk, copy) = (datastore.path("disk"), datastore.path("copy"))
            try ChildProcess.check("cp", ["-a", "--reflink=never", disk, copy])
            #expect(try Files.haveEqualContents(disk, datastore.folderPath("copy")))
            let below = try Files.attributes(datastore.folderPath("copy"))
            let above = try Files.attributes(datastore.path("copy"))
            #expect(below.inode == above.inode)
            #expect(below.modified_nanoseconds == above.modified_nanoseconds)
            #expect(below.size == 300 * 4096)
            let counts = try datastore.counts()
            #expect(counts.writeBytes == 600 * 4096)
            #expect(counts.readBytes >= 600 * 4096)
        }
    }

    @Test func failsWhatItIsToldToFail() throws {
        try withDatastore { datastore in
            try Files.write(datastore.path("file"), "contents")
            let file = try OpenFile(datastore.path("file"), O_RDWR)
            try datastore.fail("read", "ESTALE", count: 2)
            try datastore.fail("write", "ENOSPC")
            #expect(throws: Errno.stale) { _ = try file.read(at: 0, count: 1) }
            #expect(throws: Errno.noSpace) { try file.write([1], at: 0) }
            #expect(throws: Errno.stale) { _ = try file.read(at: 0, count: 1) }
            #expect(try file.read(at: 0, count: 8) == Array("contents".utf8))
            try datastore.heal()
            try file.write([1], at: 0)
            #expect(try datastore.counts().failed == 3)
            #expect(throws: TestFailure.self) { try datastore.hang("juggle") }
        }
    }

    @Test func holdsReadersWhileOthersPass() throws {
        try withDatastore { datastore in
            try Content.write(datastore.path("disk"), seed: 1, count: 100)
            let file = try OpenFile(datastore.path("disk"), O_RDONLY)
            try datastore.hang("read")
            let ended = Condition(0)
            let readers = try Thread(name: "readers") {
                try? concurrently(100) { number in
                    let offset = UInt64(number * Content.blockSize)
                    let bytes = try file.read(at: offset, count: Content.blockSize)
                    let wanted = Content.block(seed: 1, number: UInt64(number))
                    if bytes == wanted { ended.update { $0 += 1 } }
                }
            }
            try datastore.waitUntilHeld(100)
            // Everything but reads goes on.
            try Files.write(datastore.path("other"), "other")
            #expect(try Files.names(datastore.path) == ["disk", "other"])
            #expect(ended.withLock { $0 } == 0)
            try datastore.unhang("read")
            readers.join()
            #expect(ended.withLock { $0 } == 100)
            #expect(try datastore.counts().mostUnderWay >= 100)
        }
    }

    @Test func keepsFileHandlesWhenTheKernelHasForgottenThem() throws {
        try withDatastore { datastore in
            _ = try call { mkdir(datastore.path("folder"), 0o755) }
            try Files.write(datastore.path("folder/file"), "contents")
            let root = try OpenFile(datastore.path, O_RDONLY)
            let handle = try FileHandle(datastore.path("folder/file"))
            Machine.dropCaches()
            let contents = try handle.open(mount: root.raw).read(at: 0, count: 100)
            #expect(contents == Array("contents".utf8))
            // Removed and made again: another file, whatever its inode number is.
            Files.removeTree(datastore.path("folder/file"))
            try Files.write(datastore.path("folder/file"), "other")
            Machine.dropCaches()
            #expect(throws: Errno.stale) { _ = try handle.open(mount: root.raw) }
            #expect(try FileHandle(datastore.path("folder/file")).bytes != handle.bytes)
        }
    }

    @Test func losesWhatWasNotFlushedWhenThePowerFails() throws {
        try withDatastore { datastore in
            let before = Content.blocks(seed: 1, count: 64)
            try Files.write(datastore.path("device"), before)
            let device = try OpenFile(datastore.path("device"), O_RDWR | OpenFile.direct)
            try datastore.setVolatile(true)
            let flushed = Content.blocks(seed: 2, count: 8)
            try device.write(flushed, at: 0)
            try device.sync()
            #expect(try datastore.cut(seed: 1) == 0)
            var lost: Set<Int> = []
            for seed in 0..<12 as Range<UInt64> {
                let fresh = Content.blocks(seed: 3 + seed, count: 8)
                let old = try device.read(at: 8 * 4096, count: 8 * 4096)
                try device.write(Array(fresh[..<20_480]), at: 8 * 4096)
                try device.write(Array(fresh[8192...]), at: 10 * 4096)
                #expect(try device.read(at: 8 * 4096, count: 8 * 4096) == fresh)
                lost.insert(try datastore.cut(seed: seed))
                let found = try device.read(at: 8 * 4096, count: 8 * 4096)
                for start in stride(from: 0, to: found.count, by: 512) {
                    let sector = found[start..<start + 512]
                    #expect(
                        sector == fresh[start..<start + 512] || sector == old[start..<start + 512])
                }
            }
            #expect(lost.contains(0) && lost.contains(88) && lost.count > 4, "\(lost)")
            #expect(try device.read(at: 0, count: 8 * 4096) == flushed)
        }
    }

    @Test func letsKilledClientsGo() throws {
        try withDatastore { datastore in
            try Files.write(datastore.path("file"), "contents")
            try datastore.hang("read")
            let reader = try ChildProcess("cat", [datastore.path("file")])
            try datastore.waitUntilHeld(1)
            reader.signal(SIGKILL)
            #expect(reader.wait(seconds: 10)?.status == 128 + SIGKILL)
            #expect(try datastore.counts().held == 0)
        }
    }

    @Test func endsWhileRequestsHang() throws {
        let datastore = try TestDatastore()
        try Files.write(datastore.path("file"), "contents")
        let file = try OpenFile(datastore.path("file"), O_RDONLY)
        try datastore.hang()
        let reader = try Thread(name: "reader") { _ = try? file.read(at: 0, count: 1) }
        try datastore.waitUntilHeld(1)
        let pid = datastore.pid
        kill(pid, SIGTERM)
        reader.join()
        datastore.stop()
        #expect(Mounts.at(datastore.path) == nil)
        #expect(!ProcessTable.isAlive(pid))
    }
}

/// A file handle of a mounted file system (name_to_handle_at(2)).
private struct FileHandle {
    private(set) var bytes = [UInt8](repeating: 0, count: 128)
    private var length: UInt32 = 0
    private var type: Int32 = 0

    init(_ path: String) throws(Errno) {
        var mount: Int32 = 0
        let file = try Descriptor(path: path, flags: CLinux_O_PATH)
        let raw = file.raw
        try call {
            CLinux_name_to_handle(
                raw, "", CLinux_AT_EMPTY_PATH, &bytes, &length, &type, &mount)
        }
    }

    func open(mount: Int32) throws(Errno) -> OpenFile {
        let raw = try call { CLinux_open_by_handle(mount, bytes, length, type, O_RDONLY) }
        defer { close(raw) }
        return try OpenFile("/proc/self/fd/\(raw)", O_RDONLY)
    }
}
