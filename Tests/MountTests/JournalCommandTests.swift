import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What an administrator does with a mount that has a journal.
    @Suite(.serialized) struct JournalCommandTests {
        private let blocks = Content.blocks(seed: 9, count: 64)
        private let flags = O_RDWR | O_CREAT | OpenFile.direct

        private func options(_ mount: ForebayMount, _ more: String) -> String {
            "name=\(mount.name),state=\(mount.state),ram=16M,\(more)"
        }

        private func attempt(_ mount: ForebayMount, _ options: String) throws -> ProgramResult {
            try ChildProcess.run(
                mount.program, ["mount", mount.backing, mount.path, "-o", options])
        }

        private func leaveDirty(_ mount: ForebayMount, _ name: String) throws {
            try OpenFile(mount.path(name), flags).write(blocks, at: 0)
            try ChildProcess.check("umount", [mount.path])
            try #require(eventually { mount.processes().isEmpty })
        }

        @Test func whetherAllDataIsHome() throws {
            try withLog(options: ["destage_delay=3600"]) { mount, datastore, _ in
                #expect(try mount.attempt("status", "--home").status == 0)
                try OpenFile(mount.path("disk"), flags).write(blocks, at: 0)
                let away = try mount.attempt("status", "--home")
                #expect(away.status == 1)
                #expect(away.output.hasSuffix("all data home: no\n"), "\(away.text)")
                #expect(try mount.xattr("all_data_home") == "no")
                #expect(try mount.xattr("dirty_bytes", of: "disk") == "\(blocks.count)")
                let table = try mount.command("status").output
                #expect(table.contains("256.0 KiB dirty in 1 files"), "\(table)")
                try mount.command("flush", "disk")
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
                let home = try mount.command("status", "--home")
                #expect(home.output.hasSuffix("all data home: yes\n"), "\(home.text)")
            }
        }

        @Test func quiescing() throws {
            try withLog(options: ["destage_delay=0"]) { mount, datastore, _ in
                let file = try OpenFile(mount.path("disk"), flags)
                try file.write(blocks, at: 0)
                let marker = "\(mount.state)/marker"
                let script = "touch \(marker); while [ -e \(marker) ]; do sleep 0.05; done; exit 7"
                let command = ["quiesce", mount.path, "--", "sh", "-c", script]
                let quiesce = try ChildProcess(mount.program, command)
                try #require(eventually { Files.exists(marker) })
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
                // Into the journal writes go on, and no further.
                let later = Content.blocks(seed: 10, count: 64)
                try file.write(later, at: 0)
                #expect(try mount.attempt("quiesce", "--", "true").status == 1)
                #expect(try file.read(at: 0, count: later.count) == later)
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
                // Changes of names wait.
                let path = mount.path("folder")
                let thread = try Thread(name: "mkdir") { mkdir(path, 0o755) }
                sleep(milliseconds: 200)
                #expect(!Files.exists(datastore.folderPath("folder")))
                unlink(marker)
                #expect(try #require(quiesce.wait(seconds: 20)).status == 7)
                thread.join()
                #expect(Files.exists(datastore.folderPath("folder")))
                #expect(eventually { (try? mount.xattr("dirty_bytes")) == "0" })
                #expect(try Files.read(datastore.folderPath("disk")) == later)
                // Whoever quiesces and dies holds nothing any more.
                let second = try ChildProcess(mount.program, command)
                try #require(eventually { Files.exists(marker) })
                kill(second.pid, SIGKILL)
                try file.write(blocks, at: 0)
                #expect(eventually { (try? mount.xattr("dirty_bytes")) == "0" })
            }
        }

        /// What cannot go home keeps the mount, and nothing is run for a snapshot.
        @Test func aDatastoreThatTakesNothing() throws {
            try withLog(options: ["destage_delay=0"]) { mount, datastore, _ in
                let file = try OpenFile(mount.path("disk"), flags)
                try file.write(blocks, at: 0)
                try mount.command("flush")
                try datastore.hang("write")
                try file.write(blocks, at: 0)
                let unmount = try mount.attempt("unmount", "--timeout", "2")
                #expect(unmount.status == 1)
                #expect(unmount.errorOutput.contains("stays mounted: 256.0 KiB"), "\(unmount.text)")
                let marker = "\(mount.state)/marker"
                let quiesce = try mount.attempt("quiesce", "--timeout", "1", "--", "touch", marker)
                #expect(quiesce.status == 1)
                #expect(quiesce.errorOutput.contains("was not run"), "\(quiesce.text)")
                #expect(!Files.exists(marker))
                #expect(try file.read(at: 0, count: blocks.count) == blocks)
                try datastore.unhang("write")
                try mount.command("flush")
            }
        }

        @Test func aLogThatIsNotThere() throws {
            try withLog(options: ["destage_delay=3600"]) { mount, datastore, log in
                try leaveDirty(mount, "disk")
                let check = try ChildProcess.run(
                    mount.program,
                    ["check", "--log", log, "--json", "--backing", datastore.folder])
                #expect(check.status == 0, "\(check.text)")
                #expect(FlatJSON(check.output).integer("dirty_bytes") == UInt64(blocks.count))
                let format = try ChildProcess.run(mount.program, ["format", "--log", log])
                #expect(format.status == 1, "\(format.text)")
                let reading = try attempt(mount, options(mount, "ro"))
                #expect(reading.status == 0, "\(reading.text)")
                #expect(reading.errorOutput.contains("latest writes may be missing"))
                #expect(try Files.read(mount.path("disk")).isEmpty)
                try mount.unmount()
                try must { rename(log, log + ".away") }
                let missing = try attempt(mount, options(mount, "log=\(log):32M,write=back"))
                #expect(missing.status == 1)
                #expect(missing.errorOutput.contains("is missing and may hold the latest writes"))
                #expect(!Files.exists(log))
                let discarding = options(mount, "log=\(log):32M,write=back,discard_log")
                let given = try attempt(mount, discarding)
                #expect(given.status == 0, "\(given.text)")
                #expect(given.errorOutput.contains("given up"), "\(given.text)")
                #expect(try mount.status().text("log_last_loss")?.contains("discard_log") == true)
                try OpenFile(mount.path("disk"), flags).write(blocks, at: 0)
                try mount.unmount()
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
                // Everything was home: no log is missed.
                try must { unlink(log) }
                #expect(try attempt(mount, options(mount, "write=through")).status == 0)
            }
        }

        @Test func anotherLogAndNone() throws {
            try withLog(options: ["destage_delay=3600"]) { mount, datastore, log in
                let file = try OpenFile(mount.path("disk"), flags)
                try file.write(blocks, at: 0)
                try mount.command("set", "log=\(log).new:32M")
                #expect(try Files.read(datastore.folderPath("disk")) == blocks)
                #expect(try mount.status().text("log_path") == "\(log).new")
                try file.write(blocks, at: UInt64(blocks.count))
                #expect(try mount.xattr("dirty_bytes") == "\(blocks.count)")
                #expect(try mount.attempt("set", "log=none").status == 2)
                try mount.command("set", "log=none", "write=through")
                #expect(try mount.xattr("log_state") == "none")
                #expect(try Files.read(datastore.folderPath("disk")) == blocks + blocks)
                #expect(!Files.exists("\(mount.state)/log"), "no log is needed any more")
            }
        }
    }
}
