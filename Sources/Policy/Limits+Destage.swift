extension Limits {
    // MARK: - Dirty data

    /// Extents in a leaf of an extent map: 3 KiB, which are moved in a tenth of a microsecond when
    /// one is inserted.
    package static let extentsPerLeaf = 128

    /// An epoch is closed when its records span this fraction of the log: what it took is free
    /// again only when all of it is at the datastore, so that seven eighths are left to write into.
    package static let epochShare: UInt64 = 8

    // MARK: - Destaging

    /// Bytes of one write to the datastore: what NFS clients and servers send at once.
    package static let destageRun = 1 << 20

    /// Bytes that are written to one file before they are made durable and their time counts: four
    /// writes share a COMMIT, and with all threads at work 32 MiB are in the kernel's hands.
    package static let destageBatch = 4 << 20

    /// Changes in such a batch: a thousand small writes take a slow disk some seconds.
    package static let destageBatchExtents = 1024

    /// Batches under way at once: as many as a small NAS has disks; more only lengthen its queue.
    package static let destageWindow = 8

    /// From this share of the log on, its room matters more than the datastore's latency.
    package static let urgentShare = 0.5

    /// The weight of a slow answer in what counts as the best time, as a divisor: a datastore that
    /// has become slower for good is known as such after some dozen writes, one at a time.
    package static let bestMemory: UInt64 = 16

    /// Until the destager's speed is known, bytes per second: an old NAS on a network of 1 Gbit/s.
    package static let assumedDestageRate: UInt64 = 64 << 20

    /// The least that counts as its speed, so that no write waits for hours.
    package static let lowestDestageRate: UInt64 = 256 << 10

    /// So many bytes make a full sample of it.
    package static let rateSample: UInt64 = 64 << 20

    /// The longest delay of one write, nanoseconds: an NFS client asks again after some seconds.
    package static let longestDelay: UInt64 = 1_000_000_000

    /// Nanoseconds until a datastore that cannot be asked is tried again.
    package static let awayPause: UInt64 = 500_000_000

    /// Nanoseconds until a file that the datastore does not take is tried again; each failure
    /// doubles it …
    package static let troublePause: UInt64 = 1_000_000_000

    /// … up to this: a quota that was raised shows its effect within half a minute.
    package static let longestTroublePause: UInt64 = 30_000_000_000

    /// What the datastore has not taken for this long is set aside, nanoseconds: an administrator
    /// who is called has made room by then, or will not.
    package static let longestTrouble: UInt64 = 600_000_000_000

    /// Pieces that are carried forward before changes may go on: each is a write to the log.
    package static let carriedAtOnce = 16

    /// Nanoseconds that an idle destager sleeps at most.
    package static let destageIdle: UInt64 = 1_000_000_000
}
