import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

/// Whatever a disk makes of `identity.db`, the mount begins and goes on.
@Suite struct IdentityDamageTests {
    private let folder: TemporaryFolder
    private let root = FileHandle(type: 1, bytes: [1, 2, 3, 4])
    private let handles: [FileHandle]

    init() throws {
        folder = try TemporaryFolder()
        handles = (0..<80).map { FileHandle(type: 1, bytes: [UInt8($0), 2, 3, 4, 5, 6, 7, 8]) }
    }

    private var path: String { folder.path("identity.db") }
    private func open() -> IdentityStore { IdentityStore(folder: folder.path, datastore: root) }

    /// The bytes of a table with some of everything.
    private func sound() throws -> [UInt8] {
        do {
            let store = open()
            for handle in handles { store.remember(handle.nodeID(), identity(handle)) }
            store.remember(handles[1].nodeID(), identity(handles[0]))
            _ = store.nodeID(of: handles[1])
            store.setPolicies(StoredPolicies(read: .pin), of: handles[7].nodeID())
            store.markComplete(true)
        }
        // Closing the last connection moves everything from the journal into the file.
        #expect(!Files.exists(path + "-wal"))
        return try Files.read(path)
    }

    private func identity(_ handle: FileHandle) -> Identity {
        Identity(handle: handle, parent: 1, type: S_IFREG)
    }

    private func replace(_ bytes: [UInt8]) throws {
        for suffix in ["", ".old", "-wal", "-shm", "-journal"] { unlink(path + suffix) }
        try Files.write(path, bytes)
    }

    /// Everything that a mount does with the table works, and what it learns lasts.
    private func use(_ what: String) {
        do {
            let store = open()
            #expect(store.fingerprintKey.count == 64, "\(what)")
            for handle in handles {
                _ = store.find(handle.nodeID())
                _ = store.nodeID(of: handle)
                _ = store.policies(of: handle.nodeID())
            }
            store.setPolicies(StoredPolicies(read: .bypass), of: NodeID(77))
            store.remember(NodeID(77), identity(handles[0]))
            store.forget(handles[9].nodeID())
            store.markComplete(true)
        }
        _ = open().policies(of: NodeID(77))
    }

    @Test func whatIsNoDatabaseIsPutAside() throws {
        var generator = SplitMix64(seed: 3)
        for bytes in [generator.bytes(100), generator.bytes(20_000), Array("text\n".utf8)] {
            try replace(bytes)
            let store = open()
            #expect(!store.wasComplete)
            store.remember(NodeID(4), identity(handles[4]))
            store.flush()
            #expect(try Files.read(path + ".old") == bytes)
            #expect(open().find(NodeID(4)) == identity(handles[4]))
        }
    }

    @Test func anEmptyFileIsABeginning() throws {
        try replace([])
        #expect(!open().wasComplete)
        use("empty")
    }

    @Test func aTableOfALaterVersionIsPutAside() throws {
        // The version is one byte after its key, in the only row that has it.
        var bytes = try sound()
        let key = Array("version".utf8)
        let place = try #require(
            bytes.indices.first { bytes[$0...].starts(with: key + [1]) })
        bytes[place + key.count] = 2
        try replace(bytes)
        #expect(!open().wasComplete)
        #expect(try Files.read(path + ".old") == bytes)
    }

    @Test func truncatedTablesDoNotTrap() throws {
        let bytes = try sound()
        for length in stride(from: 1, to: bytes.count, by: 2500) {
            try replace(Array(bytes[..<length]))
            use("cut to \(length) bytes")
        }
    }

    @Test func flippedBitsDoNotTrap() throws {
        let bytes = try sound()
        var generator = SplitMix64(seed: 11)
        for round in 0..<130 {
            var damaged = bytes
            // Every second time near the beginning of a page, where its structure is told.
            for _ in 0...(round % 3) {
                var place = Int.random(in: 0..<bytes.count, using: &generator)
                if round % 2 == 0 { place = place / 4096 * 4096 + place % 108 }
                damaged[min(place, bytes.count - 1)] ^=
                    1
                    << UInt8.random(
                        in: 0..<8, using: &generator)
            }
            try replace(damaged)
            use("round \(round)")
        }
    }

    @Test func overwrittenPagesDoNotTrap() throws {
        let bytes = try sound()
        var generator = SplitMix64(seed: 12)
        for page in 0..<bytes.count / 4096 {
            for fill in [generator.bytes(4096), [UInt8](repeating: 0, count: 4096)] {
                var damaged = bytes
                damaged.replaceSubrange(page * 4096..<(page + 1) * 4096, with: fill)
                try replace(damaged)
                use("page \(page)")
            }
        }
    }
}
