import Glibc
import Policy
import Synchronization
import Syscalls

/// Open files on the datastore, far fewer than inodes: the least recently used are closed.
package final class DescriptorCache: Sendable {
    private struct Entry: Sendable {
        var file: BackingFile
        var lastUse: UInt64
    }

    private struct State: Sendable {
        /// By node id and access.
        var entries: [Key: Entry] = [:]
        var clock: UInt64 = 0
    }

    private struct Key: Hashable, Sendable {
        let node: UInt64
        let access: Access
    }

    private let state = Mutex(State())
    private let limit: Int

    /// At most half of the process's limit on descriptors, and never more than the project's own.
    package init(limit: Int = DescriptorCache.defaultLimit()) { self.limit = max(16, limit) }

    /// Half of RLIMIT_NOFILE, `Limits.openDescriptors` at most.
    package static func defaultLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return 256
        }
        return Int(min(UInt64(limit.rlim_cur) / 2, UInt64(Limits.openDescriptors)))
    }

    /// An open file that can do at least `access`.
    package func find(_ node: NodeID, _ access: Access) -> BackingFile? {
        state.withLock { state in
            state.clock &+= 1
            for level in [Access.path, .read, .write] where level.rawValue >= access.rawValue {
                let key = Key(node: node.rawValue, access: level)
                guard let index = state.entries.index(forKey: key) else { continue }
                state.entries.values[index].lastUse = state.clock
                return state.entries.values[index].file
            }
            return nil
        }
    }

    /// Keeps an open file for the next user.
    package func insert(_ node: NodeID, _ file: BackingFile) {
        // What leaves is let go outside the lock: close can wait for the datastore.
        let evicted = state.withLock { state -> [BackingFile] in
            state.clock &+= 1
            var evicted: [BackingFile] = []
            if state.entries.count >= limit { evicted = evict(from: &state) }
            let key = Key(node: node.rawValue, access: file.access)
            if let replaced = state.entries[key] { evicted.append(replaced.file) }
            state.entries[key] = Entry(file: file, lastUse: state.clock)
            return evicted
        }
        withExtendedLifetime(evicted) {}
    }

    private func evict(from state: inout State) -> [BackingFile] {
        let ages = state.entries.values.map(\.lastUse).sorted()
        let threshold = ages[ages.count / 4]
        var evicted: [BackingFile] = []
        for (key, entry) in state.entries where entry.lastUse <= threshold {
            evicted.append(entry.file)
            state.entries[key] = nil
        }
        return evicted
    }

    /// Closes what is open of a file, as before its last name goes: an NFS client would keep a
    /// removed file that is open under a `.nfs` name.
    package func remove(_ node: NodeID) {
        let removed = state.withLock { state in
            [Access.path, .read, .write].compactMap { access in
                state.entries.removeValue(forKey: Key(node: node.rawValue, access: access))
            }
        }
        withExtendedLifetime(removed) {}
    }

    /// Closes everything that nobody uses.
    package func removeAll() {
        let removed = state.withLock { state in
            let entries = state.entries
            state.entries = [:]
            return entries
        }
        withExtendedLifetime(removed) {}
    }

    /// How many files are open.
    package var count: Int { state.withLock { $0.entries.count } }
}
