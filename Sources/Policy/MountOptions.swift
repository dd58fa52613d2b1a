/// What a mount was asked to be: the options of `-o`, of `/etc/forebay/NAME.toml` and their
/// defaults (docs/operations.md has the table).
package struct MountOptions: Sendable, Equatable {
    /// The folder of the datastore, absolute.
    package var backing: String
    /// Where the accelerated datastore appears, absolute.
    package var mountpoint: String
    /// Names the control socket and the state folder: `[A-Za-z0-9._-]{1,64}`.
    package var name: String
    /// The folder of the identity table and other small state.
    package var state: String
    /// Bytes of the RAM tier, frames and bookkeeping together.
    package var ram: Int
    /// The flash tier; nil: there is none.
    package var flash: FlashOption?
    /// Most bytes written to flash in a day, as a multiple of its size, averaged over an hour;
    /// 0: without limit.
    package var flashWritesPerDay = 3.0
    /// The journal; nil: there is none.
    package var log: LogOption?
    /// When writes are acknowledged of files that have no policy of their own. `back` has a log.
    package var write = WritePolicy.through
    /// Seconds that dirty data may wait in the journal, so that writes to the same place merge.
    package var destageDelay = 5.0
    /// In which order dirty data goes to the datastore.
    package var destageOrder = DestageOrder.epoch
    /// Bytes of dirty data from which writers are slowed; nil: 3/4 of the log.
    package var dirtyMax: UInt64?
    /// Mount although the log that may hold dirty data is not there; what it held is lost.
    package var discardLog = false
    /// Seconds that attributes may be believed while a file is in use.
    package var attributeTimeout: Double
    /// Seconds that an operation may wait for the datastore before "try later".
    package var backendTimeout: Double
    /// No operation changes the datastore.
    package var readOnly: Bool
    /// Flags of mount(2) that the options ask for, MS_RDONLY included: `nosuid`, `noatime` …
    package var mountFlags: UInt = 0

    package init(
        backing: String, mountpoint: String, name: String, state: String, ram: Int,
        attributeTimeout: Double = 10, backendTimeout: Double = 60, readOnly: Bool = false
    ) {
        self.backing = backing
        self.mountpoint = mountpoint
        self.name = name
        self.state = state
        self.ram = ram
        self.attributeTimeout = attributeTimeout
        self.backendTimeout = backendTimeout
        self.readOnly = readOnly
    }

    /// The control socket of the mount.
    package var controlSocket: String { "/run/forebay/\(name).sock" }
}
