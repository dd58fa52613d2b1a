import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// `forebay warm`: what it read needs no datastore afterwards, and what it skipped was a hole.
    @Suite(.serialized) struct WarmCommandTests {
        private func prepare(_ datastore: TestDatastore) throws {
            try Content.write(datastore.folderPath("first"), seed: 1, count: 512)
            mkdir(datastore.folderPath("folder"), 0o755)
            try Content.write(datastore.folderPath("folder/second"), seed: 2, count: 300)
            try Files.write(datastore.folderPath("folder/odd"), [UInt8](repeating: 7, count: 5000))
            try Files.write(datastore.folderPath("cold"), [UInt8](repeating: 8, count: 8192))
        }

        private func warm(_ mount: ForebayMount, _ arguments: String...) throws -> FlatJSON {
            let words = ["warm", mount.path] + arguments + ["--json"]
            return FlatJSON(try ChildProcess.check(mount.program, words).output)
        }

        @Test func whatWasReadIsInTheCache() throws {
            try withForebay(prepare: prepare) { mount, datastore in
                let done = try warm(mount, "first", mount.path("folder"))
                #expect(done.integer("files") == 3)
                #expect(done.integer("bytes") == UInt64((512 + 300) * 4096 + 5000))
                let warmed = try Numbers(mount)
                #expect(warmed["misses"] > 0)
                #expect(eventually { (try? Numbers(mount)["cached_bytes"]) == 814 * 4096 })
                // Read from the cache alone: the datastore does not answer.
                try datastore.hang("read")
                #expect(try readDirect(mount.path("first")) == Content.blocks(seed: 1, count: 512))
                #expect(
                    try readDirect(mount.path("folder/second"))
                        == Content.blocks(seed: 2, count: 300))
                #expect(try readDirect(mount.path("folder/odd")).count == 5000)
                try datastore.unhang("read")
                #expect(try Numbers(mount).grown("misses", since: warmed) == 0)
                // Nothing of it is in the kernel's page cache, so it comes to the server again.
                let again = try warm(mount, ".")
                #expect(again.integer("files") == 4)
                let after = try Numbers(mount)
                #expect(after.grown("misses", since: warmed) == 2, "of the file that was cold")
                #expect(after.grown("hits_ram", since: warmed) == 2 * 814)
            }
        }

        @Test func holesAreSkipped() throws {
            let folder = try TemporaryFolder("holes")
            let path = folder.path("sparse")
            try Content.write(path, seed: 3, count: 4)
            try call { truncate(path, 1 << 30) }
            try OpenFile(path, O_WRONLY).write(Content.block(seed: 4, number: 1), at: 512 << 20)
            try withForebay(over: folder.path) { mount in
                let done = try warm(mount, "sparse")
                let (bytes, holes) = (done.integer("bytes"), done.integer("hole_bytes"))
                #expect(try #require(bytes) + #require(holes) == 1 << 30)
                #expect(try #require(bytes) < 16 << 20)
                #expect(try Numbers(mount)["read_bytes"] == Int(try #require(bytes)))
            }
        }

        @Test func theRateIsKept() throws {
            try withForebay(prepare: prepare) { mount, _ in
                let start = monotonicNanoseconds()
                let done = try warm(mount, "first", "--rate", "1M")
                let seconds = Double(monotonicNanoseconds() - start) / 1e9
                #expect(done.integer("bytes") == 512 * 4096)
                // The last read is not waited for.
                #expect(seconds > 1.7, "\(seconds)")
            }
        }

        private func expectRefusal(
            _ mount: ForebayMount, _ arguments: [String], _ status: Int32, _ reason: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let result = try ChildProcess.run(mount.program, ["warm", mount.path] + arguments)
            #expect(result.status == status, "\(result.text)", sourceLocation: sourceLocation)
            let line = result.errorOutput
            #expect(line.hasPrefix("forebay: "), "\(line)", sourceLocation: sourceLocation)
            #expect(line.contains(reason), "\(line)", sourceLocation: sourceLocation)
            #expect(line.split(separator: "\n").count == 1, sourceLocation: sourceLocation)
        }

        @Test func whatCannotBeWarmedIsRefused() throws {
            try withForebay(prepare: prepare) { mount, datastore in
                try must { symlink("/etc", datastore.folderPath("etc")) }
                try expectRefusal(mount, [], 2, "paths")
                try expectRefusal(mount, ["first", "--rate", "fast"], 2, "not a rate")
                try expectRefusal(mount, ["first", "--rate", "1K"], 2, "not a rate")
                try expectRefusal(mount, ["first", "/etc/passwd"], 1, "not below")
                try expectRefusal(mount, ["first", "etc"], 1, "leads out of")
                try expectRefusal(mount, ["first", "nowhere"], 1, "No such file")
                #expect(try Numbers(mount)["reads"] == 0, "nothing was begun")
                try mount.command("bypass", "on")
                try expectRefusal(mount, ["first"], 1, "forebay bypass")
            }
        }

        @Test func whatDoesNotAnswerEndsIt() throws {
            try withForebay(options: ["backend_timeout=1"], prepare: prepare) { mount, datastore in
                try datastore.hang("read")
                try expectRefusal(mount, ["first", "folder"], 1, "does not answer")
                try datastore.unhang("read")
                for process in mount.processes() { kill(process.pid, SIGKILL) }
                try #require(eventually { mount.processes().isEmpty })
                try expectRefusal(mount, ["first"], 1, "server is gone")
            }
        }
    }
}
