import CLinux
import CPosix
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What changed while Forebay could not see it is read as it is now.
    @Suite(.serialized) struct FlashStaleTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil
        private static let blocks = 512

        /// A change of `disk` on the datastore, which others make; `spare` lies next to it.
        struct Foreign: Sendable, CustomTestStringConvertible {
            let name: String
            let change: @Sendable (_ disk: String, _ spare: String) throws -> Void
            var testDescription: String { name }

            static let all = [
                Foreign(name: "written, times set back") { disk, _ in
                    let before = try Files.attributes(disk)
                    try overwrite(disk)
                    try setTimes(of: disk, as: before)
                    let after = try Files.attributes(disk)
                    #expect(after.modified == before.modified && after.size == before.size)
                },
                Foreign(name: "replaced by a rename") { disk, spare in
                    let before = try Files.attributes(disk)
                    try setTimes(of: spare, as: before)
                    try call { rename(spare, disk) }
                },
                Foreign(name: "exchanged with a cached file") { disk, spare in
                    try call {
                        CLinux_renameat(
                            AT_FDCWD, disk, AT_FDCWD, spare, UInt32(CPosix_RENAME_EXCHANGE))
                    }
                },
                Foreign(name: "truncated") { disk, _ in try call { truncate(disk, 100_001) } },
                Foreign(name: "emptied and extended") { disk, _ in
                    let before = try Files.attributes(disk)
                    try call { truncate(disk, 0) }
                    try call { truncate(disk, off_t(before.size)) }
                    try setTimes(of: disk, as: before)
                },
                Foreign(name: "removed and made anew") { disk, _ in
                    let before = try Files.attributes(disk)
                    try call { unlink(disk) }
                    try Content.write(disk, seed: 8, count: Int(before.size) / 4096)
                    try setTimes(of: disk, as: before)
                },
            ]

            private static func overwrite(_ path: String) throws {
                let file = try OpenFile(path, O_WRONLY)
                try file.write(Content.block(seed: 9, number: 0), at: 77 * 4096)
            }

            private static func setTimes(
                of path: String, as old: CLinux_attributes
            ) throws {
                let times = [
                    timespec(
                        tv_sec: Int(old.accessed_seconds), tv_nsec: Int(old.accessed_nanoseconds)),
                    timespec(
                        tv_sec: Int(old.modified_seconds), tv_nsec: Int(old.modified_nanoseconds)),
                ]
                try call { utimensat(AT_FDCWD, path, times, 0) }
            }
        }

        private static func prepare(_ datastore: TestDatastore) throws {
            for (name, seed) in [("disk", 1), ("spare", 2), ("other", 3)] as [(String, UInt64)] {
                try Content.write(datastore.folderPath(name), seed: seed, count: blocks)
            }
        }

        private func fill(_ mount: ForebayMount) throws {
            for (name, seed) in [("disk", 1), ("spare", 2), ("other", 3)] as [(String, UInt64)] {
                let filled = try fillFlash(mount, name, blocks: Self.blocks, seed: seed)
                try #require(filled == Self.blocks)
            }
        }

        private func expectTruth(
            _ mount: ForebayMount, _ datastore: TestDatastore, _ what: String
        ) throws {
            for name in try Files.names(datastore.folder) {
                expectSame(
                    try readDirect(mount.path(name)), try Files.read(datastore.folderPath(name)),
                    "\(what), \(name)")
            }
        }

        /// Each of them while nothing is mounted, with a file that stayed the same as the witness
        /// that flash was in use.
        @Test(.enabled(if: isLong, "FOREBAY_TEST_LONG=1"), arguments: Foreign.all)
        func betweenTwoMounts(foreign: Foreign) throws {
            try withFlash(prepare: Self.prepare) { mount, datastore, _ in
                try fill(mount)
                try remount(mount) {
                    try foreign.change(
                        datastore.folderPath("disk"), datastore.folderPath("spare"))
                }
                try expectTruth(mount, datastore, foreign.name)
                #expect(try Numbers(mount, "other")["hits_flash"] == Self.blocks)
            }
        }

        /// All of them one after the other, after unmounts and after deaths of everything, with a
        /// file that is being written.
        @Test func betweenMountsAndAfterDeaths() throws {
            try withFlash(prepare: Self.prepare) { mount, datastore, _ in
                for (number, foreign) in Foreign.all.enumerated() {
                    for name in ["disk", "spare"] where !Files.exists(datastore.folderPath(name)) {
                        try Content.write(datastore.folderPath(name), seed: 4, count: Self.blocks)
                    }
                    for name in ["disk", "spare", "other"] {
                        _ = try readDirect(mount.path(name))
                    }
                    // Durable on the device.
                    try remount(mount)
                    for name in ["disk", "spare", "other"] {
                        _ = try readDirect(mount.path(name))
                    }
                    let flash = try Numbers(mount)["hits_flash"]
                    #expect(flash >= Self.blocks, "\(foreign.name): \(flash) hits")
                    let file = try TestFile(mount.path("other"), O_WRONLY | O_DSYNC)
                    try file.write(Content.block(seed: 5, number: 0), at: 5 * 4096)
                    file.close()
                    let change = {
                        try foreign.change(
                            datastore.folderPath("disk"), datastore.folderPath("spare"))
                    }
                    if number % 2 == 0 {
                        try remount(mount, change)
                    } else {
                        try crash(mount, change)
                    }
                    try expectTruth(mount, datastore, foreign.name)
                }
            }
        }

        /// We wrote to the file just before everything died, and others do so some time after: what
        /// they write lies in ranges that we had not touched.
        @Test func writtenByUsAndThenByOthers() throws {
            try withFlash(prepare: Self.prepare) { mount, datastore, _ in
                try fill(mount)
                try remount(mount)
                expectSame(
                    try readDirect(mount.path("disk")),
                    Content.blocks(seed: 1, count: Self.blocks))
                let ours = Content.block(seed: 5, number: 0)
                let file = try OpenFile(mount.path("disk"), O_WRONLY | OpenFile.direct | O_DSYNC)
                try file.write(ours, at: 0)
                try crash(mount) {
                    // Beyond the time for which our own writes explain a change.
                    sleep(milliseconds: UInt64(Limits.flashSampleSlack) / 1_000_000 + 500)
                    let below = try OpenFile(datastore.folderPath("disk"), O_WRONLY)
                    try below.write(Content.block(seed: 6, number: 0), at: 400 * 4096)
                }
                #expect(
                    try FlashReading(mount, datastore, "other").flash == Self.blocks)
                try expectTruth(mount, datastore, "written by others")
            }
        }

        /// Others change a file while the mount lives, and while its server is dead.
        @Test func whileMounted() throws {
            try withFlash(options: ["attr_timeout=1"], prepare: Self.prepare) {
                mount, datastore, _ in
                try fill(mount)
                try remount(mount)
                try expectTruth(mount, datastore, "at first")
                #expect(try Numbers(mount)["hits_flash"] == 3 * Self.blocks)
                try Content.write(datastore.folderPath("disk"), seed: 6, count: Self.blocks)
                let isSeen = try eventually {
                    try readDirect(mount.path("disk"))
                        == Content.blocks(seed: 6, count: Self.blocks)
                }
                #expect(isSeen)
                let (keeper, server) = (try mount.keeperPid, try mount.serverPid)
                try must { kill(keeper, SIGSTOP) }
                defer { kill(keeper, SIGCONT) }
                try must { kill(server, SIGKILL) }
                try Content.write(datastore.folderPath("spare"), seed: 7, count: Self.blocks)
                try must { kill(keeper, SIGCONT) }
                #expect(try eventually { try mount.serverPid != server })
                try awaitFlash(mount)
                try expectTruth(mount, datastore, "after the death of the server")
            }
        }
    }
}
