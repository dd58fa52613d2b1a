import CSQLite

/// A SQLite database with the few calls that the identity table needs. Used by one thread at a
/// time; the owner holds a lock.
struct Database: ~Copyable, @unchecked Sendable {
    private let handle: OpaquePointer

    /// What went wrong, in SQLite's words.
    struct Failure: Error {
        let message: String
        /// Another process has the file locked: a server that was killed and is not gone yet.
        var isBusy = false
    }

    /// Opens or makes the file.
    init(path: String) throws(Failure) {
        var handle: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
        let code = sqlite3_open_v2(path, &handle, flags, nil)
        guard code == SQLITE_OK, let handle else {
            let message = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close(handle)
            throw Failure(message: message)
        }
        self.handle = handle
        sqlite3_busy_timeout(handle, 2000)
    }

    deinit { sqlite3_close_v2(handle) }

    /// Runs statements that answer nothing.
    func execute(_ sql: String) throws(Failure) {
        if sqlite3_exec(handle, sql, nil, nil, nil) != SQLITE_OK { throw failure }
    }

    private var failure: Failure {
        Failure(
            message: String(cString: sqlite3_errmsg(handle)),
            isBusy: sqlite3_errcode(handle) == SQLITE_BUSY)
    }

    /// Prepares one statement, which lives until it is dropped.
    func prepare(_ sql: String) throws(Failure) -> Statement {
        var statement: OpaquePointer?
        guard sqlite3_prepare_v2(handle, sql, -1, &statement, nil) == SQLITE_OK, let statement
        else { throw failure }
        return Statement(statement)
    }

    /// One prepared statement.
    struct Statement: ~Copyable, @unchecked Sendable {
        private let handle: OpaquePointer

        fileprivate init(_ handle: OpaquePointer) { self.handle = handle }

        deinit { sqlite3_finalize(handle) }

        /// Sets a parameter, counted from 1. Node ids use all 64 bits.
        func bind(_ index: Int32, _ value: UInt64) {
            sqlite3_bind_int64(handle, index, Int64(bitPattern: value))
        }

        func bind(_ index: Int32, _ bytes: [UInt8]) {
            _ = bytes.withUnsafeBytes {
                CSQLite_bind_blob(handle, index, $0.baseAddress, Int32($0.count))
            }
        }

        /// Goes to the next row; false after the last.
        func step() throws(Failure) -> Bool {
            switch sqlite3_step(handle) {
            case SQLITE_ROW: return true
            case SQLITE_DONE: return false
            default:
                let database = sqlite3_db_handle(handle)
                let failure = Failure(
                    message: String(cString: sqlite3_errmsg(database)),
                    isBusy: sqlite3_errcode(database) == SQLITE_BUSY)
                sqlite3_reset(handle)
                throw failure
            }
        }

        /// Makes the statement ready for its next run.
        func reset() { sqlite3_reset(handle) }

        func integer(_ column: Int32) -> UInt64 {
            UInt64(bitPattern: sqlite3_column_int64(handle, column))
        }

        func bytes(_ column: Int32) -> [UInt8] {
            let count = Int(sqlite3_column_bytes(handle, column))
            guard count > 0, let start = sqlite3_column_blob(handle, column) else { return [] }
            return Array(UnsafeRawBufferPointer(start: start, count: count))
        }
    }
}
