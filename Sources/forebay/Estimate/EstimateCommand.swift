import ArgumentParser
import Glibc
import Policy
import Syscalls

struct EstimateCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "estimate",
        abstract: "Read disk images and tell what deduplication would give; mounts nothing.")

    @Argument(help: "Images, block devices, or folders of images.")
    var paths: [String]

    @Option(
        help: ArgumentHelp(
            "Read so much of each image, the same places of all.", valueName: "percent"))
    var sample = 100

    @Flag(help: "Print one JSON object.")
    var json = false

    func execute() throws(Refusal) {
        guard (1...100).contains(sample) else {
            throw .usage("--sample '\(sample)'", "it is no percentage", hint: "give 1 to 100")
        }
        let (estimate, failure) = try measure()
        print(json ? estimate.json : estimate.text)
        if let failure { throw failure }
    }

    /// The figures, and what to say when something could not be read.
    private func measure() throws(Refusal) -> (Estimate, Refusal?) {
        var estimate = Estimate()
        estimate.percent = UInt64(sample)
        var total: UInt64 = 0
        var sizes = ImageTree()
        try sizes.visit(paths) { (_, size) throws(Errno) in total += size }

        var reader: ImageReader
        do throws(Errno) {
            reader = try ImageReader(percent: sample)
        } catch {
            throw Refusal("estimate", "\(error)")
        }
        var tree = ImageTree()
        var progress = ProgressBar(total: total)
        var done: UInt64 = 0
        try tree.visit(paths) { (file, size) throws(Errno) in
            estimate.files += 1
            estimate.blocks += (size + UInt64(Limits.blockSize) - 1) / UInt64(Limits.blockSize)
            try reader.read(file, size: size) { progress.show(done + $0) }
            done += size
        }
        progress.finish()
        estimate.unreadable = tree.unreadable
        estimate.lookedAt = reader.blocks
        estimate.zeros = reader.zeroBlocks
        estimate.counted = reader.census.seen
        estimate.distinct = reader.census.distinct
        estimate.oneIn = 1 << reader.census.sampleShift
        guard tree.unreadable > 0 else { return (estimate, nil) }
        let failure = Refusal(
            tree.firstUnreadable, "\(tree.unreadable) files or folders could not be read",
            hint: "the figures are without them")
        return (estimate, failure)
    }
}
