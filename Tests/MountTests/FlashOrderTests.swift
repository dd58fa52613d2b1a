import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// What an administrator does with flash while the mount serves.
    @Suite(.serialized) struct FlashOrderTests {
        private static let blocks = 1024
        private static let contents = Content.blocks(seed: 1, count: blocks)

        private static func prepare(_ datastore: TestDatastore) throws {
            try must { mkdir(datastore.folderPath("folder"), 0o755) }
            for (name, seed) in [("disk", 1), ("folder/other", 2)] as [(String, UInt64)] {
                try Content.write(datastore.folderPath(name), seed: seed, count: blocks)
            }
        }

        /// A mount without flash gets some, loses it and gets it back, under a load that verifies.
        @Test func addedAndRemoved() throws {
            let medium = try FlashMedium()
            defer { medium.stop() }
            try withForebay(options: ["ram=16M"], prepare: Self.prepare) { mount, datastore in
                let path = mount.path("disk")
                let load = try Workload([
                    ("reads", { try VerifiedReads(path, seed: 1, blocks: Self.blocks, most: 16) })
                ])
                defer { load.stop() }
                for round in 0..<2 {
                    try mount.command("set", medium.option, "flash_dwpd=0")
                    try awaitFlash(mount)
                    // What RAM has is not offered again.
                    try mount.drop()
                    try fillFlash(mount, "disk", blocks: Self.blocks)
                    try #require(
                        eventually { mount.flashBytes == Self.blocks * 4096 },
                        "round \(round): \(mount.flashBytes)")
                    #expect(load.progresses(), "\(load.failures)")
                    try mount.command("set", "flash=none")
                    #expect(try Numbers(mount)["unique_bytes_flash"] == 0)
                    #expect(mount.health == "healthy")
                    #expect(try medium.check().text("in_use") == "false")
                    #expect(load.progresses(), "\(load.failures)")
                    // Written while the device is not there: it must not come back.
                    let file = try OpenFile(mount.path("folder/other"), O_WRONLY | O_DSYNC)
                    try file.write(
                        Content.block(seed: 5, number: UInt64(round)), at: UInt64(round * 4096))
                }
                load.stop()
                #expect(load.failures == [])
                try mount.command("set", medium.option)
                try awaitFlash(mount)
                for name in ["disk", "folder/other"] {
                    expectSame(
                        try readDirect(mount.path(name)),
                        try Files.read(datastore.folderPath(name)), name)
                }
            }
        }

        @Test func dropping() throws {
            try withFlash(prepare: Self.prepare) { mount, datastore, _ in
                try fillFlash(mount, "disk", blocks: Self.blocks)
                try fillFlash(mount, "folder/other", blocks: Self.blocks, seed: 2)
                try remount(mount)
                try mount.command("drop", mount.path("disk"))
                #expect(try mount.xattr("cached_bytes", of: "disk") == "0")
                let cold = try FlashReading(mount, datastore, "disk")
                expectSame(cold.bytes, Self.contents)
                #expect(cold.flash == 0 && cold.datastoreReads > 0, "\(cold.text)")
                let warm = try FlashReading(mount, datastore, "folder/other")
                #expect(warm.flash == Self.blocks, "\(warm.text)")
                try mount.command("drop")
                try remount(mount)
                for name in ["disk", "folder/other"] {
                    let cold = try FlashReading(mount, datastore, name)
                    #expect(cold.flash == 0 && cold.datastoreReads > 0, "\(name): \(cold.text)")
                }
            }
        }

        @Test func warming() throws {
            try withFlash(prepare: Self.prepare) { mount, datastore, _ in
                try mount.command("warm", mount.path("disk"), mount.path("folder"))
                #expect(
                    eventually { mount.flashBytes == 2 * Self.blocks * 4096 },
                    "\(mount.flashBytes)")
                try remount(mount)
                for (name, seed) in [("disk", 1), ("folder/other", 2)] as [(String, UInt64)] {
                    let warm = try FlashReading(mount, datastore, name)
                    expectSame(warm.bytes, Content.blocks(seed: seed, count: Self.blocks), name)
                    #expect(warm.flash == Self.blocks && warm.datastoreReads == 0, "\(warm.text)")
                }
                let missing = try mount.attempt("warm", mount.path("missing"))
                #expect(missing.status == 1, "\(missing.text)")
                #expect(missing.errorOutput.hasPrefix("forebay: "), "\(missing.text)")
            }
        }

        /// What is never to be cached does not enter flash, and leaves it.
        @Test func bypassPolicy() throws {
            try withFlash(prepare: Self.prepare) { mount, datastore, _ in
                try mount.setXattr("cache", "bypass", of: "folder")
                for _ in 0..<2 { _ = try readDirect(mount.path("folder/other")) }
                try fillFlash(mount, "disk", blocks: Self.blocks)
                #expect(try Numbers(mount)["unique_bytes_flash"] == Self.blocks * 4096)
                try mount.setXattr("cache", "bypass", of: "disk")
                try remount(mount)
                let reading = try FlashReading(mount, datastore, "disk")
                expectSame(reading.bytes, Self.contents)
                #expect(reading.flash == 0 && reading.datastoreReads > 0, "\(reading.text)")
                #expect(try mount.xattr("cached_bytes", of: "disk") == "0")
                try mount.setXattr("cache", "normal", of: "disk")
                expectSame(try readDirect(mount.path("disk")), Self.contents)
                // A change that was made past the cache is not forgotten by it.
                try mount.setXattr("cache", "bypass", of: "disk")
                let file = try OpenFile(mount.path("disk"), O_WRONLY | O_DSYNC)
                try file.write(Content.block(seed: 7, number: 0), at: 0)
                try mount.setXattr("cache", "normal", of: "disk")
                expectSame(
                    try readDirect(mount.path("disk")),
                    try Files.read(datastore.folderPath("disk")))
            }
        }

        /// A pinned file stays when much more than there is room for is read twice.
        @Test func pinPolicy() throws {
            try withFlash(
                size: 36 << 20,
                prepare: { datastore in
                    try Self.prepare(datastore)
                    try Content.write(datastore.folderPath("large"), seed: 4, count: 12_288)
                }
            ) { mount, datastore, _ in
                try mount.setXattr("cache", "pin", of: "disk")
                try fillFlash(mount, "disk", blocks: Self.blocks)
                try fillFlash(mount, "folder/other", blocks: Self.blocks, seed: 2)
                for _ in 0..<3 { _ = try readDirect(mount.path("large")) }
                try remount(mount)
                let pinned = try FlashReading(mount, datastore, "disk")
                expectSame(pinned.bytes, Self.contents)
                #expect(pinned.flash == Self.blocks, "\(pinned.text)")
                print("pinned: \(pinned.text)")
            }
        }
    }
}
