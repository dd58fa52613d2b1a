import Glibc

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

    /// Threads that read requests from the kernel. They hardly ever wait, so one for each processor
    /// is enough, and more take turns where one could go on: four on two processors answered a
    /// sixth less. Two at least, because one may wait for a device; more than four find the
    /// kernel's queue in use by another.
    package static let readerThreads = min(4, max(2, sysconf(Int32(_SC_NPROCESSORS_ONLN))))

    /// Threads that read requests and may wait for the log, or for a local datastore, themselves:
    /// half of them, so that a device that hangs leaves enough to read requests.
    package static let busyReaders = readerThreads / 2

    /// The nice value of the server (nice(7)): a virtual machine waits for each request, and what
    /// else the machine does must not keep it waiting.
    package static let serverNice: Int32 = -10

    /// That of the thread that shows that the server is alive, whatever the others do.
    package static let monitorNice: Int32 = -15

    /// Threads that may wait for the datastore. More let more requests be under way there.
    package static let workerThreads = 64

    /// Threads that may wait for flash, started as they are needed: at this depth a drive gives
    /// most of what it can, and more would only hold memory for what they read.
    package static let flashThreads = 32

    /// File descriptors on the datastore kept open, at most: far below any usual limit, and
    /// lowered further when RLIMIT_NOFILE is small.
    package static let openDescriptors = 2048

    /// Inodes kept in memory; the least recently used go first. 1,200 bytes each,
    /// 1,450 once read: 0.4 GiB in all.
    package static let inodes = 1 << 18

    /// Threads of the NFS server that preflight asks for: as many requests may wait for the
    /// datastore before reads from memory wait behind them.
    package static let serverThreads = 64

    /// Bytes of a request to the filer that preflight is content with: smaller ones cost a large
    /// write or a read-ahead several round trips.
    package static let nfsRequestSize = 256 << 10

    /// Seconds that preflight allows the NFS server's grace period: guests give a disk up after 30.
    package static let graceTime = 15

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
    /// requests to do. Clients may see a pause of two seconds: this leaves half a second for the
    /// next one to begin, and signs of life come every `monitorInterval`.
    package static let serverSilence: UInt64 = 1300

    /// Milliseconds between two looks of the keeper at its server.
    package static let serverLook: UInt64 = 100

    /// Milliseconds that a server waits for the threads of the last one that read requests. They
    /// wait for nothing but a processor.
    package static let threadEnd: UInt64 = 2000

    /// Large slots that are ready when a server begins; the rest follows within milliseconds. Each
    /// reader needs one, and one more for a request that it hands on; there are four at most.
    package static let firstSlots = 8

    /// Seconds in which the first server of a mount must have shown a sign of life: it asks the
    /// datastore, which may be slow.
    package static let serverStart: UInt64 = 120

    /// Seconds in which a later one must have: it asks nothing, but may find a machine that is
    /// busy with the memory of the one before.
    package static let serverRestart: UInt64 = 30

    /// Milliseconds for which all readers may have the same requests before they count as stuck:
    /// each is done in microseconds, and the rest of the two seconds is the keeper's.
    package static let readersPatience: UInt64 = 300

    /// Milliseconds between two looks whether a successor must be told something new about the
    /// datastore: what it learns too late costs it a second.
    package static let recordInterval: UInt64 = 100

    /// Inodes whose invalidation in the kernel's page cache is pending, at most: each is pending
    /// once, so there are no more than inodes in memory.
    package static let invalidations = inodes

    /// Seconds that requests under way have to end after an unmount.
    package static let drain: UInt64 = 10

    /// Milliseconds that requests under way have to end when a server hands over: with a datastore
    /// that answers they do, and what does not is done again by the successor. Clients see the
    /// wait as a part of a pause that must stay below a second.
    package static let handOver: UInt64 = 300

    /// Milliseconds that the program to change to may take to say that it reads this mount's
    /// memory and state: a slow disk may have to load it first.
    package static let probe: UInt64 = 15_000

    /// Nanoseconds between two deaths by trap that count as one trouble, for which the cache is
    /// left out of the way.
    package static let trapWindow: UInt64 = 5_000_000_000

    /// Nanoseconds without the cache before it is tried again: enough to be noticed.
    package static let firstBypass: UInt64 = 10_000_000_000

    /// The same at most, after it was doubled each time that it did not help.
    package static let longestBypass: UInt64 = 300_000_000_000

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

    /// The share of the RAM tier for notes of files, by which a successor finds what is cached of
    /// them, as a divisor: a note for every 288 KiB. Machines' disks are larger; files beyond are
    /// cached as well, and cold after a takeover.
    package static let fileNotesDivisor = 4096

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

    /// Deliveries of alerts that run at the same time: a channel that hangs in one must not keep
    /// later events from the other channels, and a storm of events must not become one of
    /// processes.
    package static let alertDeliveries = 4

    /// Events that one delivery takes, at most: all that the ring in shared memory holds.
    package static let alertBatch = 64

    /// Seconds that all attempts of one channel may take in one delivery. What cannot be delivered
    /// by then is logged.
    package static let alertPatience: UInt64 = 45

    /// Seconds that one attempt may take: mail servers that delay their greeting are waited for.
    package static let alertAttempt: UInt64 = 15

    /// Attempts for each message and channel; the log has it in any case.
    package static let alertAttempts = 3

    /// Seconds after which the keeper kills a delivery, which should have ended by its own limit.
    package static let alertLife: UInt64 = alertPatience + 30

    /// Seconds between two looks at what is held back by the rate limit.
    package static let alertRecall: UInt64 = 30

    /// Seconds until a delivery that could not be started is tried again.
    package static let alertRestart: UInt64 = 1

    /// Seconds between two messages of a class unless the configuration says otherwise: often
    /// enough to show that a problem goes on, seldom enough to be read.
    package static let alertInterval: UInt64 = 300

    /// Bytes of output of a program that an alert channel runs, for the log.
    package static let alertOutput = 4096

    /// Bytes of an alert configuration, and of a file that holds a secret.
    package static let alertFile = 1 << 16

    /// Receivers of mail.
    package static let alertReceivers = 32

    /// Most bytes of tables for each cached block of the RAM tier: the published figure.
    package static let tableBytesPerBlock: UInt64 = 64

    /// Distinct contents that an estimate counts one by one, in tables of 100 MiB; of more, which
    /// is beyond 16 GiB, it counts a share. The error of a share this large is below 1 %.
    package static let estimateContents: UInt64 = 1 << 22

    /// Files with several names that an estimate remembers, so that it reads each once; of more
    /// it reads each name. About 50 bytes each.
    package static let estimateLinks = 1 << 18

    /// Folders inside one another that an estimate enters: each keeps two descriptors open.
    package static let estimateDepth = 128

    /// Bytes of memory for each content in flash: measured by the tests of the index, rounded up.
    package static let flashContentBytes: UInt64 = 9

    /// Bytes of memory for each block of a file that is found in flash, when its neighbours are
    /// too: measured likewise.
    package static let flashMappedBytes: UInt64 = 6

    /// Smallest flash device, in bytes: below it, logs and headers leave no room for regions.
    package static let minimumFlash: UInt64 = 32 << 20

    /// Most that `flash_dwpd=` takes: no drive writes faster.
    package static let flashWritesPerDay: UInt64 = 10_000

    /// Most bytes of a flash device that are used: the index names a slot with 30 bits.
    package static let flashSize: UInt64 = 4 << 40

    /// Blocks of a region of flash: 4 MiB is a sequential write for any drive, and little enough
    /// to be kept in memory while it fills.
    package static let flashRegionBlocks = 1024

    /// Bytes of block map for each slot of flash, at most: enough for four copies of each content.
    package static let flashMapBytes = 24

    /// Files with blocks in flash; about 150 bytes of memory each.
    package static let flashFiles = 1 << 18

    /// Blocks that are found in flash and that its log has not been told of, at most: they are
    /// told with the next region, and lost in a crash before.
    package static let flashEntries = 4096

    /// Pages of the log of flash that are written at once: 256 KiB.
    package static let flashLogBatch = 64

    /// Nanoseconds after the last write to a range of 1 MiB when its mark in the log is cleared:
    /// shorter would write more log, longer would forget more in a crash.
    package static let flashMarkIdle: UInt64 = 5_000_000_000

    /// Nanoseconds that the times of a file may be behind those that its map was last stored with,
    /// if it was being written when the mount died: it is sampled each second, which takes up to
    /// another one to be durable, and a third is for a datastore that answers late.
    package static let flashSampleSlack: Int64 = 3_000_000_000

    /// Contents of files that are pinned take at most one in so many slots of flash: the other half
    /// must do for everything else.
    package static let flashKeptDivisor = 2

    /// Files whose contents stay in flash; each walk through the block map looks for them.
    package static let flashKeptFiles = 1 << 16

    /// Nanoseconds that a write waits for the flash device to be opened: a server that dies has
    /// gone by then, unless the device hangs.
    package static let flashOpening: UInt64 = 2_000_000_000

    /// Milliseconds between two looks after the flash device, and between two samples of files
    /// that are being written.
    package static let flashUpkeep: UInt64 = 1000

    /// Milliseconds after which a file that begins to be written is sampled: a crash before that
    /// costs what flash has of it.
    package static let flashFirstSample: UInt64 = 50

    /// Bytes of blocks that wait to be written to flash: what a region and its flush take, while a
    /// datastore delivers as fast as it can.
    package static let flashOffers = 32 << 20

    /// Nanoseconds of a read of flash, on average, above which the datastore is as quick.
    package static let flashSlow: UInt64 = 50_000_000

    /// Nanoseconds that a read of flash may be under way before the device counts as hung.
    package static let flashHang: UInt64 = 2_000_000_000

    /// Reads of flash that may fail in short succession: a few bad blocks are no bad device.
    package static let flashFailures = 8

    /// Nanoseconds between two looks at a device that was given up.
    package static let flashProbe: UInt64 = 5_000_000_000

    // MARK: - Health; times in nanoseconds

    /// Without any answer for this long, what is in memory is answered from memory: far above what
    /// a working filer takes, far below what a hypervisor waits.
    package static let silentAfter: UInt64 = 1_000_000_000

    /// Without any answer for this long a part is away: a filer that changes over to its partner
    /// quickly is not, and requests that wait must not use up all of nfsd's threads.
    package static let awayAfter: UInt64 = 5_000_000_000

    /// Bad answers must last for this long: a burst of work is no sickness.
    package static let degradedAfter: UInt64 = 5_000_000_000

    /// And good ones for this long, so that a part at the limit does not come and go.
    package static let healedAfter: UInt64 = 10_000_000_000

    /// How long a part that was away must answer before it is healthy: with the looks and probes
    /// in between less than two seconds.
    package static let healthTrial: UInt64 = 1_000_000_000

    /// The longest such trial, after relapses.
    package static let longestHealthTrial: UInt64 = 30_000_000_000

    /// Something that waits for this long has a probe sent after it: half of `silentAfter`, so that
    /// one call that is stuck does not make a part silent.
    package static let probeAfter: UInt64 = 500_000_000

    /// The pause after the first probe; each doubles it.
    package static let probePause: UInt64 = 250_000_000

    /// The longest pause between probes: service is back within two seconds of the part.
    package static let longestProbePause: UInt64 = 1_000_000_000

    /// Answers of one kind are judged once there are so many …
    package static let judgedAnswers: UInt64 = 16

    /// … and at most so often …
    package static let judgedWindow: UInt64 = 1_000_000_000

    /// … or after this long with a quarter of them; fewer can only be good.
    package static let longestJudgedWindow: UInt64 = 5_000_000_000

    /// Medians that are never slow. What waits behind a disk, a busy network and a queue takes
    /// tens of milliseconds; a guest feels a fifth of a second. Durable writes take longer.
    package static let slowRead: UInt64 = 200_000_000
    /// Likewise for operations on names and attributes.
    package static let slowMetadata: UInt64 = 200_000_000
    /// Likewise for writes.
    package static let slowWrite: UInt64 = 500_000_000

    /// So many times the usual median is unusual: load doubles or triples it on a sound day.
    package static let slowFactor: UInt64 = 5

    /// A median that is slow however usual it is: guests give up after 30 of these.
    package static let slowAlways: UInt64 = 2_000_000_000

    /// Windows before anything is called unusual.
    package static let learningWindows: UInt64 = 10

    /// The weight of a window in what is usual, as a divisor: minutes of steady work.
    package static let usualWindows: UInt64 = 64

    /// Failed calls in a window that make it bad, if they are a tenth of all: one damaged file has
    /// its errors too.
    package static let failedCalls: UInt64 = 5

    /// Calls of one kind that are stuck for `awayAfter` and make it stalled: an eighth of the
    /// threads that wait, so that the others still answer.
    package static let stalledCalls = workerThreads / 8

    /// Milliseconds until a caller hears that the datastore cannot be reached: longer than
    /// `silentAfter` and a look of the monitor, which answers from memory what it can.
    package static let unreachablePause: UInt64 = 1500

    /// Calls that may be under way while the datastore is away, beside the probe: they bring news
    /// too, and each keeps a thread of a killed server from ending.
    package static let callsWhileAway = 4
}
