// Write-back as the data path uses it.
extension Limits {
    /// Milliseconds that a server waits for the log device of a server before it, which may still
    /// be on its way out: a process with much memory takes seconds to end.
    package static let logOpening: UInt64 = 10_000

    /// Bytes that must be free at the datastore beyond what the log has, or writes that need space
    /// go there at once: as many as a log takes in between two looks a second apart.
    package static let spaceMargin: UInt64 = 1 << 30

    /// Bytes that a file can have on any file system that a datastore may be on; ext3 ends there.
    /// What makes a file larger is asked of the datastore, which may refuse it.
    package static let certainFileSize: UInt64 = 2 << 40

    /// Bytes of the log that writers leave to the destager, whose own records say how far it got:
    /// two of 200 bytes for each of a thousand files.
    package static let destagerReserve = 512 << 10

    /// Extents of dirty data in memory, from which on writers wait: 160 MiB at some 40 bytes each,
    /// enough for 16 GiB in writes of 4 KiB.
    package static let dirtyExtents = 4 << 20

    /// Milliseconds between two looks whether a full log has room again: shorter than any write of
    /// the destager that makes some.
    package static let roomInterval: UInt64 = 2
}
