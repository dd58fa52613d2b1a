import CLinux
import Glibc
import Passthrough
import Policy
import Syscalls
import TestSupport
import Testing

@Suite struct IdentityStoreTests {
    private let folder: TemporaryFolder
    private let root = FileHandle(type: 1, bytes: [1, 2, 3, 4])

    init() throws { folder = try TemporaryFolder() }

    private var state: String { folder.path("a/b/state") }
    private func open() -> IdentityStore { IdentityStore(folder: state, datastore: root) }

    private func identity(_ number: UInt8, name: [UInt8] = []) -> Identity {
        Identity(
            handle: FileHandle(type: 0x81, bytes: [number, 0, 255, 7]), parent: .max - 3,
            type: S_IFREG, name: name)
    }

    /// A killed server whose threads wait for the datastore keeps its locks for as long.
    @Test func locksOfAPredecessorDoNotMatter() throws {
        do {
            let store = open()
            store.remember(NodeID(5), identity(5))
            store.markComplete(true)
        }
        let left = try OpenFile(state + "/identity.db-shm", O_RDWR | O_CREAT)
        var lock = flock()
        lock.l_type = Int16(F_WRLCK)
        // F_OFD_SETLK, which Swift does not see: owned by the open file, not by this process.
        #expect(fcntl(left.raw, 37, &lock) == 0)
        let store = open()
        #expect(store.wasComplete)
        #expect(store.find(NodeID(5)) == identity(5))
        store.remember(NodeID(6), identity(6))
        store.flush()
        #expect(!Files.exists(state + "/identity.db.old"))
    }

    @Test func whatIsRememberedIsThereAfterReopening() {
        let highest = NodeID(.max)
        do {
            let store = open()
            store.remember(NodeID(5), identity(5))
            store.remember(highest, identity(6, name: [0xff, 0x20, 0x80]))
            // Found before it is written, too.
            #expect(store.find(NodeID(5)) == identity(5))
            store.flush()
            #expect(store.find(highest) == identity(6, name: [0xff, 0x20, 0x80]))
            #expect(store.find(NodeID(6)) == nil)
        }
        let store = open()
        #expect(store.find(NodeID(5)) == identity(5))
        #expect(store.find(highest) == identity(6, name: [0xff, 0x20, 0x80]))
        #expect(store.find(NodeID(6)) == nil)
    }

    @Test func whatIsForgottenIsGone() {
        do {
            let store = open()
            for number in 2..<5 as Range<UInt8> {
                store.remember(NodeID(UInt64(number)), identity(number))
            }
            store.flush()
            store.forget(NodeID(3))
            #expect(store.find(NodeID(3)) == nil)
            store.forget(NodeID(4))
            store.remember(NodeID(4), identity(40))
            store.flush()
            #expect(store.find(NodeID(3)) == nil)
        }
        let store = open()
        #expect(store.find(NodeID(2)) == identity(2))
        #expect(store.find(NodeID(3)) == nil)
        #expect(store.find(NodeID(4)) == identity(40))
    }

    @Test func twoFilesWithOneHashGetTwoNumbersForEver() {
        let first = FileHandle(type: 1, bytes: [1])
        let second = FileHandle(type: 1, bytes: [2])
        let third = FileHandle(type: 1, bytes: [3])
        do {
            let store = open()
            #expect(store.nodeID(of: second) == second.nodeID())
            // As if the first file's hash were the one of the second.
            store.remember(
                second.nodeID(), Identity(handle: first, parent: 1, type: S_IFREG))
            #expect(store.nodeID(of: second) == second.nodeID(salt: 1))
            // Twice in a row for the third.
            for salt in 0..<2 as Range<UInt64> {
                store.remember(
                    third.nodeID(salt: salt), Identity(handle: first, parent: 1, type: S_IFREG))
            }
            #expect(store.nodeID(of: third) == third.nodeID(salt: 2))
            // No flush: the number was revealed, so it is durable already.
        }
        do {
            let store = open()
            #expect(store.nodeID(of: second) == second.nodeID(salt: 1))
            #expect(store.nodeID(of: third) == third.nodeID(salt: 2))
            // The one in the way goes; the others keep their numbers.
            store.forget(second.nodeID())
            store.flush()
        }
        #expect(open().nodeID(of: second) == second.nodeID(salt: 1))
    }

    @Test func aFilesOwnIdentityIsNoCollision() {
        let handle = FileHandle(type: 1, bytes: [9])
        let store = open()
        let node = store.nodeID(of: handle)
        store.remember(node, Identity(handle: handle, parent: 1, type: S_IFREG))
        #expect(store.nodeID(of: handle) == node)
        store.flush()
        #expect(store.nodeID(of: handle) == node)
    }

    @Test func policiesAreDurableAtOnceAndGoWithTheFile() {
        do {
            let store = open()
            #expect(store.policies(of: NodeID(8)) == StoredPolicies())
            store.setPolicies(StoredPolicies(read: .pin), of: NodeID(8))
            store.setPolicies(StoredPolicies(read: .bypass, write: .through), of: NodeID(9))
            store.setPolicies(StoredPolicies(write: .through), of: NodeID(10))
            store.setPolicies(StoredPolicies(read: .normal), of: NodeID(11))
            store.setPolicies(StoredPolicies(), of: NodeID(11))
        }
        do {
            let store = open()
            #expect(store.policies(of: NodeID(8)) == StoredPolicies(read: .pin))
            #expect(
                store.policies(of: NodeID(9)) == StoredPolicies(read: .bypass, write: .through))
            #expect(store.policies(of: NodeID(10)) == StoredPolicies(write: .through))
            #expect(store.policies(of: NodeID(11)) == StoredPolicies())
            store.forget(NodeID(8))
        }
        #expect(open().policies(of: NodeID(8)) == StoredPolicies())
        #expect(open().policies(of: NodeID(9)).read == .bypass)
    }

    @Test func theKeyOfFingerprintsIsSecretAndStaysTheSame() throws {
        let key = open().fingerprintKey
        #expect(key.count == 64)
        #expect(Set(key).count > 16)
        #expect(open().fingerprintKey == key)
        let other = try TemporaryFolder()
        #expect(IdentityStore(folder: other.path, datastore: root).fingerprintKey != key)
        let mode = try Files.attributes(state).mode
        #expect(mode & 0o077 == 0)
    }

    @Test func aTableIsCompleteOnlyAfterACleanEnd() {
        do {
            let store = open()
            #expect(!store.wasComplete)
            store.remember(NodeID(5), identity(5))
            store.markComplete(true)
        }
        do {
            let store = open()
            #expect(store.wasComplete)
            #expect(store.find(NodeID(5)) == identity(5))
            // Ends without a word, as at a power failure.
        }
        do {
            let store = open()
            #expect(!store.wasComplete)
            store.markComplete(false)
        }
        #expect(!open().wasComplete)
    }

    @Test func theTableOfAnotherDatastoreIsPutAside() {
        let key: [UInt8]
        do {
            let store = open()
            key = store.fingerprintKey
            store.remember(NodeID(5), identity(5))
            store.setPolicies(StoredPolicies(read: .pin), of: NodeID(5))
            store.markComplete(true)
        }
        let other = IdentityStore(
            folder: state, datastore: FileHandle(type: 1, bytes: [1, 2, 3, 5]))
        #expect(!other.wasComplete)
        #expect(other.find(NodeID(5)) == nil)
        #expect(other.policies(of: NodeID(5)) == StoredPolicies())
        #expect(other.fingerprintKey != key)
        #expect(Files.exists("\(state)/identity.db.old"))
    }

    @Test func withoutAFolderTheTableIsInMemory() throws {
        try Files.write(folder.path("file"), "")
        let store = IdentityStore(folder: folder.path("file/below"), datastore: root)
        #expect(!store.wasComplete)
        #expect(store.fingerprintKey.count == 64)
        store.remember(NodeID(5), identity(5))
        store.flush()
        #expect(store.find(NodeID(5)) == identity(5))
        store.setPolicies(StoredPolicies(read: .bypass), of: NodeID(5))
        #expect(store.policies(of: NodeID(5)).read == .bypass)
        store.forget(NodeID(5))
        #expect(store.find(NodeID(5)) == nil)
        store.markComplete(true)
    }
}
