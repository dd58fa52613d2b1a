/// What a fill remembers from before it read the datastore.
package struct FillTicket: BitwiseCopyable, Sendable {
    let file: CacheID
    let firstBlock: UInt64
    let count: Int
    /// Version of the file's stripe, and of the stripes of up to four groups of blocks.
    let fileSample: UInt64
    let samples: (UInt64, UInt64, UInt64, UInt64)

    /// Groups of 256 blocks that one fill can span; blocks beyond are not admitted.
    static let groups: UInt64 = 4

    /// The sample of a block; nil when the fill must not admit it.
    func sample(_ block: UInt64) -> UInt64? {
        let group =
            block >> WriteStripes.blocksShift &- firstBlock >> WriteStripes.blocksShift
        let sample: UInt64
        switch group {
        case 0: sample = samples.0
        case 1: sample = samples.1
        case 2: sample = samples.2
        case 3: sample = samples.3
        default: return nil
        }
        return sample == WriteStripes.refused ? nil : sample
    }
}

/// A write in progress.
package struct WriteTicket: BitwiseCopyable, Sendable {
    let file: CacheID
    let firstGroup: UInt64
    /// Groups of blocks that the write covers; nil when it marked the whole file.
    let groups: UInt64?
}
