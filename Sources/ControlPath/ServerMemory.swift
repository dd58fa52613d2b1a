import DataPath

/// The memory that a server takes, by what `/proc/self/status` says (proc(5)) and what the memory
/// files that outlive it have.
struct ServerMemory: Equatable {
    /// Bytes that the process has mapped and that are in memory: RSS, as ps(1) shows it.
    let resident: UInt64
    /// Bytes of pages that the RAM tier has, tables included, whoever touched them.
    let tier: UInt64
    /// Bytes of everything else: the heap, the program, the request slots, the index of flash.
    let beyondTier: UInt64

    /// `text` is that of `/proc/self/status`; nil when it does not tell.
    ///
    /// A page of a memory file is in the RSS of those alone who touched it, and a successor touches
    /// few. So the files count as a whole, and of the RSS only the private and the program's pages.
    init?(processStatus text: String, report: DatastoreReport, slotsBytes: UInt64) {
        let names = ["RssAnon", "RssFile", "RssShmem"]
        let sizes = names.compactMap { Self.kibibytes($0, in: text) }
        guard sizes.count == names.count else { return nil }
        resident = sizes.reduce(0, +)
        tier = report.sharedBytesRAM + report.ownBytesRAM
        let own = sizes[0] + sizes[1]
        // The two are looked at one after the other.
        beyondTier = own - min(report.ownBytesRAM, own) + slotsBytes
    }

    /// The size of a line such as `RssAnon:      5432 kB`, in bytes.
    private static func kibibytes(_ name: String, in text: String) -> UInt64? {
        for line in text.split(separator: "\n") where line.hasPrefix(name + ":") {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count == 3, words[2] == "kB", let size = UInt64(words[1]),
                size < 1 << 48
            else { return nil }
            return size * 1024
        }
        return nil
    }
}
