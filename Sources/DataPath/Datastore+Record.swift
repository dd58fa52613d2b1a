import Glibc
import Passthrough
import Policy
import Synchronization
import Syscalls

// What a successor must know of the datastore to begin without asking it (`BackingRecord`).
extension Datastore {
    /// Receives the record, now and whenever something in it has changed; set before serving.
    package func onRecord(_ body: @escaping @Sendable ([UInt8]) -> Void) {
        recorder.withLock { $0 = body }
        keepRecord()
    }

    /// Gives the record away when it is another one than last time; looks a few times a second.
    func keepRecord() {
        let now = monotonicNanoseconds()
        guard kept.withLock({ now &- $0.time >= .milliseconds(Limits.recordInterval) }),
            let body = recorder.withLock({ $0 })
        else { return }
        var record = backing.record
        record.attributes = root.state.withLock { $0.attributes }
        if let known = sizes.withLock({ $0 }) { record.space = Space(known) }
        let bytes = record.bytes
        let isNew = kept.withLock { last in
            defer { last = (bytes, now) }
            return last.bytes != bytes
        }
        if isNew { body(bytes) }
    }

    /// Begins with what an earlier server knew. The attributes count as old: they are told only
    /// while the datastore is silent.
    func recall(_ record: BackingRecord) {
        root.state.withLock { state in
            state.attributes = record.attributes
            state.sampledAt = 1
            state.attributesAreOld = true
        }
        if record.space.blockSize > 0 { sizes.withLock { $0 = record.space.status } }
    }
}
