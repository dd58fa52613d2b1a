import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What the commands refuse: one line on standard error, exit status 1 or 2, nothing mounted
    /// and nothing left behind.
    @Suite(.serialized, .enabled(if: Machine.canMount, "needs root and /dev/fuse"))
    struct CommandRefusalTests {
        private let space: TemporaryFolder
        private let backing: String
        private let mountpoint: String
        private let name = "refused-\(getpid())-\(UInt32.random(in: 0 ... .max))"

        init() throws {
            space = try TemporaryFolder("refusal")
            backing = try space.makeFolder("backing")
            mountpoint = try space.makeFolder("mountpoint")
        }

        /// Runs a command that must fail and gives its line.
        private func refusal(
            _ arguments: [String], status: Int32, program: String? = nil,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws -> String {
            let result = try ChildProcess.run(try program ?? Programs.forebay, arguments)
            let line = result.errorOutput
            #expect(result.status == status, "\(result.text)", sourceLocation: sourceLocation)
            #expect(result.output.isEmpty, "\(result.text)", sourceLocation: sourceLocation)
            #expect(line.hasPrefix("forebay: "), "\(line)", sourceLocation: sourceLocation)
            #expect(
                line.split(separator: "\n").count == 1 && line.hasSuffix("\n"), "\(line)",
                sourceLocation: sourceLocation)
            #expect(Mounts.at(mountpoint) == nil, sourceLocation: sourceLocation)
            for end in ["lock", "sock"] {
                let left = "/run/forebay/\(name).\(end)"
                #expect(!Files.exists(left), "\(left)", sourceLocation: sourceLocation)
            }
            return line
        }

        private func mount(
            _ backing: String, _ mountpoint: String, _ options: String = ""
        ) -> [String] {
            let state = "state=\(space.path("state")),name=\(name)"
            let all = options.isEmpty ? state : "\(state),\(options)"
            return ["mount", backing, mountpoint, "-o", all]
        }

        @Test(arguments: [
            [], ["bogus"], ["mount"], ["mount", "/a"], ["mount", "/a", "/b", "/c"],
            ["mount", "/a", "/b", "-o"], ["mount", "--bogus", "/a", "/b"], ["unmount"], ["flush"],
            ["drop"], ["preflight", "/a"], ["status", "--bogus"],
            ["export", "/a"], ["export", "/a", "--to", "a b"], ["export", "/a", "--to", "a,,b"],
            ["unexport"], ["unmount", "/a", "--timeout", "x"],
            ["unmount", "/a", "--timeout", "0"], ["top"], ["mount", "", "/b"],
        ])
        func wrongUsage(arguments: [String]) throws {
            _ = try refusal(arguments, status: 2)
        }

        @Test(arguments: [
            "bogus", "ram=junk", "ram=1K", "ram=99999T", "write=back", "flash=x", "flash=/x:1K",
            "flash_dwpd=x", "log=x", "log=/x:1K",
            "name=a/b", "state=relative", "attr_timeout=-1", "backend_timeout=0",
        ])
        func wrongOptions(option: String) throws {
            let line = try refusal(mount(backing, mountpoint, option), status: 2)
            #expect(line.contains(option), "\(line)")
            #expect(!Files.exists(space.path("state")))
        }

        @Test func placesThatCannotBe() throws {
            let inside = try space.makeFolder("backing/inside")
            let file = space.path("file")
            try Files.write(file, "x")
            let pairs = [
                (space.path("nowhere"), mountpoint), (backing, space.path("nowhere")),
                (file, mountpoint), (backing, file), (backing, inside), (inside, backing),
                (backing, backing), (mountpoint + "/../backing", inside),
            ]
            for (from, to) in pairs { _ = try refusal(mount(from, to), status: 1) }
            _ = try refusal(mount(backing, mountpoint, "state=\(backing)/state"), status: 1)
            #expect(try Files.names(backing) == ["inside"])
        }

        @Test func placesAndNamesInUse() throws {
            try withForebay(over: backing, options: ["ram=16M"]) { other in
                let line = try refusal(mount(backing, other.path), status: 1)
                #expect(line.contains("in use"))
                let taken = try refusal(
                    ["mount", backing, mountpoint, "-o", "ram=16M,name=\(other.name)"], status: 1)
                #expect(taken.contains("in use"))
                #expect(taken.contains(other.path))
                #expect(try Files.names(other.path).isEmpty)
            }
        }

        @Test func usersOtherThanRoot() throws {
            let commands = [
                mount(backing, mountpoint), ["unmount", mountpoint], ["status"],
                ["drop", mountpoint], ["export", mountpoint, "--to", "10.0.0.1"],
                ["unexport", mountpoint],
            ]
            for command in commands {
                let line = try refusal(
                    ["--reuid=61001", "--regid=61001", "--clear-groups", try Programs.forebay]
                        + command, status: 1, program: "setpriv")
                #expect(line.contains("only root"), "\(line)")
            }
        }

        @Test func withoutTheDevice() throws {
            // A mount namespace of its own in which /dev/fuse cannot be opened as a device.
            let words = [try Programs.forebay] + mount(backing, mountpoint)
            let command = words.joined(separator: " ")
            let line = try refusal(
                ["-m", "sh", "-c", "mount -t tmpfs none /dev && exec \(command)"], status: 1,
                program: "unshare")
            #expect(line.contains("/dev/fuse"))
        }

        @Test func whatIsNotMounted() throws {
            for verb in ["unmount", "status", "flush", "drop"] {
                _ = try refusal([verb, mountpoint], status: 1)
            }
            _ = try refusal(["unmount", "/proc"], status: 1)
            for place in [mountpoint, "/proc"] {
                _ = try refusal(["export", place, "--to", "10.0.0.1"], status: 1)
            }
        }

        @Test func aServerThatCannotStartLeavesNothing() throws {
            // The state folder can be made, but not what goes into it.
            let state = try space.makeFolder("state")
            try ChildProcess.check("mount", ["-t", "tmpfs", "-o", "ro", "none", state])
            defer { umount2(state, Int32(MNT_DETACH)) }
            _ = try refusal(mount(backing, mountpoint), status: 1)
        }

        @Test func theMountHelpersCallingConvention() throws {
            let helper = space.path("mount.forebay")
            symlink(try Programs.forebay, helper)
            for arguments in [
                [], ["/a"], ["/a", "/b", "/c"], ["/a", "/b", "-z"], ["/a", "/b", "-o"],
            ] {
                _ = try refusal(arguments, status: 2, program: helper)
            }
            _ = try refusal([backing, mountpoint, "-o", "rw,bogus"], status: 2, program: helper)
            _ = try refusal(["/nowhere", mountpoint, "-v", "-o", "rw"], status: 1, program: helper)
            let fake = try ChildProcess.run(
                helper, [backing, mountpoint, "-sfn", "-t", "forebay", "-o", "rw,bogus"])
            #expect(fake.status == 0, "\(fake.text)")
            #expect(Mounts.at(mountpoint) == nil)
        }
    }
}
