import CLinux
import FlashTier
import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

// What goes on beside the requests: writing the identity table behind, comparing open files with
// the datastore, closing files, and finding every file again after the table was lost.
extension Datastore {
    /// Starts the background threads. A machine without room for them cannot serve either.
    func startUpkeep() throws(Errno) {
        try background("upkeep") { datastore in
            datastore.identity.flush()
            datastore.keepRecord()
            datastore.flash?.tier?.judge()
            sleep(milliseconds: Limits.identityInterval)
        }
        try flash?.start()
        if let writeBack {
            if !options.readOnly { try writeBack.destager.start() }
            try background("log-watch") { $0.watchLog() }
        }
        if flash != nil {
            try Thread(name: "flash-samples") { [weak self] in self?.watchWrittenFiles() }.detach()
        }
        try background("closer") { datastore in
            let deadline = monotonicNanoseconds() + .milliseconds(500)
            _ = datastore.closing.wait(until: deadline) { $0.waiting.isEmpty ? nil : true }
            datastore.closePending()
        }
        try background("probe") { datastore in
            if datastore.mayProbe.load(ordering: .relaxed), datastore.backing.health.takeProbe() {
                datastore.backing.probe()
            }
            sleep(milliseconds: Limits.monitorInterval)
        }
        try background("coherence") { datastore in
            let timeout = datastore.settings.attributeTimeout
            sleep(milliseconds: UInt64(max(0.1, min(timeout / 2, 5)) * 1000))
            datastore.sampleOpenFiles()
        }
        if inherited.withLock({ !$0.isEmpty }) {
            try Thread(name: "inherited") { [weak self] in
                WaitMode.set(mayWait: true)
                self?.meetAllInherited()
            }.detach()
        }
        if !isTreeKnown.load(ordering: .relaxed) {
            try Thread(name: "tree-walk") { [weak self] in
                WaitMode.set(mayWait: true)
                self?.walkTree()
            }.detach()
        }
    }

    /// Runs `body` again and again until the datastore is closed.
    private func background(
        _ name: String, _ body: @escaping @Sendable (Datastore) -> Void
    ) throws(Errno) {
        try Thread(name: name) { [weak self] in
            WaitMode.set(mayWait: true)
            while let datastore = self, !datastore.isClosing.load(ordering: .relaxed) {
                body(datastore)
            }
        }.detach()
    }

    /// Visits every file, so that the identity table knows all that clients may have handles of.
    /// Until it has, an unknown handle is "try later"; afterwards it is stale.
    private func walkTree() {
        SystemLog.notice("looking up every file of the datastore, to know all handles again")
        var folders: [NodeID] = [.root]
        var files = 0
        while let node = folders.popLast() {
            if isClosing.load(ordering: .relaxed) { return }
            var collector = TreeCollector()
            do throws(Errno) {
                try readDirectory(node, offset: 0, plus: true, into: &collector)
            } catch {
                // A folder that went meanwhile needs no visit; a datastore that is away does later.
                if error != .stale, error != .noEntry, error != .accessDenied {
                    folders.append(node)
                    sleep(milliseconds: 1000)
                }
                continue
            }
            files += collector.count
            folders.append(contentsOf: collector.folders)
        }
        identity.flush()
        isTreeKnown.store(true, ordering: .releasing)
        SystemLog.notice("all \(files) files of the datastore are known")
    }

    /// Stops the background threads and writes the state. The datastore is complete as it stands.
    package func close() {
        isClosing.store(true, ordering: .relaxed)
        ahead.stop(until: monotonicNanoseconds() + .milliseconds(Limits.handOver))
        closePending()
        closeLog(isLast: true)
        closeFlash(isQuick: false)
        identity.markComplete(isTreeKnown.load(ordering: .acquiring))
    }

    /// Stops the background threads before a successor goes on, and writes the state. `isIdle`: no
    /// thread can learn of another file any more, so that the table is as complete as it ever was.
    /// `keepsFlash`, `keepsLog`: the successor opens the same device in a moment.
    package func handOver(isIdle: Bool, keepsFlash: Bool, keepsLog: Bool) {
        isClosing.store(true, ordering: .relaxed)
        // With requests under way there was waiting enough.
        let patience = isIdle ? Limits.handOver : 0
        ahead.stop(until: monotonicNanoseconds() + .milliseconds(patience))
        closeLog(isLast: isIdle && !keepsLog)
        // With a write under way the device is left as at a crash: what is being written is marked.
        if isIdle { closeFlash(isQuick: keepsFlash) }
        identity.markComplete(isIdle && isTreeKnown.load(ordering: .acquiring))
    }
}

/// Takes the folders out of a listing.
private struct TreeCollector: DirectoryWriter {
    var folders: [NodeID] = []
    var count = 0

    mutating func add(
        name: Name, offset: UInt64, inode: UInt64, type: UInt8, entry: Entry?
    ) -> Bool {
        guard let entry else { return true }
        count += 1
        if entry.attributes.mode & S_IFMT == S_IFDIR { folders.append(entry.node) }
        return true
    }
}
