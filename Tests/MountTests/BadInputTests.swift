import CPosix
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What cannot be mounted is refused with one clear line and leaves nothing behind.
    @Suite(.serialized) struct BadInputTests {
        private let space: TemporaryFolder
        private let backing: String
        private let mountpoint: String

        init() throws {
            space = try TemporaryFolder("bad-input")
            backing = try space.makeFolder("backing")
            mountpoint = try space.makeFolder("mount")
        }

        private var name: String { "bad-\(getpid())" }
        private var own: String { "name=\(name),state=\(space.path)/state,ram=16M" }

        private func expectRefusal(
            _ result: ProgramResult, status: Int32,
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            #expect(result.status == status, "\(result.text)", sourceLocation: sourceLocation)
            let lines = result.errorOutput.split(separator: "\n")
            #expect(lines.count == 1, "\(result.text)", sourceLocation: sourceLocation)
            let line = lines.first.map(String.init) ?? ""
            // forebay: WHAT: WHY; HINT
            let parts = line.split(separator: ":", maxSplits: 2)
            #expect(
                parts.count == 3 && parts.first == "forebay", "\(line)",
                sourceLocation: sourceLocation)
            #expect(line.contains(";"), "a hint: \(line)", sourceLocation: sourceLocation)
            #expect(result.output == "", sourceLocation: sourceLocation)
            #expect(Mounts.at(mountpoint) == nil, sourceLocation: sourceLocation)
            let left = ProcessTable.all().filter { process in
                process.arguments.contains { $0.contains("\(space.path)/state") }
                    && process.arguments.first?.contains("forebay") == true
            }
            #expect(left.isEmpty, "\(left)", sourceLocation: sourceLocation)
            #expect(!Files.exists("/run/forebay/\(name).sock"), sourceLocation: sourceLocation)
        }

        private func mounting(
            _ options: String? = nil, backing: String? = nil, mountpoint: String? = nil
        ) throws -> ProgramResult {
            try ChildProcess.run(
                try Programs.forebay,
                [
                    "mount", backing ?? self.backing, mountpoint ?? self.mountpoint, "-o",
                    options.map { $0.isEmpty ? own : "\(own),\($0)" } ?? own,
                ])
        }

        @Test(arguments: [
            "nonsense", "nonsense=1", "ram=", "ram=lots", "ram=-1", "ram=1X", "ram=0",
            "ram=99999999999T", "attr_timeout=soon", "attr_timeout=-1", "backend_timeout=never",
            "name=a/b", "name=", "name=..", "write=back", "write=sometimes",
            "state=relative/folder",
        ])
        func wrongOptions(option: String) throws {
            expectRefusal(try mounting(option), status: 2)
        }

        @Test func wrongUsage() throws {
            let program = try Programs.forebay
            for arguments in [
                ["mount"], ["mount", backing], ["mount", backing, mountpoint, "more"],
                ["mount", "--unknown", backing, mountpoint], ["unknown"], ["unmount"],
                ["mount", backing, mountpoint, "-o"],
            ] {
                let result = try ChildProcess.run(program, arguments)
                #expect(result.status == 2, "\(arguments): \(result.text)")
                #expect(result.errorOutput.hasPrefix("forebay: "), "\(result.text)")
            }
            #expect(Mounts.at(mountpoint) == nil)
        }

        @Test func places() throws {
            let file = space.path("file")
            try Files.write(file, [1])
            expectRefusal(try mounting(backing: space.path("missing")), status: 1)
            expectRefusal(try mounting(mountpoint: space.path("missing")), status: 1)
            expectRefusal(try mounting(backing: file), status: 1)
            expectRefusal(try mounting(mountpoint: file), status: 1)
            expectRefusal(try mounting(backing: backing, mountpoint: backing), status: 1)
            let inside = backing + "/inside"
            try call { mkdir(inside, 0o755) }
            expectRefusal(try mounting(mountpoint: inside), status: 1)
            let inner = mountpoint + "/inner"
            try call { mkdir(inner, 0o755) }
            expectRefusal(try mounting(backing: inner), status: 1)
            // The same by symbolic links and dots.
            try call { symlink(inside, space.path("link")) }
            expectRefusal(try mounting(mountpoint: space.path("link")), status: 1)
            expectRefusal(
                try mounting(mountpoint: mountpoint + "/../backing/./inside"), status: 1)
        }

        @Test func placesInUse() throws {
            try withForebay(over: backing) { mount in
                let again = try ChildProcess.run(
                    try Programs.forebay, ["mount", backing, mount.path, "-o", own])
                expectRefusal(again, status: 1)
                let sameName = try ChildProcess.run(
                    try Programs.forebay,
                    ["mount", backing, mountpoint, "-o", "\(own),name=\(mount.name)"])
                expectRefusal(sameName, status: 1)
                #expect(try mount.xattr("health") == "healthy", "the first one is unharmed")
                // A second mount over one mount of ours would cache a cache.
                #expect(try mount.status().integer("keeper_pid") != nil)
            }
            expectRefusal(try unmounting(mountpoint), status: 1)
        }

        private func unmounting(_ path: String) throws -> ProgramResult {
            try ChildProcess.run(try Programs.forebay, ["unmount", path])
        }

        @Test func othersMounts() throws {
            try call { mount(backing, mountpoint, nil, UInt(CPosix_MS_BIND), nil) }
            defer { umount2(mountpoint, CPosix_MNT_DETACH) }
            let result = try mounting()
            #expect(result.status == 1, "\(result.text)")
            #expect(try unmounting(mountpoint).status == 1, "it is not ours")
            #expect(Mounts.at(mountpoint) != nil)
        }

        @Test func withoutPermission() throws {
            // The programs where a user can read them.
            try call { chmod(space.path, 0o755) }
            for program in [try Programs.forebay, try Programs.forebayServer] {
                try ChildProcess.check("cp", [program, space.path])
            }
            let user = "\(User.first)"
            let result = try ChildProcess.run(
                "setpriv",
                [
                    "--reuid", user, "--regid", user, "--clear-groups", space.path("forebay"),
                    "mount", backing, mountpoint, "-o", own,
                ])
            expectRefusal(result, status: 1)
        }

        @Test func withoutFuse() throws {
            let script = """
                mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$0" "$@"
                """
            let result = try ChildProcess.run(
                "unshare",
                [
                    "--mount", "sh", "-c", script, try Programs.forebay, "mount", backing,
                    mountpoint, "-o", own,
                ])
            expectRefusal(result, status: 1)
        }

        /// A user reads nothing on the mount that the mode forbids.
        @Test func usersReadNothingForbidden() throws {
            try withForebay(over: backing) { mount in
                for path in [backing, mount.path, mount.path + "/..", space.path] {
                    try must { chmod(path, 0o755) }
                }
                try Files.write(mount.path("secret"), pattern(5000))
                try must { chmod(mount.path("secret"), 0o600) }
                try must { mkdir(mount.path("closed"), 0o700) }
                try Files.write(mount.path("closed/file"), [1])
                // It is in every cache.
                _ = try Files.read(mount.path("secret"))
                let (secret, closed) = (mount.path("secret"), mount.path("closed"))
                let found = try asUser(User.first) {
                    [
                        failure { open(secret, O_RDONLY) }, failure { open(secret, O_WRONLY) },
                        failure { open(closed, O_RDONLY) },
                        failure { open(closed + "/file", O_RDONLY) },
                        failure { CPosix_getxattr(secret, "user.secret", nil, 0) },
                        failure { truncate(secret, 0) }, failure { unlink(secret) },
                    ]
                }
                #expect(found == [Errno?](repeating: .accessDenied, count: found.count))
            }
        }
    }
}
