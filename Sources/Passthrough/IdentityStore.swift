import Glibc
import Policy
import Synchronization
import Syscalls

/// What is known of a node id beyond this process's life.
package struct Identity: Sendable, Equatable {
    package var handle: FileHandle
    /// The folder it was last seen in; 0 when unknown.
    package var parent: UInt64
    /// S_IFMT part of the mode.
    package var type: UInt32
    /// Its name in `parent`, on datastores without handles; otherwise empty.
    package var name: [UInt8]

    package init(handle: FileHandle, parent: UInt64, type: UInt32, name: [UInt8] = []) {
        self.handle = handle
        self.parent = parent
        self.type = type
        self.name = name
    }
}

/// Policies that were set on one file or folder; nil = inherited.
package struct StoredPolicies: Sendable, Equatable {
    package var read: ReadPolicy?
    package var write: WritePolicy?

    package init(read: ReadPolicy? = nil, write: WritePolicy? = nil) {
        self.read = read
        self.write = write
    }
}

/// The persistent table node id → handle of the datastore, with policies and the key of the
/// cache's fingerprints, in the SQLite file `identity.db` of the state folder.
///
/// What a handle's hash gives is written behind: losing it costs a walk of the tree. A node id that
/// had to be remapped because two handles have one hash is durable before it is revealed. A disk
/// that is full or gone degrades to memory.
package final class IdentityStore: Sendable {
    private struct State: ~Copyable {
        var database: Database?
        var pending: [UInt64: Identity?] = [:]
        var remapped: [FileHandle: UInt64] = [:]
        var policies: [UInt64: StoredPolicies] = [:]
        var isDegraded = false
        var isClosing = false
    }

    private let state: Mutex<State>
    /// True when every file that clients may have a handle of is in the table.
    package let wasComplete: Bool
    /// 64 random bytes, the same for the life of the state folder.
    package let fingerprintKey: [UInt8]

    /// Opens the table in `folder`, which is made when it is missing. Answers a table in memory,
    /// and says so in the log, when the folder cannot be used; `datastore` is the handle of the
    /// datastore's root: a table of another datastore is put aside.
    package init(folder: String, datastore: FileHandle) {
        var opened: OpenedIdentity
        do {
            opened = try OpenedIdentity(folder: folder, datastore: datastore)
        } catch {
            SystemLog.warning(
                "identity table in \(folder): \(error.message); node ids are kept in memory, and "
                    + "a restart walks the datastore's tree")
            opened = OpenedIdentity()
        }
        wasComplete = opened.isComplete
        fingerprintKey = opened.fingerprintKey
        var initial = State()
        initial.isDegraded = opened.database == nil
        initial.remapped = opened.remapped
        initial.policies = opened.policies
        initial.database = opened.takeDatabase()
        state = Mutex(initial)
    }

    /// False when the table in `folder` is of a version that this program would put aside. A table
    /// that is not there, or cannot be read at all, is no obstacle.
    package static func isReadable(folder: String) -> Bool {
        let path = folder + "/identity.db"
        guard access(path, F_OK) == 0, let database = try? Database(path: path),
            let version = try? database.meta("version")
        else { return true }
        return version == OpenedIdentity.version
    }

    /// What a node id stands for; nil when it is not in the table.
    package func find(_ node: NodeID) -> Identity? {
        state.withLock { state in
            if let pending = state.pending[node.rawValue] { return pending }
            guard state.database != nil else { return nil }
            return try? state.database?.identity(of: node.rawValue)
        }
    }

    /// The node id of a handle: its hash, or another number when a different file has that already.
    package func nodeID(of handle: FileHandle) -> NodeID {
        if let node = state.withLock({ $0.remapped.isEmpty ? nil : $0.remapped[handle] }) {
            return NodeID(node)
        }
        var node = handle.nodeID()
        var salt: UInt64 = 0
        while let other = find(node), other.handle != handle {
            salt += 1
            node = handle.nodeID(salt: salt)
        }
        if salt > 0 { remap(handle, to: node) }
        return node
    }

    private func remap(_ handle: FileHandle, to node: NodeID) {
        state.withLock { state in
            state.remapped[handle] = node.rawValue
            do throws(Database.Failure) {
                try state.database?.remember(remapped: handle, node: node.rawValue)
            } catch {
                Self.degrade(&state, error)
            }
        }
        SystemLog.notice("two files have the same hash; one was given node id \(node.rawValue)")
    }

    /// Notes what a node id stands for; written behind.
    package func remember(_ node: NodeID, _ identity: Identity) {
        state.withLock { $0.pending[node.rawValue] = .some(identity) }
    }

    /// Forgets a node id, because its file is gone.
    package func forget(_ node: NodeID) {
        state.withLock { state in
            state.pending[node.rawValue] = .some(nil)
            if state.policies.removeValue(forKey: node.rawValue) != nil {
                try? state.database?.setPolicies(nil, of: node.rawValue)
            }
        }
    }

    /// The policies set on a file or folder itself.
    package func policies(of node: NodeID) -> StoredPolicies {
        state.withLock { $0.policies[node.rawValue] ?? StoredPolicies() }
    }

    /// Sets policies, durably before it returns.
    package func setPolicies(_ policies: StoredPolicies, of node: NodeID) {
        let stored = policies == StoredPolicies() ? nil : policies
        state.withLock { state in
            state.policies[node.rawValue] = stored
            do throws(Database.Failure) {
                try state.database?.setPolicies(stored, of: node.rawValue)
            } catch {
                Self.degrade(&state, error)
            }
        }
    }

    /// Writes what is pending. To be called a few times a second.
    package func flush() {
        state.withLock { state in
            guard state.database != nil else {
                // Without a disk the table is memory only, bounded like the inodes.
                if state.pending.count > 4 * Limits.inodes { state.pending = [:] }
                return
            }
            guard !state.pending.isEmpty else { return }
            do throws(Database.Failure) {
                try state.database?.write(state.pending)
                state.pending = [:]
                state.isDegraded = false
            } catch {
                Self.degrade(&state, error)
            }
        }
    }

    /// Records whether the table has every file, for the next start.
    package func markComplete(_ isComplete: Bool) {
        flush()
        state.withLock { state in
            do throws(Database.Failure) {
                try state.database?.setComplete(isComplete)
            } catch {
                Self.degrade(&state, error)
            }
        }
    }

    private static func degrade(_ state: inout State, _ failure: Database.Failure) {
        if !state.isDegraded {
            SystemLog.warning(
                "identity table: \(failure.message); the mount goes on, a restart may have to "
                    + "walk the datastore's tree")
        }
        state.isDegraded = true
    }
}
