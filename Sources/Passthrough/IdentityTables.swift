import CLinux
import Glibc
import Policy
import Syscalls

// The tables of `identity.db`, version 1:
//
//   meta(key TEXT PRIMARY KEY, value BLOB)     'version' 1 byte, 'key' 64 random bytes,
//                                              'datastore' handle of the root, 'complete' 0 or 1
//   identity(node INTEGER PRIMARY KEY, type, handle BLOB, parent, mode, name BLOB)
//   remapped(type, handle BLOB, node, PRIMARY KEY (type, handle))
//   policy(node INTEGER PRIMARY KEY, cache, write)      0 = inherited
//
// SQLite's journal makes each change whole; a file that is not a database, or of another version or
// datastore, is renamed to `identity.db.old` and a new one is begun.

/// What is read from the file at start.
struct OpenedIdentity: ~Copyable {
    private(set) var database: Database?
    var isComplete = false
    var fingerprintKey: [UInt8] = OpenedIdentity.randomKey()
    var remapped: [FileHandle: UInt64] = [:]
    var policies: [UInt64: StoredPolicies] = [:]

    /// The version of the tables that this program reads and writes.
    static let version: [UInt8] = [1]

    /// Nothing on disk.
    init() { database = nil }

    init(folder: String, datastore: FileHandle) throws(Database.Failure) {
        try Self.makeFolder(folder)
        let path = folder + "/identity.db"
        // A server that was killed is not gone before its calls on the datastore have ended, and
        // keeps the locks that SQLite places on this file. Nobody else has the table open: names
        // of mounts are locked.
        unlink(path + "-shm")
        do throws(Database.Failure) {
            try self.init(path: path, datastore: datastore)
        } catch {
            if error.isBusy { throw error }
            SystemLog.warning("\(path): \(error.message); it is put aside as identity.db.old")
            rename(path, path + ".old")
            for suffix in ["-wal", "-shm", "-journal"] { unlink(path + suffix) }
            try self.init(path: path, datastore: datastore)
        }
    }

    private init(path: String, datastore: FileHandle) throws(Database.Failure) {
        let database = try Database(path: path)
        try database.prepareTables()
        if let version = try database.meta("version"), version != Self.version {
            throw .init(message: "version \(version) of the table is not known")
        }
        let identity = [UInt8(truncatingIfNeeded: datastore.type)] + datastore.bytes
        if let stored = try database.meta("datastore"), stored != identity {
            throw .init(message: "the table belongs to another datastore")
        }
        // Each change waits for the disk, and clients for the start.
        if try database.meta("version") != Self.version {
            try database.setMeta("version", Self.version)
        }
        if try database.meta("datastore") == nil { try database.setMeta("datastore", identity) }
        if let key = try database.meta("key"), key.count == 64 {
            fingerprintKey = key
        } else {
            try database.setMeta("key", fingerprintKey)
        }
        isComplete = try database.meta("complete") == [1]
        // Until a clean end says so again, the table may lack what was written behind.
        if isComplete { try database.setMeta("complete", [0]) }
        remapped = try database.allRemapped()
        policies = try database.allPolicies()
        self.database = consume database
    }

    mutating func takeDatabase() -> Database? {
        let taken = database.take()
        return taken
    }

    private static func randomKey() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<64).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    /// Makes the folder and its parents, readable for root only.
    private static func makeFolder(_ folder: String) throws(Database.Failure) {
        var path = ""
        for part in folder.split(separator: "/") {
            path += "/" + part
            mkdir(path, 0o700)
        }
        if access(folder, W_OK) != 0 {
            throw .init(message: "\(Errno.last)")
        }
    }
}

extension Database {
    func prepareTables() throws(Failure) {
        try execute("PRAGMA journal_mode=WAL")
        try execute("PRAGMA synchronous=FULL")
        try execute("CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value BLOB)")
        try execute(
            "CREATE TABLE IF NOT EXISTS identity(node INTEGER PRIMARY KEY, type INTEGER, "
                + "handle BLOB, parent INTEGER, mode INTEGER, name BLOB)")
        try execute(
            "CREATE TABLE IF NOT EXISTS remapped(type INTEGER, handle BLOB, node INTEGER, "
                + "PRIMARY KEY (type, handle))")
        try execute(
            "CREATE TABLE IF NOT EXISTS policy(node INTEGER PRIMARY KEY, cache INTEGER, "
                + "write INTEGER)")
    }

    func meta(_ key: String) throws(Failure) -> [UInt8]? {
        let statement = try prepare("SELECT value FROM meta WHERE key = CAST(? AS TEXT)")
        statement.bind(1, Array(key.utf8))
        return try statement.step() ? statement.bytes(0) : nil
    }

    func setMeta(_ key: String, _ value: [UInt8]) throws(Failure) {
        let statement = try prepare(
            "INSERT OR REPLACE INTO meta VALUES (CAST(? AS TEXT), ?)")
        statement.bind(1, Array(key.utf8))
        statement.bind(2, value)
        _ = try statement.step()
    }

    func setComplete(_ isComplete: Bool) throws(Failure) {
        try setMeta("complete", [isComplete ? 1 : 0])
    }

    func identity(of node: UInt64) throws(Failure) -> Identity? {
        let statement = try prepare(
            "SELECT type, handle, parent, mode, name FROM identity WHERE node = ?")
        statement.bind(1, node)
        guard try statement.step() else { return nil }
        let type = Int32(truncatingIfNeeded: Int64(bitPattern: statement.integer(0)))
        return Identity(
            handle: FileHandle(type: type, bytes: statement.bytes(1)),
            parent: statement.integer(2), type: UInt32(truncatingIfNeeded: statement.integer(3)),
            name: statement.bytes(4))
    }

    /// Writes changes in one transaction; nil = the node is gone.
    func write(_ changes: [UInt64: Identity?]) throws(Failure) {
        // What is lost with the machine's power is found again in the datastore's tree, so only
        // the death of this process has to be survived: that takes no fsync, and can be often.
        try execute("PRAGMA synchronous=NORMAL")
        defer { try? execute("PRAGMA synchronous=FULL") }
        try execute("BEGIN")
        do throws(Failure) {
            let insert = try prepare(
                "INSERT OR REPLACE INTO identity VALUES (?, ?, ?, ?, ?, ?)")
            let delete = try prepare("DELETE FROM identity WHERE node = ?")
            for (node, identity) in changes {
                guard let identity else {
                    delete.bind(1, node)
                    _ = try delete.step()
                    delete.reset()
                    continue
                }
                insert.bind(1, node)
                insert.bind(2, UInt64(bitPattern: Int64(identity.handle.type)))
                insert.bind(3, identity.handle.bytes)
                insert.bind(4, identity.parent)
                insert.bind(5, UInt64(identity.type))
                insert.bind(6, identity.name)
                _ = try insert.step()
                insert.reset()
            }
            try execute("COMMIT")
        } catch {
            try? execute("ROLLBACK")
            throw error
        }
    }

    func remember(remapped handle: FileHandle, node: UInt64) throws(Failure) {
        let statement = try prepare("INSERT OR REPLACE INTO remapped VALUES (?, ?, ?)")
        statement.bind(1, UInt64(bitPattern: Int64(handle.type)))
        statement.bind(2, handle.bytes)
        statement.bind(3, node)
        _ = try statement.step()
    }

    func allRemapped() throws(Failure) -> [FileHandle: UInt64] {
        let statement = try prepare("SELECT type, handle, node FROM remapped")
        var all: [FileHandle: UInt64] = [:]
        while try statement.step() {
            let type = Int32(truncatingIfNeeded: Int64(bitPattern: statement.integer(0)))
            all[FileHandle(type: type, bytes: statement.bytes(1))] = statement.integer(2)
        }
        return all
    }

    func allPolicies() throws(Failure) -> [UInt64: StoredPolicies] {
        let statement = try prepare("SELECT node, cache, write FROM policy")
        var all: [UInt64: StoredPolicies] = [:]
        while try statement.step() {
            all[statement.integer(0)] = StoredPolicies(
                read: ReadPolicy(rawValue: UInt8(truncatingIfNeeded: statement.integer(1))),
                write: WritePolicy(rawValue: UInt8(truncatingIfNeeded: statement.integer(2))))
        }
        return all
    }

    func setPolicies(_ policies: StoredPolicies?, of node: UInt64) throws(Failure) {
        guard let policies else {
            let statement = try prepare("DELETE FROM policy WHERE node = ?")
            statement.bind(1, node)
            _ = try statement.step()
            return
        }
        let statement = try prepare("INSERT OR REPLACE INTO policy VALUES (?, ?, ?)")
        statement.bind(1, node)
        statement.bind(2, UInt64(policies.read?.rawValue ?? 0))
        statement.bind(3, UInt64(policies.write?.rawValue ?? 0))
        _ = try statement.step()
    }
}
