import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// `flash=` at mount: what is refused before anything is mounted, and the file that is made.
    @Suite(.serialized, .enabled(if: Machine.canMount, "needs root and /dev/fuse"))
    struct FlashOptionTests {
        private let space: TemporaryFolder
        private let backing: String
        private let mountpoint: String
        private let device: String
        private let name = "flash-\(getpid())-\(UInt32.random(in: 0 ... .max))"

        init() throws {
            space = try TemporaryFolder("flash-option")
            backing = try space.makeFolder("backing")
            mountpoint = try space.makeFolder("mountpoint")
            device = space.path("device")
            try Content.write(space.path("backing/disk"), seed: 3, count: 64)
        }

        private func mount(_ flash: String) throws -> ProgramResult {
            try ChildProcess.run(
                try Programs.forebay,
                [
                    "mount", backing, mountpoint, "-o",
                    "ram=16M,name=\(name),state=\(space.path("state")),flash=\(flash)",
                ])
        }

        /// A mount with this device is refused for this reason, and leaves everything as it was.
        private func expectRefusal(
            _ flash: String, _ reason: String, sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let path = flash.split(separator: ":")[0]
            let before = try? Files.attributes(String(path))
            let result = try mount(flash)
            let line = result.errorOutput
            #expect(result.status == 1, "\(result.text)", sourceLocation: sourceLocation)
            #expect(line.hasPrefix("forebay: flash '"), "\(line)", sourceLocation: sourceLocation)
            #expect(line.contains(reason), "\(line)", sourceLocation: sourceLocation)
            #expect(line.split(separator: "\n").count == 1, sourceLocation: sourceLocation)
            #expect(Mounts.at(mountpoint) == nil, sourceLocation: sourceLocation)
            #expect(!Files.exists("/run/forebay/\(name).lock"), sourceLocation: sourceLocation)
            let after = try? Files.attributes(String(path))
            #expect(before?.size == after?.size, sourceLocation: sourceLocation)
            #expect(before?.inode == after?.inode, sourceLocation: sourceLocation)
        }

        private func make(_ size: Int) throws {
            try Files.write(device, "")
            try call { [device] in truncate(device, size) }
        }

        private func format() throws {
            try ChildProcess.check(try Programs.forebay, ["format", "--flash", device, "--force"])
        }

        @Test func whatIsNotReadyIsRefusedWithAHint() throws {
            try expectRefusal(device, "flash=\(device):SIZE")
            try expectRefusal("\(space.path("nowhere"))/x:32M", "mkdir -p \(space.path("nowhere"))")
            try expectRefusal(space.path, "neither")
            try expectRefusal("/dev/null", "neither")
            try make(64 << 20)
            try expectRefusal(device, "'forebay format --flash \(device)'")
            try expectRefusal("\(device):64M", "'forebay format --flash \(device)'")
            try OpenFile(device, O_WRONLY).write([0x53, 0xef], at: 0x438)
            try expectRefusal(device, "an ext file system")
            try format()
            try call { [device] in truncate(device, 48 << 20) }
            try expectRefusal(device, "shorter")
        }

        @Test func whatCannotBeMadeLeavesNothing() throws {
            try expectRefusal("\(device):1000T", "no room")
            #expect(!Files.exists(device))
            let inside = "\(backing)/cache"
            try expectRefusal("\(inside):32M", "is inside '\(backing)'")
            try expectRefusal("\(mountpoint)/cache:32M", "is inside '\(mountpoint)'")
            let link = space.path("link")
            symlink(backing, link)
            try expectRefusal("\(link)/cache:32M", "is inside '\(backing)'")
            #expect(try Files.names(backing) == ["disk"])
            #expect(try Files.names(mountpoint).isEmpty)
        }

        /// A file that the mount has made goes again when the mount fails after all.
        @Test func aMountThatFailsTakesItsFileBack() throws {
            let state = try space.makeFolder("state")
            try ChildProcess.check("mount", ["-t", "tmpfs", "-o", "ro", "none", state])
            defer { umount2(state, Int32(MNT_DETACH)) }
            let result = try mount("\(device):32M")
            #expect(result.status == 1, "\(result.text)")
            #expect(!Files.exists(device))
        }

        @Test func aFileIsMadeAndItsSpaceReserved() throws {
            let flash = "\(device):32M"
            try withForebay(over: backing, options: ["ram=16M", "flash=\(flash)"]) { mount in
                let made = try Files.attributes(device)
                #expect(made.size == 32 << 20)
                #expect(made.mode & 0o7777 == 0o600)
                #expect(made.blocks * 512 >= 32 << 20, "its space is reserved")
                #expect(try Files.haveEqualContents(mount.path("disk"), mount.backingPath("disk")))
                // The same file again, now without being made.
                try mount.unmount()
                try mount.mount()
                #expect(try Files.attributes(device).inode == made.inode)
            }
        }

        @Test func aDeviceOfAnotherMountIsRefusedByItsName() throws {
            try make(32 << 20)
            try format()
            var owner = ""
            try withForebay(over: backing, options: ["ram=16M", "flash=\(device)"]) { other in
                try #require(eventually { (try? other.status().text("flash_state")) == "on" })
                owner = other.name
                // It is in use, and tells by whom.
                try expectRefusal(device, "in use by the mount at '\(other.path)'")
                let check = try ChildProcess.run(
                    try Programs.forebay, ["check", "--flash", device])
                #expect(check.status == 1 && check.errorOutput.contains("in use"))
                try other.unmount()
                // Its own again, but not with another datastore.
                try other.mount()
                try other.unmount()
                let elsewhere = try space.makeFolder("elsewhere")
                let result = try ChildProcess.run(
                    other.program,
                    ["mount", elsewhere, other.path, "-o", other.options.joined(separator: ",")])
                #expect(result.status == 1, "\(result.text)")
                #expect(result.errorOutput.contains("this name and another datastore"))
            }
            try expectRefusal(device, "is the cache of a mount of another name, \(owner)@")
            try format()
            #expect(try mount(device).status == 0)
            try ChildProcess.check(try Programs.forebay, ["unmount", mountpoint])
        }

        /// Under a mount that serves: another device, none, and refusals that change nothing.
        @Test func flashIsAddedReplacedAndRemoved() throws {
            let content = Content.blocks(seed: 3, count: 64)
            let other = space.path("other")
            try withForebay(over: backing, options: ["ram=16M"]) { mount in
                #expect(try mount.xattr("flash_state") == "none")
                #expect(try readDirect(mount.path("disk")) == content)
                let refused = try mount.attempt("set", "flash=\(device)", "attr_timeout=3")
                #expect(refused.status == 1 && refused.errorOutput.contains("no such device"))
                let wrong = try mount.attempt("set", "flash=\(device):32M", "attr_timeout=x")
                #expect(wrong.status == 2, "\(wrong.text)")
                #expect(!Files.exists(device))
                #expect(try mount.xattr("restarts") == "0")

                for path in [device, other] {
                    try mount.command("set", "flash=\(path):32M")
                    try #require(eventually { (try? mount.xattr("flash_state")) == "on" })
                    #expect(try mount.status().text("flash_path") == path)
                    try mount.command("drop")
                    #expect(try readDirect(mount.path("disk")) == content)
                    #expect(
                        eventually {
                            (try? mount.xattr("unique_bytes_flash")) == "\(64 * 4096)"
                        })
                }
                // The one that was replaced is free, and what the other has outlives a new server.
                try ChildProcess.check(mount.program, ["check", "--flash", device])
                try mount.command("set", "flash_dwpd=1.5")
                try #require(eventually { (try? mount.xattr("flash_state")) == "on" })
                #expect(try mount.status().text("flash_writes_per_day_limit") == "1.50")
                #expect(try mount.xattr("unique_bytes_flash") == "\(64 * 4096)")

                try mount.command("set", "flash=none")
                #expect(try mount.xattr("flash_state") == "none")
                #expect(try readDirect(mount.path("disk")) == content)
                try ChildProcess.check(mount.program, ["check", "--flash", other])
            }
        }

        /// Machines wait for a service; what is wrong with its device is told and not waited for.
        @Test func aServiceDoesWithoutADeviceThatCannotBeUsed() throws {
            let manager = try FakeServiceManager()
            defer { manager.stop() }
            defer { Mounts.removeAll(below: mountpoint) }
            try make(64 << 20)
            try OpenFile(device, O_WRONLY).write([0x53, 0xef], at: 0x438)
            let options = "ram=16M,name=\(name),state=\(space.path("state")),flash=\(device)"
            let keeper = try manager.start(
                ["mount", backing, mountpoint, "--foreground", "-o", options])
            try #require(
                eventually(within: 20) { manager.count("READY=1") > 0 }, "\(keeper.outputs)")
            #expect(
                try Files.haveEqualContents("\(mountpoint)/disk", "\(backing)/disk"))
            let status = try ChildProcess.check(
                try Programs.forebay, ["status", mountpoint, "--json"])
            let state = try #require(FlatJSON(status.output).text("flash_state"))
            #expect(state.hasPrefix("off: "), "\(state)")
            #expect(try OpenFile(device, O_RDONLY).read(at: 0x438, count: 2) == [0x53, 0xef])
            // It is used as soon as it can be.
            try format()
            #expect(
                eventually(within: 20) {
                    let bytes = try? Files.xattr(mountpoint, "user.forebay.flash_state")
                    return bytes == Array("on".utf8)
                })
            try ChildProcess.check("umount", [mountpoint])
            #expect(keeper.wait(seconds: 20)?.status == 0)
        }
    }
}
