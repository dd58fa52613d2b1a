/// Every bound of the project, each with its reason. A queue, table or pool that has no limit here
/// is a mistake.
package enum Limits {
    /// The grain of the cache, in bytes: the size at which copies of guests deduplicate best
    /// (1.52x at 4 KiB, 1.27x at 8 KiB on independently installed guests).
    package static let blockSize = 4096

    /// The longest file name, in bytes: what the kernel and NFS allow.
    package static let nameLength = 255

    /// The most bytes of one read or write request: the kernel's 256 pages.
    package static let requestSize = 1 << 20

    /// Request slots that can hold the largest request: one for each of 64 nfsd threads, and for
    /// those who read. Each costs 1 MiB of locked memory.
    package static let largeSlots = 72

    /// Slots for requests that wait for the datastore and are small: a hung datastore must be able
    /// to hold up this many callers before later ones are told to try again.
    package static let parkedSlots = 4096

    /// Bytes of request that a parked slot holds; larger requests wait in their large slot.
    package static let parkedSize = 1280

    /// Threads that read requests from the kernel. They never wait, so few are enough.
    package static let readerThreads = 4

    /// Threads that may wait for the datastore. More let more requests be under way there.
    package static let workerThreads = 64

    /// File descriptors on the datastore kept open, at most: far below any usual limit, and
    /// lowered further when RLIMIT_NOFILE is small.
    package static let openDescriptors = 2048

    /// Inodes kept in memory; the least recently used go first. About 500 bytes each.
    package static let inodes = 1 << 18

    /// Largest read-ahead for a sequential reader, in bytes.
    package static let readAhead = 1 << 20

    /// Largest value of an extended attribute (the kernel's XATTR_SIZE_MAX).
    package static let attributeSize = 65536

    /// Slots for writes of middling size that wait for the datastore. One for each of 64 nfsd
    /// threads and for as many local writers.
    package static let mediumSlots = 128

    /// Bytes of data that a medium slot holds: what NFS clients send unless told otherwise.
    package static let mediumSize = 64 << 10

    /// Milliseconds that the last thread that reads requests waits for a slot before it answers
    /// "try later": a burst of large writes ends sooner, and cached reads must not wait longer.
    package static let slotWait: UInt64 = 100

    /// Milliseconds between two looks at the requests that wait.
    package static let monitorInterval: UInt64 = 50

    /// Nanoseconds after which a waiting request is tried from memory while the datastore is
    /// silent, and after which a signal to its caller ends it. Shorter waits are ordinary.
    package static let patience: UInt64 = 1_000_000_000

    /// Milliseconds without a sign of life after which the keeper replaces a server that has
    /// requests to do: clients may see a pause of two seconds.
    package static let serverSilence: UInt64 = 2000

    /// Milliseconds that a server waits for the threads of the last one that read requests. They
    /// wait for nothing but a processor.
    package static let threadEnd: UInt64 = 2000

    /// Large slots that are ready when a server begins; the rest follows within milliseconds. Each
    /// reader needs one, and one more for a request that it hands on.
    package static let firstSlots = 2 * readerThreads

    /// Seconds in which a server that starts for the first time must have shown a sign of life.
    package static let serverStart: UInt64 = 120

    /// Inodes whose invalidation in the kernel's page cache is pending, at most: each is pending
    /// once, so there are no more than inodes in memory.
    package static let invalidations = inodes

    /// Seconds that requests under way have to end after an unmount.
    package static let drain: UInt64 = 10

    /// Smallest `ram=`, in bytes: below it the tables leave nothing for contents.
    package static let minimumRAM: UInt64 = 16 << 20

    /// Largest default of `ram=`, in bytes: who wants more says so.
    package static let defaultRAM: UInt64 = 4 << 30

    /// Connections to the control socket at the same time. Only root connects: the commands, and
    /// what watches the service.
    package static let controlConnections = 16

    /// Orders of the control socket that may wait for the datastore at the same time: fewer than
    /// the connections, so that the state can be asked for while they wait.
    package static let controlOrders = 8

    /// Bytes of a request line on the control socket: a command and a path of PATH_MAX.
    package static let controlLine = 8192

    /// Bytes of an answer on the control socket that a client accepts.
    package static let controlAnswer = 1 << 20

    /// Milliseconds that a client of the control socket may take to send its line or to take its
    /// answer.
    package static let controlPatience: UInt64 = 5000

    /// Smallest RAM tier that can be made at all, in bytes: tests use tiers this small.
    package static let smallestTier = 1 << 20

    /// One ghost for so many frames: enough to notice that a block comes back soon, and bookkeeping
    /// stays below 64 bytes for each cached block.
    package static let framesPerGhost = 10

    /// The share of the frames for contents that were not used again yet, as a divisor (the 10 % of
    /// the S3-FIFO paper).
    package static let newcomersDivisor = 10

    /// The share of the frames that pinned contents may keep, as a divisor: the rest must be able
    /// to cache as well.
    package static let pinnedDivisor = 2

    /// The share of the RAM tier that its block map may take when contents have very many copies,
    /// as a divisor.
    package static let blockMapDivisor = 2

    /// Contents that one eviction passes over before it takes what comes: bounds the time that it
    /// keeps others from evicting.
    package static let evictionPatience = 1024

    /// Milliseconds after which a file's identity is in the table: what is younger when a server
    /// dies has to be searched for in the datastore's tree.
    package static let identityInterval: UInt64 = 20

    /// Milliseconds that a request waits for that search before it is told to try again. Most
    /// datastores have few files; those with millions keep their callers waiting.
    package static let searchPatience: UInt64 = 5000

    /// Requests that may wait so at the same time: a part of the threads.
    package static let searchers = workerThreads / 2
}
