import Policy
import Testing

@Suite struct ByteSizeTests {
    @Test(
        arguments: [
            ("0", 0), ("1", 1), ("4096", 4096), ("1K", 1024), ("2k", 2048), ("16M", 16 << 20),
            ("8G", 8 << 30), ("3T", 3 << 40), ("8388607T", 8_388_607 << 40),
            ("9223372036854775807", UInt64(Int64.max)),
        ] as [(String, UInt64)])
    func sizesAreRead(text: String, bytes: UInt64) {
        #expect(ByteSize.parse(text) == bytes)
    }

    @Test(arguments: [
        "", "K", "-1", "+1", "1 G", " 1G", "1G ", "1.5G", "1GB", "1KK", "0x10", "1e9", "٣",
        "9223372036854775808", "18446744073709551616", "8388608T", "99999999999999999999999",
        "G1", "1\0", "1\n",
    ])
    func junkIsRefused(text: String) {
        #expect(ByteSize.parse(text) == nil)
    }

    @Test(arguments: [0, 1, 1023, 1024, 1025, 1 << 20, 3 << 29, 1 << 40, 4097] as [UInt64])
    func exactTextReadsBack(bytes: UInt64) {
        #expect(ByteSize.parse(ByteSize.exact(bytes)) == bytes)
    }

    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
            ((4 << 30) - 1, "3.9 GiB"), (UInt64.max, "16777215.9 TiB"),
        ] as [(UInt64, String)])
    func readableRoundsDown(bytes: UInt64, text: String) {
        #expect(ByteSize.readable(bytes) == text)
    }
}
