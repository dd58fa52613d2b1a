import CLinux
import CPosix
import Glibc
import Syscalls
import Testing

extension PosixTests {
    /// Users and groups: who owns what is made, and who may do what.
    @Suite struct PosixOwnershipTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder(mode: 0o777) }

        private func opening(_ path: String, _ flags: Int32) -> Int32 {
            let raw = CLinux_open(path, flags | O_CLOEXEC, 0o666)
            return raw < 0 ? raw : close(raw)
        }

        @Test func whatIsMadeBelongsToTheCaller() throws {
            let errors = try asUser(User.first, group: User.groupA) {
                [
                    failure { opening(folder("file"), O_CREAT | O_RDWR) },
                    failure { mkdir(folder("directory"), 0o755) },
                    failure { mkfifo(folder("fifo"), 0o644) },
                    failure { symlink("target", folder("symlink")) },
                    failure { mknod(folder("node"), UInt32(S_IFREG) | 0o644, 0) },
                    failure { opening(folder.path, CLinux_O_TMPFILE | O_RDWR) },
                ]
            }
            #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
            for name in ["file", "directory", "fifo", "symlink", "node"] {
                let found = try status(folder(name))
                #expect(found.uid == User.first && found.gid == User.groupA, "\(name)")
            }
            // The datastore may see no state in which somebody else owns it.
            #expect(try status(folder("file")).permissions == 0o644)
        }

        @Test func setGroupParents() throws {
            let parent = try folder.directory("parent", mode: 0o2777, group: User.groupB)
            let errors = try asUser(User.first, group: User.groupA) {
                [
                    failure { opening(parent + "/file", O_CREAT | O_RDWR) },
                    failure { mkdir(parent + "/directory", 0o755) },
                    failure { symlink("target", parent + "/symlink") },
                    failure { mkfifo(parent + "/fifo", 0o644) },
                    failure {
                        let raw = CLinux_open(
                            parent + "/set-group", O_CREAT | O_RDWR | O_EXCL, 0o2775)
                        return raw < 0 ? raw : close(raw)
                    },
                ]
            }
            #expect(errors.allSatisfy { $0 == nil }, "\(errors)")
            for name in ["file", "directory", "symlink", "fifo"] {
                let found = try status(parent + "/" + name)
                #expect(found.uid == User.first && found.gid == User.groupB, "\(name)")
            }
            #expect(try status(parent + "/directory").permissions == 0o2755)
            #expect(try status(parent + "/file").permissions == 0o644)
            // Somebody who is not in the group cannot make a set-group-ID program of it.
            #expect(try status(parent + "/set-group").permissions & 0o2010 != 0o2010)
        }

        /// (operation, who, expected) for one file of mode 0640 that `first` and group A own.
        @Test func permissionsOfFiles() throws {
            let file = try folder.file(
                "file", [1], mode: 0o640, owner: User.first, group: User.groupA)
            #expect(try failure(asUser: User.first) { opening(file, O_RDWR) } == nil)
            let second = User.second
            let group = [User.groupA]
            #expect(
                try failure(asUser: second, groups: group) { opening(file, O_RDONLY) } == nil)
            #expect(
                try failure(asUser: second, groups: group) { opening(file, O_WRONLY) }
                    == .accessDenied)
            #expect(
                try failure(asUser: second, group: User.groupA) { opening(file, O_RDONLY) } == nil)
            #expect(try failure(asUser: second) { opening(file, O_RDONLY) } == .accessDenied)
            #expect(try failure(asUser: second) { truncate(file, 0) } == .accessDenied)
            #expect(try failure(asUser: second) { chmod(file, 0o666) } == .notPermitted)
            #expect(try failure(asUser: second) { chown(file, second, second) } == .notPermitted)
            // The owner's bits count for the owner even where others have more.
            try must { chmod(file, 0o066) }
            #expect(try failure(asUser: User.first) { opening(file, O_RDONLY) } == .accessDenied)
            #expect(try failure(asUser: second) { opening(file, O_RDWR) } == nil)
            #expect(failure { opening(file, O_RDWR) } == nil, "root reads all")
            #expect(try contents(file) == [1])
        }

        @Test func supplementaryGroups() throws {
            let inside = try folder.directory("inside", mode: 0o770, group: User.groupB)
            _ = try folder.file("inside/file", [1], mode: 0o660, group: User.groupB)
            let second = User.second
            #expect(
                try failure(asUser: second) { opening(inside + "/file", O_RDONLY) }
                    == .accessDenied)
            for groups in [[User.groupB], [User.groupA, User.groupB]] {
                #expect(
                    try failure(asUser: second, groups: groups) {
                        opening(inside + "/file", O_RDWR)
                    } == nil)
                #expect(
                    try failure(asUser: second, groups: groups) {
                        opening(inside + "/new-\(groups.count)", O_CREAT | O_RDWR)
                    } == nil)
            }
            #expect(try names(in: inside) == ["file", "new-1", "new-2"])
        }

        @Test func permissionsOfDirectories() throws {
            let directory = try folder.directory("directory", mode: 0o700, owner: User.first)
            let file = try folder.file("directory/file", [1], mode: 0o666)
            let second = User.second
            func attempt(_ body: @escaping () -> Int32) throws -> Errno? {
                try failure(asUser: second, body)
            }
            // Without search permission nothing below is reached.
            #expect(try attempt { opening(file, O_RDONLY) } == .accessDenied)
            #expect(try attempt { opening(directory, O_RDONLY) } == .accessDenied)
            // Search without read: known names only.
            try must { chmod(directory, 0o711) }
            #expect(try attempt { opening(file, O_RDWR) } == nil)
            #expect(try attempt { opening(directory, O_RDONLY) } == .accessDenied)
            #expect(try attempt { opening(directory + "/x", O_CREAT | O_RDWR) } == .accessDenied)
            // Read without search: names, but nothing of them.
            try must { chmod(directory, 0o744) }
            #expect(try attempt { opening(directory, O_RDONLY) } == nil)
            #expect(try attempt { opening(file, O_RDONLY) } == .accessDenied)
            // Neither name can be taken away or put in without write permission.
            try must { chmod(directory, 0o755) }
            #expect(try attempt { unlink(file) } == .accessDenied)
            #expect(try attempt { rename(file, directory + "/y") } == .accessDenied)
            #expect(try attempt { mkdir(directory + "/y", 0o755) } == .accessDenied)
            #expect(try attempt { symlink("t", directory + "/y") } == .accessDenied)
            #expect(try attempt { link(file, directory + "/y") } == .accessDenied)
            #expect(try attempt { mkfifo(directory + "/y", 0o644) } == .accessDenied)
            try must { chmod(directory, 0o777) }
            #expect(try attempt { unlink(file) } == nil)
        }

        @Test func stickyDirectories() throws {
            let sticky = try folder.directory("sticky", mode: 0o1777)
            let file = try folder.file("sticky/file", [1], owner: User.first)
            let inner = try folder.directory("sticky/inner", owner: User.first)
            let second = User.second
            #expect(try failure(asUser: second) { unlink(file) } == .notPermitted)
            #expect(try failure(asUser: second) { rename(file, sticky + "/x") } == .notPermitted)
            #expect(try failure(asUser: second) { rmdir(inner) } == .notPermitted)
            let mine = try folder.file("sticky/mine", owner: second)
            #expect(try failure(asUser: second) { rename(mine, file) } == .notPermitted)
            #expect(try failure(asUser: User.first) { unlink(file) } == nil)
            #expect(try failure(asUser: User.first) { rmdir(inner) } == nil)
            try must { chown(sticky, User.first, 0) }
            #expect(try failure(asUser: User.first) { unlink(mine) } == nil)
        }

        @Test func executing() throws {
            let program = folder("program")
            try put(try contents("/bin/true"), in: program)
            try must { chmod(program, 0o644) }
            expect(.accessDenied) { CPosix_execute(program) }
            try must { chmod(program, 0o755) }
            #expect(CPosix_execute(program) == 0)
            #expect(try failure(asUser: User.first) { CPosix_execute(program) } == nil)
            try must { chmod(program, 0o744) }
            #expect(try failure(asUser: User.first) { CPosix_execute(program) } == .accessDenied)
            #expect(
                try failure(asUser: User.first) { access(program, X_OK) } == .accessDenied)
            try must { chmod(program, 0o755) }
            let writer = try TestFile(program, O_RDWR)
            expect(.textBusy) { CPosix_execute(program) }
            writer.close()
            #expect(CPosix_execute(program) == 0)
        }

        @Test func changingOwners() throws {
            let file = try folder.file("file", owner: User.first, group: User.groupA)
            let first = User.first
            #expect(
                try failure(asUser: first) { chown(file, User.second, UInt32.max) }
                    == .notPermitted)
            #expect(
                try failure(asUser: first, groups: [User.groupB]) {
                    chown(file, UInt32.max, User.groupB)
                } == nil)
            #expect(try status(file).gid == User.groupB && status(file).uid == first)
            #expect(
                try failure(asUser: first) { chown(file, UInt32.max, User.groupA) }
                    == .notPermitted)
            try must { chown(file, User.second, UInt32.max) }
            #expect(try status(file).uid == User.second && status(file).gid == User.groupB)
            try must { symlink("file", folder("symlink")) }
            try must { lchown(folder("symlink"), first, User.groupA) }
            #expect(try status(folder("symlink")).uid == first)
            #expect(try status(file).uid == User.second)
        }

        @Test func changingTimes() throws {
            let file = try folder.file("file", mode: 0o666, owner: User.first)
            let now = Int64(CPosix_UTIME_NOW)
            let second = User.second
            #expect(
                try failure(asUser: second) { CPosix_utimens(AT_FDCWD, file, 0, now, 0, now, 0) }
                    == nil, "a writer may set the present time")
            #expect(
                try failure(asUser: second) { CPosix_utimens(AT_FDCWD, file, 1, 0, 1, 0, 0) }
                    == .notPermitted)
            try must { chmod(file, 0o644) }
            #expect(
                try failure(asUser: second) { CPosix_utimens(AT_FDCWD, file, 0, now, 0, now, 0) }
                    == .accessDenied)
            try must { chmod(file, 0) }
            #expect(
                try failure(asUser: User.first) { CPosix_utimens(AT_FDCWD, file, 1, 0, 1, 0, 0) }
                    == nil, "the owner may whatever the mode")
        }
    }
}
