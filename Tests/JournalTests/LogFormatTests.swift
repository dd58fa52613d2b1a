import Devices
import Journal
import Policy
import Syscalls
import TestSupport
import Testing

/// The format, as docs/on-disk-format.md describes it.
@Suite struct LogFormatTests {
    private func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    /// FNV-1a: one number for a whole image.
    private func digest(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    @Test func theFormatStaysAsItIs() throws {
        let contents = try LogContents(seed: 9)
        let (journal, _) = try contents.recovered()
        #expect(throws: Never.self) { try journal.claim(owner: "vms@1234") }
        let first = try LogContents.append(journal, 3, 4096, 20)
        #expect(first == 32 << 10 + 64 + 64 + 32)
        for number in 0..<40 { try LogContents.append(journal, 4, UInt64(number) * 512, 2000) }
        try journal.release(upTo: first + 1)
        let image = contents.device.withState { $0.current }
        let second = 128 << 10 + 32 << 10
        #expect(hex(image[0..<92]) == Self.header)
        #expect(hex(image[32 << 10..<32 << 10 + 55]) == Self.checkpoint)
        #expect(hex(image[second..<second + 240]) == Self.frame)
        #expect(hex(image[second + 32 << 10 - 96..<second + 32 << 10]) == Self.footer)
        #expect(digest(image) == 17_319_010_599_287_718_399)
    }

    private static let header =
        "ab08f6ce825c23b5" + "466f7265626179206c6f670000000000" + "01000000" + "00020000"
        + "000102030405060708090a0b0c0d0e0f" + "f8cdab8967452301" + "0000060000000000"
        + "0080000000000000" + "0200000000000000" + "0800" + "766d734031323334" + "0000"
    private static let checkpoint =
        "75700dca257872f0" + "46424a43" + "00000000" + "0600000000000000" + "a180000000000000"
        + "0100000000000000" + "0080000000000000" + "00280200000000"
    private static let frame =
        "f5dfb3ef91b2998c" + "46424a46" + "02000000" + "0080000000000000" + "0100000000000000"
        + "0080000000000000" + "0080000000000000" + "0080000000000000" + "f800000000000000"
        + "2c3b728ea63e61f7" + "9a3f570ab1350386" + "00000000" + "1c000000" + "0300000000000000"
        + String(repeating: "0", count: 56) + "01000000" + String(repeating: "03", count: 28)
        + "00000000" + "68cc01d242901ab2" + "3ff870fcb9caaf66" + "01000000" + "14000000"
        + "0300000000000000" + "0010000000000000" + "1400000000000000" + "0010000000000000"
        + "14000000" + "01000000" + "9b19ead88c3de602e6be110c0172a065"
    private static let footer =
        "431975facb78b8fe" + "46424a53" + "0d000000" + "0080000000000000" + "00fa000000000000"
        + "0080000000000000"
        + "0100000000000000" + "0100000000000000" + "00fa000000000000" + "0080000000000000"
        + "926bf82df82a03b0" + "bf000000" + String(repeating: "0", count: 24)

    @Test func aDeviceIsToldByWhatIsOnIt() throws {
        let device = SimulatedLogDevice(size: 2 << 20, sector: 512, seed: 1)
        #expect(try LogFormat.contents(of: device) == .nothing)
        #expect(throws: JournalProblem.unformatted) { _ = try Journal(device) }
        #expect(throws: Errno.noSpace) { try LogFormat.format(device) }
        try LogFormat.format(device, segmentSize: 64 << 10)
        #expect(try LogFormat.contents(of: device) == .ours(owner: ""))
        let journal = try Journal(device)
        #expect(throws: Never.self) { try journal.claim(owner: "vms") }
        #expect(throws: Errno.busy) { try journal.claim(owner: "others") }
        #expect(try LogFormat.contents(of: device) == .ours(owner: "vms"))
        #expect(try Journal(device).header.owner == "vms")
        // A copy of the header is enough; a damaged one is still ours.
        device.withState { $0.current[40] ^= 1 }
        #expect(try LogCheck(device).damagedHeaders == 1)
        #expect(try Journal(device).header.owner == "vms")
        device.withState { $0.current[64 << 10 + 40] ^= 1 }
        #expect(throws: JournalProblem.damagedHeader) { _ = try Journal(device) }
        #expect(try LogFormat.contents(of: device) == .ours(owner: ""))
        device.withState { $0.current[24] = 2 }
        device.withState { $0.current[64 << 10 + 24] = 2 }
        #expect(throws: JournalProblem.otherVersion(2)) { _ = try Journal(device) }
        device.withState { $0.current[10] = 2 }
        #expect(try LogFormat.contents(of: device) == .foreign("data"))
    }

    @Test func whatIsFormattedAgainHoldsNothingOfBefore() throws {
        let contents = try LogContents(seed: 2)
        let (journal, _) = try contents.recovered()
        for number in 0..<50 { try LogContents.append(journal, 1, UInt64(number), 2000) }
        try LogFormat.format(contents.device, segmentSize: 32 << 10)
        let (_, found) = try contents.recovered()
        #expect(found.order.isEmpty)
        #expect(found.report.damage.isEmpty)
    }

    @Test func aCheckTellsWhatIsDirty() throws {
        let contents = try LogContents(seed: 7)
        let (journal, _) = try contents.recovered()
        try journal.claim(owner: "vms")
        try LogContents.append(journal, 1, 0, 1000)
        try LogContents.append(journal, 1, 500, 1000)
        try LogContents.append(journal, 2, 9000, 100)
        try LogContents.append(journal, 3, 0, 0)
        let check = try LogCheck(contents.device)
        #expect(!check.isDamaged)
        #expect(check.header.owner == "vms")
        #expect(check.records == 4)
        #expect(check.files.map(\.file) == [1, 2, 3])
        #expect(check.files.map(\.bytes) == [1500, 100, 0])
        #expect(check.files.map(\.records) == [2, 1, 1])
        #expect(check.files.map(\.handle) == [1, 2, 3].map(LogContents.handle))
        #expect(check.dirtyBytes == 1600)
        try journal.release(upTo: journal.head)
        #expect(try LogCheck(contents.device).records == 0)
    }

    @Test func sizesOfSegmentsFollowThatOfTheDevice() {
        #expect(LogGeometry.segmentSize(for: 64 << 20) == 4 << 20)
        #expect(LogGeometry.segmentSize(for: 512 << 20) == 8 << 20)
        #expect(LogGeometry.segmentSize(for: 1 << 40) == 16 << 20)
        #expect(LogGeometry(size: 20 << 20, segmentSize: 4 << 20, unit: 512) == nil)
        let large = LogGeometry(size: 1 << 40, segmentSize: 16 << 20, unit: 4096)
        #expect((large?.largestPayload ?? 0) > Limits.requestSize)
        let small = LogGeometry(size: 64 << 20, segmentSize: 4 << 20, unit: 512)
        #expect((small?.largestPayload ?? 0) > Limits.requestSize)
    }
}
