import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// `forebay set`: options that change while the mount serves.
    @Suite(.serialized) struct SetTests {
        private func options(_ mount: ForebayMount) throws -> [String] {
            let text = try #require(try mount.status().text("options"))
            return text.split(separator: ",").map(String.init)
        }

        /// What is set holds over the death of a server, until the unmount.
        @Test func untilTheUnmount() throws {
            try withForebay { mount, _ in
                try mount.command("set", "attr_timeout=3", "write=through")
                try mount.command("set", "backend_timeout=7.5,attr_timeout=4")
                let expected = ["attr_timeout=4.0", "backend_timeout=7.5", "write=through"]
                #expect(Set(try options(mount)).isSuperset(of: expected))
                #expect(try mount.xattr("restarts") == "0", "no server was replaced for it")
                let server = try mount.serverPid
                try must { kill(server, SIGKILL) }
                #expect(eventually { (try? mount.serverPid).map { $0 != server } ?? false })
                #expect(Set(try options(mount)).isSuperset(of: expected))
                try mount.unmount()
                try mount.mount()
                #expect(Set(try options(mount)).isSuperset(of: ["attr_timeout=10.0"]))
            }
        }

        /// The new time holds for a request that waits already.
        @Test func backendTimeout() throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("file"), seed: 1, count: 16) }
            ) { mount, datastore in
                let path = mount.path("file")
                let reader = try DirectReader(path)
                try datastore.hang("read")
                let outcome = SharedFlag()
                let thread = try Thread(name: "reader") {
                    if (try? reader.once(4096, at: 0)) == nil, errno == ETIMEDOUT { outcome.set() }
                }
                try datastore.waitUntilHeld(1)
                try mount.command("set", "backend_timeout=1")
                #expect(eventually(within: 10) { outcome.isSet })
                try datastore.unhang("read")
                thread.join()
                #expect(try readDirect(path) == Content.blocks(seed: 1, count: 16))
            }
        }

        /// A change by others is seen when the new time is over and not the old one.
        @Test func attributeTimeout() throws {
            try withForebay(
                options: ["attr_timeout=86400"],
                prepare: { try Content.write($0.folderPath("file"), seed: 1, count: 16) }
            ) { mount, datastore in
                let file = try OpenFile(mount.path("file"), O_RDONLY)
                #expect(try file.read(at: 0, count: 4096) == Content.block(seed: 1, number: 0))
                try Content.write(datastore.folderPath("file"), seed: 2, count: 16)
                try mount.command("set", "attr_timeout=1")
                #expect(
                    try eventually {
                        try file.read(at: 0, count: 4096) == Content.block(seed: 2, number: 0)
                    })
            }
        }

        @Test func ramUpAndDownUnderLoad() throws {
            try withForebay(
                prepare: { try Content.write($0.folderPath("cached"), seed: 1, count: 1024) }
            ) { mount, _ in
                let expected = Content.blocks(seed: 1, count: 1024)
                let load = try Load(mount.path)
                defer { load.stop() }
                for (number, size) in [128, 16, 64].enumerated() {
                    _ = try readDirect(mount.path("cached"))
                    let progress = load.steps
                    #expect(eventually { load.steps > progress + 5 })
                    try mount.command("set", "ram=\(size)M")
                    let status = try mount.status()
                    #expect(status.integer("ram_budget_bytes") == UInt64(size << 20))
                    #expect(status.integer("restarts") == UInt64(number + 1))
                    #expect(try #require(status.number("last_pause")) < 1)
                    #expect(try readDirect(mount.path("cached")) == expected)
                    let warm = try Numbers(mount, "cached")
                    #expect(try readDirect(mount.path("cached")) == expected)
                    let after = try Numbers(mount, "cached")
                    #expect(after.grown("misses", since: warm) == 0)
                    #expect(after.grown("hits_ram", since: warm) == 1024)
                    try expectMemory(of: mount, size: size << 20)
                }
                load.stop()
                #expect(load.failures == [])
            }
        }

        /// The keeper holds one memory for the cache, and it takes no more than this.
        private func expectMemory(of mount: ForebayMount, size: Int) throws {
            let folder = "/proc/\(try mount.keeperPid)/fd"
            var taken: [Int] = []
            for name in try Files.names(folder) {
                var target = [CChar](repeating: 0, count: 4096)
                let count = readlink("\(folder)/\(name)", &target, target.count - 1)
                let link = String(
                    decoding: target[..<max(0, count)].map { UInt8(bitPattern: $0) },
                    as: UTF8.self)
                guard link.contains("forebay-frames") else { continue }
                taken.append(Int(try Files.attributes("\(folder)/\(name)").blocks) * 512)
            }
            try #require(taken.count == 1)
            #expect(taken[0] >= 4096 * 1024, "the file is in it")
            #expect(taken[0] <= size, "\(taken[0]) bytes")
        }

        /// What cannot be done is refused, and none of it is done.
        @Test func refusals() throws {
            try withForebay { mount, _ in
                let before = try options(mount)
                let cases: [([String], String)] = [
                    (["write=back"], "needs a log"), (["flash=x"], "not an absolute path"),
                    (["log=/x:1G:"], "is not a size"), (["name=other"], "cannot be changed"),
                    (["state=/tmp"], "cannot be changed"), (["ro"], "cannot be changed"),
                    (["bogus=1"], "not known"), (["ram=1K"], "too small"),
                    (["ram=99999T"], "more than"), (["attr_timeout=x"], "seconds"),
                    (["attr_timeout=5", "ram=junk"], "not a size"),
                    (["ram=32M", "name=other"], "cannot be changed"),
                ]
                for (changes, reason) in cases {
                    let result = try ChildProcess.run(
                        mount.program, ["set", mount.path] + changes)
                    #expect(result.status == 2, "\(changes)")
                    #expect(result.errorOutput.hasPrefix("forebay: option "), "\(result.text)")
                    #expect(result.errorOutput.contains(reason), "\(result.text)")
                }
                #expect(try mount.attempt("set").status == 2)
                #expect(try options(mount) == before)
                #expect(try mount.xattr("restarts") == "0")
            }
        }
    }
}
