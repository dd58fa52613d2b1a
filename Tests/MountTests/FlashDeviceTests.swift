import Glibc
import Syscalls
import TestSupport
import Testing

extension OnMounts {
    /// Devices that are not as the mount left them.
    @Suite(.serialized) struct FlashDeviceTests {
        private static let isLong = getenv("FOREBAY_TEST_LONG") != nil
        private static let blocks = 2048
        private static let contents = Content.blocks(seed: 1, count: blocks)

        private func withFilled(
            _ body: (ForebayMount, TestDatastore, FlashMedium) throws -> Void
        ) throws {
            try withFlash(
                prepare: { try Content.write($0.folderPath("disk"), seed: 1, count: Self.blocks) }
            ) { mount, datastore, medium in
                try #require(try fillFlash(mount, "disk", blocks: Self.blocks) == Self.blocks)
                try body(mount, datastore, medium)
            }
        }

        /// Another mount's device is refused and left alone, in use or not.
        @Test func anotherMountsDevice() throws {
            try withFilled { mount, datastore, medium in
                try expectRefusal(of: medium, "in use by the mount at '\(mount.path)'")
                try mount.unmount()
                let before = try Files.read(medium.file)
                try expectRefusal(of: medium, "is the cache of a mount of another name")
                expectSame(try Files.read(medium.file), before, "it was not touched")
                try mount.mount()
                try awaitFlash(mount)
                let reading = try FlashReading(mount, datastore, "disk")
                expectSame(reading.bytes, Self.contents)
                #expect(reading.flash == Self.blocks, "\(reading.text)")
            }
        }

        private func expectRefusal(
            of medium: FlashMedium, _ reason: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let backing = try TemporaryFolder("backing")
            do {
                let mount = try ForebayMount(
                    over: backing.path, options: ["ram=16M", medium.option])
                mount.stop()
                Issue.record("it was taken", sourceLocation: sourceLocation)
            } catch let failure as TestFailure {
                let text = failure.description
                #expect(text.contains(reason), "\(text)", sourceLocation: sourceLocation)
                #expect(text.contains(medium.path), "\(text)", sourceLocation: sourceLocation)
            }
        }

        /// What may become of a device while no server has it.
        struct Accident: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let happen: @Sendable (_ file: String) throws -> Void

            static let all =
                [0, 4096, 32 << 20, 5 << 20].map { size in
                    Accident(testDescription: "cut to \(size) bytes") { file in
                        try must { truncate(file, off_t(size)) }
                    }
                } + [
                    Accident(testDescription: "another mount's") { file in
                        // The same blocks of the same file names, of another datastore.
                        let medium = try FlashMedium()
                        defer { medium.stop() }
                        try withForebay(
                            options: ["ram=16M", medium.option],
                            prepare: { datastore in
                                try Content.write(
                                    datastore.folderPath("disk"), seed: 2,
                                    count: FlashDeviceTests.blocks)
                            }
                        ) { other, _ in
                            try awaitFlash(other)
                            try fillFlash(
                                other, "disk", blocks: FlashDeviceTests.blocks, seed: 2)
                            try other.unmount()
                        }
                        try ChildProcess.check("cp", [medium.file, file])
                    },
                    Accident(testDescription: "overwritten") { file in
                        try OpenFile(file, O_WRONLY).write(pattern(1 << 20), at: 0)
                    },
                ]
        }

        /// A server that takes over serves without a device that cannot be used, says why, and
        /// uses it when it can be.
        @Test(arguments: isLong ? Accident.all : Accident.all.suffix(1))
        func withoutItsDevice(accident: Accident) throws {
            try withFilled { mount, datastore, medium in
                let (keeper, server) = (try mount.keeperPid, try mount.serverPid)
                try must { kill(keeper, SIGSTOP) }
                defer { kill(keeper, SIGCONT) }
                try must { kill(server, SIGKILL) }
                try accident.happen(medium.file)
                let damaged = try Files.read(medium.file)
                try must { kill(keeper, SIGCONT) }
                #expect(eventually { (try? mount.serverPid).map { $0 != server } ?? false })
                let isTold = eventually {
                    mount.health.hasPrefix("degraded: ") && mount.health.contains("flash")
                        && mount.health.contains(medium.path)
                }
                #expect(isTold, "\(mount.health)")
                #expect(mount.flashState.hasPrefix("off"), "\(mount.flashState)")
                for _ in 0..<2 { expectSame(try readDirect(mount.path("disk")), Self.contents) }
                expectSame(try Files.read(medium.file), damaged, "it was not touched")
                try must { truncate(medium.file, 64 << 20) }
                try medium.format()
                #expect(eventually { mount.health == "healthy" }, "\(mount.health)")
                try awaitFlash(mount)
                try mount.drop()
                try fillFlash(mount, "disk", blocks: Self.blocks)
                try remount(mount)
                let warm = try FlashReading(mount, datastore, "disk")
                expectSame(warm.bytes, Self.contents)
                #expect(warm.flash > Self.blocks / 2, "\(warm.text)")
            }
        }

        @Test func formattedAnew() throws {
            try withFilled { mount, datastore, medium in
                try remount(mount) { try medium.format() }
                let cold = try FlashReading(mount, datastore, "disk")
                expectSame(cold.bytes, Self.contents)
                #expect(cold.flash == 0 && cold.datastoreReads > 0, "\(cold.text)")
                #expect(eventually { mount.flashBytes == Self.blocks * 4096 })
                try remount(mount)
                let warm = try FlashReading(mount, datastore, "disk")
                expectSame(warm.bytes, Self.contents)
                #expect(warm.flash == Self.blocks, "\(warm.text)")
            }
        }

        /// What is found by its content only is not taken for the truth about a file.
        @Test func theStateFolderIsLost() throws {
            try withFilled { mount, datastore, _ in
                try remount(mount) {
                    for name in try Files.names(mount.state) {
                        Files.removeTree("\(mount.state)/\(name)")
                    }
                    try change(datastore)
                }
                expectSame(
                    try readDirect(mount.path("disk")),
                    try Files.read(datastore.folderPath("disk")))
                // What was read is stored behind the answer, unless the mount ends before.
                var warm = 0
                for _ in 0..<5 where warm <= Self.blocks / 2 {
                    try remount(mount)
                    let reading = try FlashReading(mount, datastore, "disk")
                    expectSame(reading.bytes, try Files.read(datastore.folderPath("disk")))
                    warm = reading.flash
                }
                #expect(warm > Self.blocks / 2)
            }
        }

        private func change(_ datastore: TestDatastore) throws {
            let file = try OpenFile(datastore.folderPath("disk"), O_WRONLY)
            try file.write(Content.block(seed: 9, number: 0), at: 1000 * 4096)
        }

        /// Bits flip anywhere on the device; most of what is undamaged still hits. How much is lost
        /// depends on whether tables are hit, so it is the rounds together that are judged.
        @Test func bitFlips() throws {
            try withFilled { mount, datastore, medium in
                var random = SplitMix64.announced()
                let rounds = Self.isLong ? 150 : 5
                var found = 0
                for _ in 0..<rounds {
                    try remount(mount) {
                        let device = try OpenFile(medium.file, O_RDWR)
                        for _ in 0..<20 {
                            // Where contents and their tables are.
                            let place = UInt64.random(in: 0..<(12 << 20), using: &random)
                            var byte = try device.read(at: place, count: 1)
                            byte[0] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                            try device.write(byte, at: place)
                        }
                        #expect(try medium.check().text("result") == "damaged")
                    }
                    let reading = try FlashReading(mount, datastore, "disk")
                    expectSame(reading.bytes, Self.contents)
                    print("after 20 bit flips: \(reading.text)")
                    found += reading.flash
                }
                #expect(found > rounds * Self.blocks / 2)
            }
        }

        /// It ends early while it is in use: what lies behind the end is a miss.
        @Test func truncatedWhileInUse() throws {
            try withFilled { mount, datastore, medium in
                try remount(mount)
                try must { truncate(medium.file, 6 << 20) }
                for _ in 0..<2 { expectSame(try readDirect(mount.path("disk")), Self.contents) }
                #expect(try datastore.counts()["read"] > 0)
                try mount.unmount()
            }
        }

        private func writeBlock(_ block: UInt64, seed: UInt64, _ mount: ForebayMount) throws {
            let file = try OpenFile(mount.path("disk"), O_WRONLY | OpenFile.direct | O_DSYNC)
            try file.write(Content.block(seed: seed, number: 0), at: block * 4096)
        }

        /// An older copy of the same device is put in its place. Whatever it says of files is
        /// older than what was written since, even where attributes cannot tell.
        @Test(arguments: [false, true])
        func anOlderCopy(ofALiveDevice isLive: Bool) throws {
            try withFilled { mount, datastore, medium in
                let space = try TemporaryFolder("copy")
                let copy = space.path("copy")
                try remount(mount)
                _ = try readDirect(mount.path("disk"))
                if isLive {
                    // The copy has a mark: for such a file a later change is explained by it.
                    try writeBlock(0, seed: 5, mount)
                    try ChildProcess.check("cp", [medium.file, copy])
                } else {
                    try mount.unmount()
                    try ChildProcess.check("cp", [medium.file, copy])
                    try mount.mount()
                    try awaitFlash(mount)
                }
                // In another range, and so not covered by the mark.
                try writeBlock(1500, seed: 6, mount)
                try crash(mount) {
                    // The copy is of an earlier session, not of this one.
                    try mount.mount()
                    try awaitFlash(mount)
                    try mount.unmount()
                    try ChildProcess.check("cp", [copy, medium.file])
                }
                var expected = Self.contents
                if isLive {
                    expected.replaceSubrange(
                        0..<4096, with: Content.block(seed: 5, number: 0))
                }
                expected.replaceSubrange(
                    1500 * 4096..<1501 * 4096, with: Content.block(seed: 6, number: 0))
                expectSame(try readDirect(mount.path("disk")), expected)
                expectSame(try Files.read(datastore.folderPath("disk")), expected)
            }
        }
    }
}
