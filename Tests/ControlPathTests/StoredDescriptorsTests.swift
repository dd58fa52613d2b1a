import Glibc
import Syscalls
import TestSupport
import Testing

@testable import ControlPath

@Suite struct StoredDescriptorsTests {
    private let names = KeptName.allCases.map(\.rawValue)

    /// As many open descriptors as there are names; `lock` is a file with this text.
    private func open(lock text: String) throws -> [Int32] {
        try names.map { name in
            let file = try SharedMemory.create(name: name, size: 0)
            let bytes = Array((name == "lock" ? text : "").utf8)
            try call { write(file, bytes, bytes.count) }
            return file
        }
    }

    @Test func oneOfEachIsASet() throws {
        let files = try open(lock: "/srv\n/mnt\nname=x\n")
        defer { for file in files { close(file) } }
        let stored = StoredDescriptors(numbers: files, names: names)
        #expect(stored.isAlive)
        #expect(stored[.fuse] == files[0])
        #expect(stored.mount?.mountpoint == "/srv")
        #expect(stored.mount?.backing == "/mnt")
        #expect(stored.mount?.options == "name=x")
        #expect(!StoredDescriptors(numbers: Array(files.dropLast()), names: names).isAlive)
        let twice = ["fuse"] + names.dropFirst().map { $0 == "slots" ? "fuse" : $0 }
        #expect(!StoredDescriptors(numbers: files, names: twice).isAlive)
        #expect(!StoredDescriptors(numbers: [], names: []).isAlive)
    }

    /// A descriptor that reports an error, as /dev/fuse does once its mount is gone.
    @Test func aSetWithoutItsMountIsDead() throws {
        var files = try open(lock: "/srv\n/mnt\nname=x\n")
        var ends: [Int32] = [-1, -1]
        try call { pipe(&ends) }
        close(files[0])
        files[0] = ends[1]
        close(ends[0])
        defer { for file in files { close(file) } }
        #expect(!StoredDescriptors(numbers: files, names: names).isAlive)
    }

    @Test func whatIsNotForThisProcessIsLeft() {
        setenv("LISTEN_PID", "1", 1)
        setenv("LISTEN_FDS", "5", 1)
        #expect(StoredDescriptors.take().isEmpty)
        #expect(getenv("LISTEN_FDS") == nil)
    }
}
