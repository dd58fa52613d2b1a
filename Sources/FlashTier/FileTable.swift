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
}

/// The files that have a map, by what identifies them on the datastore (64 bits, never used again
/// for another file).
final class FileTable: Sendable {
    struct Entry {
        let index: UInt32
        var sample: FileSample
        /// Whether the entry in the log is out of date.
        var isChanged: Bool
    }

    private struct Table {
        var entries: [UInt64: Entry] = [:]
        var identities: [UInt32: UInt64] = [:]
        var next: UInt32 = 1
        /// Numbers of files that were dropped, and may still have blocks in the map.
        var dead: Set<UInt32> = []
    }

    private let table = Mutex<Table>(.init())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    func index(_ identity: UInt64) -> UInt32? {
        table.withLock { $0.entries[identity]?.index }
    }

    func sample(_ identity: UInt64) -> FileSample? {
        table.withLock { $0.entries[identity]?.sample }
    }

    /// The number of a file, a new one when it has none. Nil when there is no room for more files.
    func add(_ identity: UInt64, _ sample: FileSample) -> UInt32? {
        table.withLock { table in
            if let entry = table.entries[identity] {
                if entry.sample != sample {
                    table.entries[identity]?.sample = sample
                    table.entries[identity]?.isChanged = true
                }
                return entry.index
            }
            guard table.entries.count < limit, table.next < FlashMap.fileLimit else { return nil }
            let index = table.next
            table.next += 1
            table.entries[identity] = Entry(index: index, sample: sample, isChanged: true)
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
            table.entries[identity] = Entry(index: index, sample: sample, isChanged: false)
            table.identities[index] = identity
            table.next = max(table.next, min(index, FlashMap.fileLimit) + 1)
        }
    }

    func forget(index: UInt32) {
        table.withLock { table in
            if let identity = table.identities.removeValue(forKey: index) {
                table.entries[identity] = nil
            }
            table.next = max(table.next, min(index, FlashMap.fileLimit) + 1)
        }
    }

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
        }
    }
}
