// Reading ahead of sequential readers.
extension Limits {
    /// Largest read of the datastore for a sequential reader, in bytes: what NFS clients and
    /// servers, and the kernel's FUSE, take in one request.
    package static let readAhead = 1 << 20

    /// The first read-ahead, in bytes: little enough to come along with the read that a reader
    /// waits for, and enough for the small files that are read from the beginning.
    package static let firstReadAhead = 64 << 10

    /// Most bytes that are ordered at once for a reader that goes on; up to twice as much is cached
    /// or under way ahead of it, which is what the threads below read at the same time.
    package static let readAheadWindow = 4 << 20

    /// The share of the RAM tier that is ordered at once, as a divisor: what was ordered for one
    /// reader, twice this, stays below half of the place that newcomers have.
    package static let readAheadDivisor = 4 * newcomersDivisor

    /// Threads that read ahead, started as they are needed. What they read, 1 MiB each, keeps a
    /// line of 10 Gbit/s busy for 6 ms, longer than most datastores take to answer, and others wait
    /// 80 ms behind it at most on one of 1 Gbit/s. With half as many a reader falls behind where
    /// processors are scarce.
    package static let readAheadThreads = 8

    /// Orders that wait for these threads; more are not taken. Some readers at full speed have as
    /// many, and later ones would come too late.
    package static let readAheadOrders = 64

    /// Requests that may read from the datastore at the same time before reading ahead of them
    /// would only make it busier: a quarter of the threads.
    package static let readsBesideReadAhead = workerThreads / 4

    /// Readers of one file that are told apart …
    package static let streams = 8

    /// … of which so many may be known to go on, so that a new one has a place among those that
    /// read at random.
    package static let steadyStreams = 6

    /// Blocks that the requests of one reader may be off by when they overtake one another, beside
    /// twice their own length: of those at random in a small disk few meet so closely by chance.
    package static let leastStreamSlack: UInt64 = 8

    /// The same for long requests.
    package static let streamSlack: UInt64 = 64

    /// Nanoseconds after which a reader that did not come to its next mark is taken for one that
    /// stopped: what others then read at random there is no sign of it.
    package static let streamPatience: UInt64 = 10_000_000_000
}
