import CLinux
import DataPath
import Glibc
import Passthrough
import Synchronization
import Syscalls

// A server may die between a change on the datastore and the note that it was made. Its successor
// runs the request again and must answer what the first server would have answered: "exists" to a
// client that made the file itself a moment ago would be wrong. So each change of a name records
// beforehand what the names stood for, in the request's slot, which outlives the process, and
// afterwards that it was made. The names stay locked from the first to the second, and a successor
// repeats such requests before it changes any name for others: nobody else has touched the names
// when the repeat compares what they stand for.

/// A name in a directory.
struct Place {
    let parent: NodeID
    let name: Name

    init(_ parent: NodeID, _ name: Name) {
        self.parent = parent
        self.name = name
    }
}

/// What the names of a request stood for before it changed anything: node ids, 0 for "no such
/// name"; and what came of it. Its form in the slot is three words.
struct Preimage {
    var source: UInt64
    var target: UInt64
    /// 0 while the change may not have been made; then the file that it made or gave a name, or
    /// `removed`.
    var result: UInt64 = 0

    /// The result of a change that made no name for a file. No file has this node id.
    static let removed = UInt64.max
    private static let size = 24
    private static let resultOffset = 16

    init(source: UInt64, target: UInt64) {
        self.source = source
        self.target = target
    }

    /// What was recorded for this request by a server that died over it.
    init?(recordedIn context: RequestContext) {
        let bytes = context.preimage
        guard bytes.count == Self.size else { return nil }
        source = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
        target = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        result = bytes.loadUnaligned(fromByteOffset: Self.resultOffset, as: UInt64.self)
    }

    /// Records it for a server that has to run the request again.
    func record(in context: RequestContext) throws(Errno) {
        var words = (source, target, result)
        let kept = withUnsafeBytes(of: &words) { context.savePreimage($0) }
        guard kept else { throw .io }
        FailPoint.recorded.reach(context.opcode)
    }

    /// Notes what came of the change, in one store: half a note would be worse than none.
    static func recordResult(_ result: UInt64, in context: RequestContext) {
        FailPoint.changed.reach(context.opcode)
        context.slot.updatePreimage(result, at: resultOffset)
    }
}

/// Locks on names, by hash. Acquired before every lock of the data path; a rename takes its two in
/// the order of their numbers.
final class NameLocks: Sendable {
    private final class Stripe: Sendable {
        let mutex = Mutex(())
    }

    /// More than there are worker threads, so that two names rarely meet.
    private static let count = 256
    private let stripes = (0..<NameLocks.count).map { _ in Stripe() }

    private func index(of place: Place) -> Int {
        var hasher = Hasher()
        hasher.combine(place.parent)
        hasher.combine(bytes: UnsafeRawBufferPointer(start: place.name, count: strlen(place.name)))
        return Int(truncatingIfNeeded: UInt(bitPattern: hasher.finalize()) % UInt(Self.count))
    }

    /// Runs `body` while no other thread changes the name.
    func hold<Result>(
        _ place: Place, _ body: () throws(Errno) -> Result
    ) throws(Errno) -> Result {
        try stripes[index(of: place)].mutex.withLock { (_) throws(Errno) in try body() }
    }

    /// Runs `body` while no other thread changes either name.
    func hold<Result>(
        _ first: Place, _ second: Place, _ body: () throws(Errno) -> Result
    ) throws(Errno) -> Result {
        let (one, other) = (index(of: first), index(of: second))
        guard one != other else { return try hold(first, body) }
        return try stripes[min(one, other)].mutex.withLock { (_) throws(Errno) in
            try stripes[max(one, other)].mutex.withLock { (_) throws(Errno) in try body() }
        }
    }
}

extension Request {
    /// Makes a name; a repeat finds "exists" where the first attempt already made it. `make` is
    /// told when it may find the file that the first attempt made.
    func makeOnce(
        at place: Place, _ make: (Datastore, _ mayExist: Bool) throws(Errno) -> Entry
    ) throws(Errno) -> Entry {
        try once(at: place) { (before, isRepeat) throws(Errno) in
            guard isRepeat, before.source == 0 else { return try make(datastore, false) }
            // Made, and no longer what the name stands for: somebody else has gone on from there.
            if before.result != 0, try node(at: place) != before.result {
                return try entry(of: before.result)
            }
            let entry: Entry
            do throws(Errno) {
                entry = try make(datastore, true)
            } catch .exists {
                entry = try datastore.lookup(parent: place.parent, name: place.name)
            }
            try handOver(entry, in: place.parent)
            return try datastore.lookup(parent: place.parent, name: place.name)
        } result: {
            $0.node.rawValue
        }
    }

    private func entry(of node: UInt64) throws(Errno) -> Entry {
        try datastore.lookup(parent: NodeID(node), name: ".")
    }

    /// Gives a file that the first attempt made to the caller, if it ended between the two. In a
    /// folder with the set-group-ID bit the group stays.
    private func handOver(_ entry: Entry, in folder: NodeID) throws(Errno) {
        let attributes = entry.attributes
        guard attributes.uid == 0, caller.uid != 0 else { return }
        let inheritsGroup = try datastore.attributes(folder).mode & S_ISGID != 0
        var change = AttributeChange()
        change.uid = caller.uid
        if !inheritsGroup { change.gid = caller.gid }
        let changed = try datastore.setAttributes(entry.node, change)
        // A change of owner takes the set-ID bits of a file away.
        if attributes.mode & S_IFMT == S_IFREG, changed.mode != attributes.mode {
            var back = AttributeChange()
            back.mode = attributes.mode & 0o7777
            _ = try datastore.setAttributes(entry.node, back)
        }
    }

    /// Makes a name for a file that exists.
    func linkOnce(_ node: NodeID, at place: Place) throws(Errno) -> Entry {
        try once(at: place) { (before, isRepeat) throws(Errno) in
            if before.result != 0 { return try entry(of: before.result) }
            do throws(Errno) {
                return try datastore.link(node, newParent: place.parent, newName: place.name)
            } catch .exists where isRepeat && before.source == 0 {
                let entry = try datastore.lookup(parent: place.parent, name: place.name)
                guard entry.node == node else { throw .exists }
                return entry
            }
        } result: {
            $0.node.rawValue
        }
    }

    /// Removes a name. A repeat that finds it gone, or standing for another file, has nothing left
    /// to do: the first attempt removed it.
    func removeOnce(
        at place: Place, _ remove: (Datastore) throws(Errno) -> Void
    ) throws(Errno) {
        try once(at: place) { (before, isRepeat) throws(Errno) in
            if before.result != 0 { return }
            let existed = isRepeat && before.source != 0
            if existed, try node(at: place) != before.source { return }
            do throws(Errno) {
                try remove(datastore)
            } catch .noEntry where existed {}
        } result: { _ in
            Preimage.removed
        }
    }

    /// Renames. A repeat compares what both names stand for with what they stood for before.
    func renameOnce(from: Place, to: Place, flags: UInt32) throws(Errno) {
        guard flags & ~(renameNoReplace | renameExchange) == 0 else { throw .invalid }
        try once(at: from, and: to) { (before, isRepeat) throws(Errno) in
            if before.result != 0 { return }
            if isRepeat, try wasRenamed(from: from, to: to, flags: flags, before) { return }
            do throws(Errno) {
                try datastore.rename(
                    parent: from.parent, name: from.name, newParent: to.parent, newName: to.name,
                    flags: flags)
            } catch .noEntry where isRepeat {
                // The datastore may still have been at the first attempt when we looked.
                guard try wasRenamed(from: from, to: to, flags: flags, before) else {
                    throw .noEntry
                }
            }
        } result: { _ in
            Preimage.removed
        }
    }

    /// Whether the names stand as the first attempt would have left them. Two names of one file
    /// count as not renamed: a rename between them changes nothing, however often it runs.
    private func wasRenamed(
        from: Place, to: Place, flags: UInt32, _ before: Preimage
    ) throws(Errno) -> Bool {
        guard before.source != 0, before.source != before.target else { return false }
        let (source, target) = (try node(at: from), try node(at: to))
        let left = flags & renameExchange != 0 ? before.target : 0
        return target == before.source && source == left
    }

    /// Runs a change of one name, or of two, while no other thread changes them, with what the
    /// names stood for before the first attempt and whether this is a later one. `result` is what
    /// to note of a change that was made.
    private func once<Result>(
        at place: Place, and other: Place? = nil,
        _ change: (Preimage, _ isRepeat: Bool) throws(Errno) -> Result,
        result: (Result) -> UInt64
    ) throws(Errno) -> Result {
        guard WaitMode.mayWait else { throw .mustWait }
        if context.preimage.isEmpty { context.repeats.pass() }
        return try Operations.nameLocks.hold(place, other ?? place) { () throws(Errno) in
            try refuseWhenAnswered()
            let (before, isRepeat) = try preimage { () throws(Errno) in
                (
                    try node(at: place),
                    try other.map { (place) throws(Errno) in
                        try node(at: place)
                    } ?? 0
                )
            }
            do throws(Errno) {
                try refuseWhenAnswered()
                let made = try change(before, isRepeat)
                Preimage.recordResult(result(made), in: context)
                return made
            } catch {
                // Nothing was changed, so a repeat begins anew: others may change the names now.
                if !isRepeat { context.slot.clearPreimage() }
                throw error
            }
        }
    }

    /// A request that was told "try later" while it waited for a name, or for the datastore to tell
    /// of it, must not change it any more: its caller may have tried again and gone on from there.
    private func refuseWhenAnswered() throws(Errno) {
        guard context.slot.load(.answered) == 0 else { throw .timedOut }
    }

    /// What was recorded before the first attempt; on the first attempt, `look` finds it out and
    /// it is recorded.
    func preimage(
        _ look: () throws(Errno) -> (source: UInt64, target: UInt64)
    ) throws(Errno) -> (Preimage, isRepeat: Bool) {
        if let recorded = Preimage(recordedIn: context) { return (recorded, true) }
        let now = try look()
        let preimage = Preimage(source: now.source, target: now.target)
        try preimage.record(in: context)
        return (preimage, false)
    }

    /// The node that a name stands for, 0 when there is none.
    private func node(at place: Place) throws(Errno) -> UInt64 {
        do throws(Errno) {
            let node = try datastore.lookup(parent: place.parent, name: place.name).node
            datastore.forget(node, count: 1)
            return node.rawValue
        } catch .noEntry {
            return 0
        }
    }
}

// renameat2(2); hidden by the C library's headers without _GNU_SOURCE.
private let renameNoReplace: UInt32 = 1
private let renameExchange: UInt32 = 2
