import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension PosixTests {
    /// Advisory locks, which the kernel keeps for the mount.
    @Suite struct PosixLockTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        @Test func wholeFileLocks() throws {
            let path = try folder.file("file")
            let (one, two) = (try TestFile(path, O_RDWR), try TestFile(path, O_RDWR))
            try must { flock(one.raw, LOCK_EX) }
            expect(.again) { flock(two.raw, LOCK_EX | LOCK_NB) }
            expect(.again) { flock(two.raw, LOCK_SH | LOCK_NB) }
            try must { flock(one.raw, LOCK_SH) }
            try must { flock(two.raw, LOCK_SH | LOCK_NB) }
            expect(.again) { flock(one.raw, LOCK_EX | LOCK_NB) }
            two.close()
            try must { flock(one.raw, LOCK_EX | LOCK_NB) }
            // A lock goes with the file, not the name.
            try must { rename(path, folder("renamed")) }
            let three = try TestFile(folder("renamed"), O_RDWR)
            expect(.again) { flock(three.raw, LOCK_EX | LOCK_NB) }
            one.close()
            try must { flock(three.raw, LOCK_EX | LOCK_NB) }
        }

        @Test func rangeLocks() throws {
            let path = try folder.file("file", pattern(100))
            let (one, two) = (try TestFile(path, O_RDWR), try TestFile(path, O_RDWR))
            func lock(_ file: TestFile, _ kind: Int32, _ start: Int64, _ length: Int64) -> Int32 {
                CPosix_lock(file.raw, kind, start, length, 1)
            }
            try must { lock(one, Int32(F_WRLCK), 0, 10) }
            try must { lock(two, Int32(F_WRLCK), 10, 10) }
            expect(.again) { lock(two, Int32(F_RDLCK), 9, 1) }
            expect(.again) { lock(one, Int32(F_WRLCK), 5, 10) }
            try must { lock(one, Int32(F_UNLCK), 5, 5) }
            try must { lock(two, Int32(F_RDLCK), 5, 2) }
            try must { lock(one, Int32(F_RDLCK), 5, 2) }
            // Length 0 means to the end, wherever that will be.
            try must { lock(one, Int32(F_WRLCK), 1 << 40, 0) }
            expect(.again) { lock(two, Int32(F_RDLCK), 1 << 50, 1) }
            one.close()
            try must { lock(two, Int32(F_WRLCK), 0, 0) }
            let reader = try TestFile(path, O_RDONLY)
            expect(.badDescriptor) { lock(reader, Int32(F_WRLCK), 0, 1) }
        }

        /// The locks of a process go when it closes any descriptor of the file, as POSIX has it.
        @Test func processLocks() throws {
            let path = try folder.file("file")
            let (mine, other) = (try TestFile(path, O_RDWR), try TestFile(path, O_RDWR))
            try must { CPosix_lock(mine.raw, Int32(F_WRLCK), 0, 0, 0) }
            expect(.again) { CPosix_lock(other.raw, Int32(F_WRLCK), 0, 0, 1) }
            try TestFile(path, O_RDONLY).close()
            try must { CPosix_lock(other.raw, Int32(F_WRLCK), 0, 0, 1) }
        }

        /// A thread that waits for a lock gets it when it is free.
        @Test func waiting() throws {
            let path = try folder.file("file")
            let one = try TestFile(path, O_RDWR)
            try must { flock(one.raw, LOCK_EX) }
            let waiter = try ChildProcess("flock", [path, "true"])
            #expect(waiter.wait(seconds: 1) == nil)
            one.close()
            #expect(waiter.wait(seconds: 20)?.status == 0)
        }
    }
}
