import CLinux
import Devices
import Glibc
import Passthrough
import Policy
import ReadCache
import Synchronization
import Syscalls

/// The accelerated datastore: every operation that a client can ask for, put together from the
/// datastore itself, the identity of its files and the read cache.
///
/// Every operation runs on the calling thread. On a thread that may not wait (`WaitMode`) what is
/// in memory is answered, and whatever needs the datastore throws `Errno.mustWait`. The operations
/// are in extensions by theme: `Datastore+Read.swift` and its siblings.
///
/// Lock order: range locks of one inode, then shards of the cache; an inode's state is a leaf.
package final class Datastore: Sendable {
    let options: MountOptions
    let backing: Backing
    let identity: IdentityStore
    let inodes: InodeTable
    let descriptors = DescriptorCache()
    let tier: MemoryTier
    /// The flash tier; nil when the mount has none.
    let flash: FlashCache?
    /// Write-back from the log; nil when the mount has none.
    let writeBack: DatastoreWriteBack?
    /// What came of opening it.
    let logOpening: LogOpening
    let logTarget: DatastoreTarget?
    let logDevice: FileDevice?
    let logged = LoggedWrites()
    /// All that a failed log held is home, and it is known never to be used again.
    let logGivenUp = Mutex(false)
    /// The datastore has hardly more room than what the log may still bring it.
    let isSpaceShort = Atomic<Bool>(false)
    /// What the next server is to know of files.
    let notes: FileNotes
    /// What the last server noted of files that nobody has asked for yet, by node.
    let inherited: Mutex<[UInt64: InheritedFile]>
    /// Files that were brought back from memory alone, and are still to be compared.
    let uncompared = Mutex<Set<NodeID>>([])
    let fills = FillTable()
    /// What is to be read ahead of sequential readers.
    let ahead = ReadAhead()
    let names = NameCache()
    let counters: Counters
    let root: Inode
    /// Grows with every change that can alter an inherited policy.
    let policyEpoch = Atomic<UInt64>(1)
    /// True when every file has been in the identity table at least once.
    let isTreeKnown: Atomic<Bool>
    /// Requests that wait for the walk of the tree to find their file.
    let searchers = Atomic<Int>(0)
    let isClosing = Atomic<Bool>(false)
    /// What can be changed while the datastore serves.
    let settings: Settings
    /// Changes wait here while somebody takes a snapshot of the datastore.
    let changes = ChangeGate()
    /// Flushes under way that nobody waits for.
    let flushes = Atomic<Int>(0)
    /// Tests that pretend a silence let nobody look whether there is one.
    let mayProbe = Atomic<Bool>(true)
    /// Open files to be closed by a thread that may wait for it.
    let closing = Condition(ClosingFiles())
    /// The sizes of the datastore when it told them last.
    let sizes = Mutex<statvfs?>(nil)
    private let invalidation = Mutex<(@Sendable (KernelCopy) -> Void)?>(nil)
    /// Keeps what a successor must know, and what it was given last.
    let recorder = Mutex<(@Sendable ([UInt8]) -> Void)?>(nil)
    let kept = Mutex((bytes: [UInt8](), time: UInt64(0)))

    /// Opens the datastore of `options`.
    ///
    /// - Parameters:
    ///   - root: the open folder of the datastore, which becomes the datastore's; nil opens it.
    ///   - record: what an earlier server of the mount gave to `onRecord`, empty when there was
    ///     none. With it nothing here waits for the datastore.
    ///   - framesDescriptor: a memfd for the RAM tier, which grows as needed; what an earlier
    ///     server has cached in it is taken over, and that server must have ended. Nil makes one.
    ///   - counterWords: at least 64 words that outlive the server, or nil.
    ///   - bypass: whether the cache is left out of the way at first. `automatic` does not even
    ///     map the frames: what made servers crash may lie there.
    /// - Throws: what opening the backing folder or mapping the frames answers.
    package init(
        options: MountOptions, root descriptor: Int32? = nil, record bytes: [UInt8] = [],
        framesDescriptor: Int32?, counters counterWords: UnsafeMutablePointer<UInt64>?,
        bypass: BypassMode = .off
    ) throws(Errno) {
        self.options = options
        settings = Settings(options, bypass: bypass)
        let record = BackingRecord(bytes: bytes)
        let backing: Backing
        if let descriptor {
            backing = try Backing(root: descriptor, record: record)
        } else {
            backing = try Backing(path: options.backing)
        }
        if !backing.hasHandles {
            SystemLog.warning(
                "\(options.backing) has no file handles: files are found again by their path, and "
                    + "a client's handle of a file renamed elsewhere turns stale at a restart")
        }
        let identity = IdentityStore(folder: options.state, datastore: backing.rootHandle)
        var left: [UInt64: InheritedFile] = [:]
        let tier = try Self.tier(options, settings, framesDescriptor, identity.fingerprintKey) {
            left = $0
        }
        let notes = FileNotes(memory: tier.notes)
        _ = notes.takeOver()
        let root = Inode(
            node: .root, handle: backing.rootHandle, type: S_IFDIR)
        let inodes = InodeTable { inode in
            Self.dropMap(of: inode, tier, notes)
        }
        self.backing = backing
        self.identity = identity
        self.tier = tier
        flash = Self.flash(options, backing, settings)
        logOpening = try Self.openLog(
            options, backing, identity, isFirst: record == nil)
        writeBack = logOpening.log?.writeBack
        logTarget = logOpening.log?.target
        logDevice = logOpening.log?.device
        self.notes = notes
        inherited = Mutex(left)
        self.inodes = inodes
        self.root = inodes.findOrInsert(.root) { root }
        counters = counterWords.map { Counters(shared: $0) } ?? Counters()
        isTreeKnown = Atomic(identity.wasComplete)
        WaitMode.set(mayWait: true)
        if let record {
            recall(record)
        } else {
            _ = try sample(self.root, forced: false)
            _ = try fileSystem()
        }
        logTarget?.attach(self)
        try startUpkeep()
    }

    /// Writes may be answered from a log.
    package var hasLog: Bool { writeBack != nil }

    /// The datastore is a file system of this machine: a call takes as long as its device does.
    package var isLocal: Bool { backing.isLocal }

    /// Seconds that a client may believe attributes and names.
    package var attributeTimeout: Double { settings.attributeTimeout }

    /// Receives what the kernel must drop; set once, before serving.
    package func onInvalidate(_ body: @escaping @Sendable (KernelCopy) -> Void) {
        invalidation.withLock { $0 = body }
    }

    /// Makes the kernel drop what it has cached.
    func invalidateKernel(_ copy: KernelCopy) {
        let body = invalidation.withLock { $0 }
        body?(copy)
    }

    /// Nanoseconds that a request may wait now: `backend_timeout`, or a second once the datastore
    /// is away or calls on it are stuck, so that waiting requests do not use up the threads that
    /// serve cached data.
    package func waitLimit() -> UInt64 {
        let limit = UInt64(settings.backendTimeout * 1e9)
        let health = backing.health
        return health.isAway || health.isStalled ? min(limit, Limits.patience) : limit
    }

    /// True while the datastore answers nothing; to be asked a few times a second.
    package func datastoreIsSilent() -> Bool { backing.health.refresh() }

    /// Adds to a file's counter and to the datastore's.
    @inline(__always)
    func count(_ inode: Inode, _ counter: Counter, _ amount: UInt64) {
        inode.counters.add(counter, amount)
        counters.add(counter, amount)
    }

    /// Refuses a change on a mount that is read-only, and on a thread that may not wait. Waits
    /// while changes are held back.
    func beginMutation() throws(Errno) {
        if options.readOnly { throw .readOnly }
        guard WaitMode.mayWait else { throw .mustWait }
        try changes.pass(limit: waitLimit())
    }
}

/// What the kernel has cached of a datastore that changed below us.
package enum KernelCopy: Hashable, Sendable {
    /// Pages and attributes of a file.
    case file(NodeID)
    /// Which file a name leads to.
    case name([UInt8], in: NodeID)
}
