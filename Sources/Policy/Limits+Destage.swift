extension Limits {
    // MARK: - Dirty data and its way to the datastore

    /// Extents in a leaf of an extent map: 3 KiB, which are moved in a tenth of a microsecond when
    /// one is inserted.
    package static let extentsPerLeaf = 128

    /// An epoch is closed when its records span this fraction of the log: what it took is free again
    /// only when all of it is at the datastore, so that seven eighths are left to write into.
    package static let epochShare: UInt64 = 8
}
