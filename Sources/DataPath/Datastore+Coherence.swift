import CLinux
import Glibc
import Journal
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

/// Our own changes of a file at some moment: a sample of its attributes counts only when none of
/// ours began, ended or was on its way meanwhile.
struct ChangeToken {
    let begun: UInt64
    /// No change of ours was under way, or was written and not yet at the datastore.
    let isQuiet: Bool

    /// Says nothing about changes of ours: the sample cannot be compared.
    static let none = ChangeToken(begun: .max, isQuiet: false)
}

// What others change on the datastore behind our back (docs/architecture.md, "Coherence").
extension Datastore {
    /// To be taken before the attributes are asked for.
    func token(_ inode: Inode) -> ChangeToken {
        inode.state.withLock { state in
            ChangeToken(
                begun: state.changesBegun,
                isQuiet: state.changesBegun == state.changesEnded
                    && !(backing.isNetwork && state.isUnsynced))
        }
    }

    /// Takes in what the datastore says of a file. True when somebody else changed it since the
    /// last sample that counted; its block map is then empty.
    @discardableResult
    func absorb(_ inode: Inode, _ attributes: Attributes, _ token: ChangeToken) -> Bool {
        var left: FileState?
        let (isChanged, conclusive) = inode.update { state -> (Bool, Sample?) in
            if case .none = state.firstSight {
                state.firstSight =
                    state.changesBegun == 0 ? .sample(Sample(attributes)) : .changed
            }
            let isUndisturbed =
                token.begun == state.changesBegun && state.changesBegun == state.changesEnded
            // What was learnt before a change of ours ended would undo in memory what it did: a
            // size would cut off what a write added.
            guard isUndisturbed || state.changesBegun == 0 else { return (false, nil) }
            state.sampledAt = monotonicNanoseconds()
            state.attributes = attributes
            state.attributesAreOld = false
            let expected = inode.size.exchange(attributes.size, ordering: .relaxed)
            guard isUndisturbed, token.isQuiet else { return (false, nil) }
            let sample = Sample(attributes)
            let sizes = state.sizes ?? expected...expected
            defer {
                state.sample = sample
                state.changedSinceSample = false
                state.sizes = nil
                state.isInherited = false
            }
            guard let before = state.sample else { return (false, sample) }
            let isChanged =
                state.changedSinceSample ? !sizes.contains(sample.size) : before != sample
            if !state.changedSinceSample { left = FileState(before) }
            return (isChanged, sample)
        }
        guard inode.isRegular else { return isChanged }
        if let left, left != FileState(Sample(attributes)) { noteConflict(inode, left) }
        if isChanged { dropMap(inode) }
        if let conclusive { tellFlash(inode, conclusive) }
        return isChanged
    }

    /// Others changed a file while data for it is in the log: what comes home for it is set aside.
    private func noteConflict(_ inode: Inode, _ left: FileState) {
        guard let writeBack, writeBack.isDirty(inode.node.rawValue) else { return }
        logTarget?.expect(inode.node.rawValue, left)
    }

    /// Asks the datastore for a file's attributes and compares. `forced` makes a network file
    /// system ask its server rather than believe its own cache.
    /// ESTALE when the file has no name left and we do not keep it open ourselves.
    func sample(
        _ inode: Inode, forced: Bool
    ) throws(Errno) -> (attributes: Attributes, isChanged: Bool) {
        let token = token(inode)
        let file = try file(inode, .path)
        var attributes = Attributes()
        let flags = CLinux_AT_EMPTY_PATH | (forced ? CLinux_AT_STATX_FORCE_SYNC : 0)
        try backing.ask(forced ? .metadata : .other) { () throws(Errno) in
            try call { CLinux_statx(file.descriptor, "", flags, &attributes) }
        }
        if attributes.links == 0, inode.state.withLock({ $0.orphan == nil }) {
            descriptors.remove(inode.node)
            throw .stale
        }
        let isChanged = absorb(inode, attributes, token)
        if isChanged, inode.isRegular { invalidateKernel(.file(inode.node)) }
        return (attributes, isChanged)
    }

    /// After an operation on a file that is gone at the datastore: others removed it, or put
    /// another in its place. A client that hears ESTALE walks to it again, but the kernel believes
    /// the name for `attr_timeout`, and the datastore's own mount believes it until it sees that
    /// the folder changed; both are made to look.
    package func walkAgain(to node: NodeID) {
        guard node != .root, let inode = inodes.find(node) else { return }
        descriptors.remove(node)
        let parent = NodeID(inode.parent.load(ordering: .relaxed))
        let name = inode.state.withLock { $0.name }
        guard let folder = inodes.find(parent), !name.isEmpty else { return }
        do throws(Errno) {
            _ = try sample(folder, forced: true)
        } catch {
            if error == .stale { walkAgain(to: parent) }
        }
        invalidateKernel(.name(name, in: parent))
    }

    /// Forgets which contents the file's blocks have; the contents themselves stay.
    func dropMap(_ inode: Inode) {
        Self.dropMap(of: inode, tier, notes)
        dropFromFlash(inode)
    }

    /// The same in memory alone, as for a file that nobody uses.
    static func dropMap(of inode: Inode, _ tier: MemoryTier, _ notes: FileNotes) {
        let (map, place) = inode.removeBlockMap()
        if let place { notes.giveBack(place) }
        if map != Inode.noBlockMap { tier.dropFile(CacheID(rawValue: map)) }
    }

    /// Compares every file that is open, so that what the kernel has cached of it does not stay
    /// wrong for longer than attributes may be believed.
    func sampleOpenFiles() {
        let limit = UInt64(settings.attributeTimeout * 1e9)
        for inode in inodes.all() where inode.isRegular {
            if isClosing.load(ordering: .relaxed) { return }
            let isDue = inode.state.withLock { state in
                (state.openCount > 0 || state.mayBeOpen)
                    && monotonicNanoseconds() &- state.sampledAt >= limit
            }
            if isDue { _ = try? sample(inode, forced: true) }
        }
    }
}
