import Devices
import FlashTier
import Glibc
import Syscalls
import TestSupport
import Testing

/// The tier on a real file, past the page cache.
@Suite struct FileDeviceTests {
    private let space: TemporaryFolder
    private let path: String
    private static let contents = (0..<UInt64(1500)).map { Content.block(seed: 4, number: $0) }
    private static let sample = FileSample(
        size: 1, modifiedSeconds: 2, modifiedNanoseconds: 3, changedSeconds: 4,
        changedNanoseconds: 5)

    init() throws {
        space = try TemporaryFolder("flash")
        path = space.path("device")
        try Files.write(path, "")
        try call { [path] in truncate(path, 32 << 20) }
    }

    /// Opens the file. A program that another test starts holds all locks until it runs.
    private func device(readOnly: Bool = false) throws -> FileDevice {
        let deadline = monotonicNanoseconds() + .seconds(20)
        while true {
            do throws(Errno) {
                return try FileDevice(path: path, readOnly: readOnly)
            } catch {
                guard error == .busy, monotonicNanoseconds() < deadline else { throw error }
                sleep(milliseconds: 10)
            }
        }
    }

    private func open(_ instance: UInt64?) throws -> FlashTier<FileDevice> {
        let tier = try FlashTier(
            try device(),
            .init(owner: "test", lastInstance: instance) { _ in })
        try tier.load()
        return tier
    }

    private func fill(_ tier: FlashTier<FileDevice>) throws {
        for (number, content) in Self.contents.enumerated() {
            let block = UInt64(number)
            let ticket = try #require(tier.ticket(7, block: block))
            let outcome = content.withUnsafeBytes { bytes in
                bytes.baseAddress.map {
                    tier.offer(
                        7, block: block, ticket: ticket, $0, isReused: false, sample: Self.sample)
                }
            }
            guard case .stored? = outcome else {
                Issue.record("block \(number): \(String(describing: outcome))")
                return
            }
        }
    }

    /// Blocks that are found, all with the right bytes.
    private func found(_ tier: FlashTier<FileDevice>) -> Int {
        let memory = BlockBuffer(blocks: 1)
        var count = 0
        for (number, content) in Self.contents.enumerated() {
            guard tier.read(7, block: UInt64(number), into: memory) else { continue }
            #expect(content == Array(memory.bytes), "block \(number)")
            count += 1
        }
        return count
    }

    @Test func contentsSurviveAndADamagedOneIsMissed() throws {
        try FlashFormat.format(try device())
        try reopened(try firstLife())
    }

    /// Fills the tier and closes it; answers what the mount remembers. The device is free once this
    /// has returned.
    private func firstLife() throws -> UInt64 {
        let tier = try open(nil)
        try fill(tier)
        #expect(found(tier) == Self.contents.count)
        #expect(throws: Errno.busy) { _ = try FileDevice(path: path) }
        tier.close()
        return tier.instance
    }

    private func reopened(_ instance: UInt64) throws {
        let clean = try FlashCheck(try device(readOnly: true))
        #expect(!clean.isDamaged)
        #expect(clean.contents == UInt64(Self.contents.count))
        #expect(clean.header.owner == "test")
        #expect(!clean.header.isInUse)

        // One bit of one content.
        let file = try OpenFile(path, O_RDWR)
        let all = try Files.read(path)
        let wanted = Self.contents[700]
        let offset = try #require(
            stride(from: 0, to: all.count, by: 4096).first { start in
                all[start] == wanted[0] && all[start..<start + 4096].elementsEqual(wanted)
            })
        try file.write([wanted[9] ^ 4], at: UInt64(offset + 9))
        let damaged = try FlashCheck(try device(readOnly: true))
        #expect(damaged.isDamaged)
        #expect(damaged.damagedContents == 1)

        let tier = try open(instance)
        #expect(tier.lookup(7, block: 700) == nil)
        #expect(tier.mayBelieve(7, Self.sample) == true)
        #expect(tier.lookup(7, block: 700) != nil)
        #expect(found(tier) == Self.contents.count - 1)
        #expect(tier.statistics.damaged == 1)
        #expect(tier.lookup(7, block: 700) == nil)
        tier.close()
    }
}
