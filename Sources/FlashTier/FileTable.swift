import Policy
import Synchronization
import Syscalls

/// Attributes of a file as the datastore gave them when nothing was being written: what a map that
/// was stored with them is compared with after a restart.
package struct FileSample: Hashable, Sendable {
    /// Bytes.
    package var size: UInt64
    /// Seconds of the last change of contents.
    package var modifiedSeconds: Int64
    /// The part below a second.
    package var modifiedNanoseconds: UInt32
    /// Seconds of the last change of attributes.
    package var changedSeconds: Int64
    /// The part below a second.
    package var changedNanoseconds: UInt32

    /// Attributes as statx(2) tells them.
    package init(
        size: UInt64, modifiedSeconds: Int64, modifiedNanoseconds: UInt32,
        changedSeconds: Int64, changedNanoseconds: UInt32
    ) {
        self.size = size
        self.modifiedSeconds = modifiedSeconds
        self.modifiedNanoseconds = modifiedNanoseconds
        self.changedSeconds = changedSeconds
        self.changedNanoseconds = changedNanoseconds
    }

    /// Whether both times are those of another sample or shortly behind.
    func mayFollow(_ other: FileSample) -> Bool {
        func isNear(
            _ now: (seconds: Int64, part: UInt32), _ then: (seconds: Int64, part: UInt32)
        ) -> Bool {
            let (seconds, overflow) = now.seconds.subtractingReportingOverflow(then.seconds)
            guard !overflow, abs(seconds) <= 1 << 30 else { return false }
            let behind = seconds * 1_000_000_000 + Int64(now.part) - Int64(then.part)
            return behind >= 0 && behind <= Limits.flashSampleSlack
        }
        return isNear(
            (modifiedSeconds, modifiedNanoseconds),
            (other.modifiedSeconds, other.modifiedNanoseconds))
            && isNear(
                (changedSeconds, changedNanoseconds),
                (other.changedSeconds, other.changedNanoseconds))
    }
}

/// The files that have a map, by what identifies them on the datastore (64 bits, never used again
/// for another file).
final class FileTable: Sendable {
    struct Entry {
        let index: UInt32
        var sample: FileSample
        /// Whether the entry in the log is out of date.
        var isChanged: Bool
        /// Whether the map is of this opening, or was found right since.
        var isBelieved: Bool
        /// Whether ranges of it were being written when the mount died.
        var wasWritten = false
    }

    private struct Table {
        var entries: [UInt64: Entry] = [:]
        var identities: [UInt32: UInt64] = [:]
        var next: UInt32 = 1
        /// Numbers of files that were dropped, and may still have blocks in the map.
        var dead: Set<UInt32> = []
        /// Attributes as they were first seen while the index was loaded.
        var seen: [UInt64: FileSample] = [:]
    }

    private let table = Mutex<Table>(.init())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func index(_ identity: UInt64) -> UInt32? {
        table.withLock { $0.entries[identity]?.index }
    }

    /// The number of a file whose map is right.
    func believed(_ identity: UInt64) -> UInt32? {
        table.withLock { table in
            guard let entry = table.entries[identity], entry.isBelieved else { return nil }
            return entry.index
        }
    }

    /// Whether a file has a map from before the opening that nobody has looked at yet.
    func isToBeBelieved(_ identity: UInt64) -> Bool {
        table.withLock { $0.entries[identity]?.isBelieved == false }
    }

    /// The number of a file, a new one when it has none. Nil when its map is not believed, or there
    /// is no room for more files.
    func number(_ identity: UInt64, _ sample: FileSample) -> UInt32? {
        table.withLock { table in
            if let entry = table.entries[identity] { return entry.isBelieved ? entry.index : nil }
            guard table.entries.count < limit, table.next < FlashMap.fileLimit else { return nil }
            let index = table.next
            table.next += 1
            table.entries[identity] = Entry(
                index: index, sample: sample, isChanged: true, isBelieved: true)
            table.identities[index] = identity
            return index
        }
    }

    /// Forgets a file; answers its number.
    func remove(_ identity: UInt64) -> UInt32? {
        table.withLock { table in
            guard let entry = table.entries.removeValue(forKey: identity) else { return nil }
            table.dead.insert(entry.index)
            table.identities[entry.index] = nil
            return entry.index
        }
    }

    /// Enters what the log says of a file, or what it says was dropped.
    func restore(_ identity: UInt64, index: UInt32, _ sample: FileSample) {
        table.withLock { table in
            table.entries[identity] = Entry(
                index: index, sample: sample, isChanged: false, isBelieved: false)
            table.identities[index] = identity
            table.next = max(table.next, min(index, FlashMap.fileLimit) + 1)
        }
    }

    func forget(index: UInt32) {
        table.withLock { table in
            if let identity = table.identities.removeValue(forKey: index) {
                table.entries[identity] = nil
                table.dead.insert(index)
            }
            table.next = max(table.next, min(index, FlashMap.fileLimit) + 1)
        }
    }

    // MARK: - Samples

    /// Remembers attributes of a file, the first that are told, until the index is loaded.
    func noteSeen(_ identity: UInt64, _ sample: FileSample) {
        table.withLock { table in
            guard table.seen.count < limit, table.seen[identity] == nil else { return }
            table.seen[identity] = sample
        }
    }

    /// Ranges of a file were being written when the mount died; answers whether it has a map.
    func noteWritten(_ identity: UInt64) -> Bool {
        table.withLock { table in
            guard table.entries[identity] != nil else { return false }
            table.entries[identity]?.wasWritten = true
            return true
        }
    }

    /// Whether the map of a file is right for what its attributes are; believed from now on then.
    func believe(_ identity: UInt64, _ now: FileSample) -> Bool {
        table.withLock { table in
            let now = table.seen.removeValue(forKey: identity) ?? now
            guard let entry = table.entries[identity], !entry.isBelieved else { return true }
            guard now == entry.sample || entry.wasWritten && now.mayFollow(entry.sample) else {
                return false
            }
            table.entries[identity]?.isBelieved = true
            table.entries[identity]?.sample = now
            table.entries[identity]?.isChanged = now != entry.sample
            return true
        }
    }

    /// The file has these attributes now; answers whether that is news of a file that is believed.
    func resample(_ identity: UInt64, _ sample: FileSample) -> Bool {
        table.withLock { table in
            guard let entry = table.entries[identity], entry.isBelieved, entry.sample != sample
            else { return false }
            table.entries[identity]?.sample = sample
            table.entries[identity]?.isChanged = true
            return true
        }
    }

    // MARK: - The log

    /// All of them; what is told is not out of date any more.
    func takeAll() -> [(identity: UInt64, entry: Entry)] {
        table.withLock { table in
            let all = table.entries.map { (identity: $0.key, entry: $0.value) }
            for (identity, _) in all { table.entries[identity]?.isChanged = false }
            return all
        }
    }

    /// What the log does not know yet, or not as it is.
    func takeIfChanged(_ identity: UInt64) -> Entry? {
        table.withLock { table in
            guard let entry = table.entries[identity], entry.isChanged else { return nil }
            table.entries[identity]?.isChanged = false
            return entry
        }
    }

    /// The file that has a number.
    func identity(index: UInt32) -> UInt64? { table.withLock { $0.identities[index] } }

    /// All files whose maps are right, once there are half as many as may be known.
    var numbersWhenMany: [(identity: UInt64, index: UInt32)] {
        table.withLock { table in
            guard table.entries.count > limit / 2 else { return [] }
            return table.entries.filter(\.value.isBelieved).map { ($0.key, $0.value.index) }
        }
    }

    var dead: Set<UInt32> { table.withLock { $0.dead } }
    var count: Int { table.withLock { $0.entries.count } }

    /// The map has nothing of these files any more.
    func bury(_ indices: Set<UInt32>) { table.withLock { $0.dead.subtract(indices) } }

    /// Forgets all files. Their numbers are not used again, so what the map has of them is void.
    func removeAll() {
        table.withLock { table in
            table.entries = [:]
            table.identities = [:]
            table.dead = []
            table.seen = [:]
        }
    }
}
