import CLinux
import FlashTier
import Glibc
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

// What flash has of files: when it is believed, and what is told to it.
extension Datastore {
    /// The flash tier of the options, if any. A mount without one forgets what it remembered.
    static func flash(_ options: MountOptions, _ backing: Backing, _ settings: Settings)
        -> FlashCache?
    {
        let remembered = RememberedFlash(folder: options.state)
        guard let option = options.flash else {
            remembered.forget()
            return nil
        }
        return FlashCache(
            option, owner: deviceOwner(name: options.name, root: backing.rootHandle),
            writesPerDay: options.flashWritesPerDay, remembered: remembered,
            isUsed: !settings.isTierless)
    }

    /// What a device of a mount says of whom it belongs to: the name, and which datastore it has
    /// blocks of.
    package static func deviceOwner(name: String, root: FileHandle) -> String {
        "\(name)@\(String(root.nodeID().rawValue, radix: 16))"
    }

    // MARK: - Writes

    /// A change of blocks begins; `endFlashWrite` ends it. Nil without a flash tier.
    func beginFlashWrite(
        _ inode: Inode, firstBlock: UInt64, count: UInt64
    ) -> FlashCache.Write? {
        guard let flash else { return nil }
        // What flash has of the file is to be judged by how the file looked before.
        _ = believedFlash(inode)
        return flash.beginWrite(inode.node, firstBlock: firstBlock, count: count)
    }

    func endFlashWrite(_ write: FlashCache.Write?) {
        if let write { flash?.endWrite(write) }
    }

    // MARK: - Belief

    /// The tier, if what it has of the file may be used now.
    func believedFlash(_ inode: Inode) -> FlashCache.Tier? {
        guard let tier = flash?.tier else { return nil }
        if inode.isFlashBelieved.load(ordering: .acquiring) { return tier }
        let node = inode.node.rawValue
        switch inode.state.withLock({ $0.firstSight }) {
        case .none: return nil
        case .sample(let sample):
            guard let isBelieved = tier.mayBelieve(node, FileSample(sample)) else { return nil }
            if !isBelieved { tier.dropFile(node) }
        case .changed:
            if tier.phase == .loading { return nil }
            tier.dropFile(node)
        }
        inode.isFlashBelieved.store(true, ordering: .releasing)
        return tier
    }

    /// Tells flash how the file looks, after a sample that counted.
    func tellFlash(_ inode: Inode, _ sample: Sample) {
        guard flash != nil, let tier = believedFlash(inode) else { return }
        tier.sample(inode.node.rawValue, FileSample(sample))
    }

    /// Nothing that flash has of the file is to be used any more.
    func dropFromFlash(_ inode: Inode) {
        guard let flash else { return }
        inode.state.withLock { $0.firstSight = .changed }
        flash.tier?.dropFile(inode.node.rawValue)
    }

    /// Samples the files that are being written, so that after a power cut flash can tell our last
    /// writes from what others changed later.
    /// `known`: those that were being written last time; without `all` only new ones are sampled.
    func sampleWrittenFiles(after known: inout Set<UInt64>, all: Bool) {
        guard let tier = flash?.tier else { return }
        let written = Set(tier.markedFiles())
        let chosen = all ? written : written.subtracting(known)
        known = written
        for file in chosen {
            guard let inode = inodes.find(NodeID(file)), inode.isRegular else { continue }
            sampleForFlash(inode)
        }
        if !all, !chosen.isEmpty { tier.commitSamples() }
    }

    /// The body of the thread that samples: a file that begins to be written at once, because its
    /// times may be old, and all of them each second.
    func watchWrittenFiles() {
        WaitMode.set(.datastore)
        var known: Set<UInt64> = []
        var round = 0
        while !isClosing.load(ordering: .relaxed) {
            round += 1
            let rounds = Int(Limits.flashUpkeep / Limits.flashFirstSample)
            sampleWrittenFiles(after: &known, all: round % rounds == 0)
            sleep(milliseconds: Limits.flashFirstSample)
        }
    }

    private func sampleForFlash(_ inode: Inode) {
        if token(inode).isQuiet {
            _ = try? sample(inode, forced: false)
            return
        }
        // Asking would make an NFS client write back first.
        let flags = CLinux_AT_EMPTY_PATH | CLinux_AT_STATX_DONT_SYNC
        do throws(Errno) {
            let file = try file(inode, .path)
            var attributes = Attributes()
            try backing.ask(.other) { () throws(Errno) in
                try call { CLinux_statx(file.descriptor, "", flags, &attributes) }
            }
            guard let tier = believedFlash(inode) else { return }
            tier.sample(inode.node.rawValue, FileSample(Sample(attributes)))
        } catch {
            // Without a sample less is believed after a crash, and nothing wrong.
        }
    }

    /// Leaves the device so that all it has is believed at the next start.
    func closeFlash(isQuick: Bool) {
        guard let flash else { return }
        for inode in inodes.all() where inode.isFlashBelieved.load(ordering: .relaxed) {
            if inode.state.withLock({ $0.changedSinceSample }) { sampleForFlash(inode) }
        }
        flash.close(isQuick: isQuick)
    }

    /// What is pinned stays in flash as long as it can.
    func keepInFlash(_ inode: Inode) {
        flash?.tier?.keep(inode.node.rawValue, effectiveReadPolicy(inode) == .pin)
    }

    // MARK: - Offers

    /// What an offer of blocks that are about to be read remembers; nil when it would be refused.
    func flashTickets(_ inode: Inode, from block: UInt64, count: Int) -> FlashTickets? {
        guard let tier = flash?.storingTier, believedFlash(inode) != nil else { return nil }
        return FlashTickets(tier, inode.node.rawValue, firstBlock: block, count: count)
    }

    /// Hands over blocks that were read, to be stored when their turn comes.
    func offer(
        _ inode: Inode, from block: UInt64, _ blocks: UnsafeRawPointer, count: Int,
        tickets: FlashTickets, isWanted: Bool
    ) {
        guard let flash, flash.offers.hasRoom(blocks: count) else { return }
        if isWanted { flash.tier?.keep(inode.node.rawValue, true) }
        let sample = inode.state.withLock { $0.sample ?? Sample($0.attributes) }
        flash.offers.add(
            FlashOffers.Offer(
                file: inode.node.rawValue, firstBlock: block, count: count, blocks,
                tickets: tickets, sample: FileSample(sample), isWanted: isWanted))
    }
}

extension FileSample {
    init(_ sample: Sample) {
        self.init(
            size: sample.size, modifiedSeconds: sample.modifiedSeconds,
            modifiedNanoseconds: sample.modifiedNanoseconds,
            changedSeconds: sample.changedSeconds, changedNanoseconds: sample.changedNanoseconds)
    }
}
