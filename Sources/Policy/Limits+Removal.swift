// The removal of folders.
extension Limits {
    /// Milliseconds that the removal of a folder waits until removed files in it are closed: knfsd
    /// takes milliseconds for it, on a busy machine tenths of a second. The request holds the lock
    /// of the folder above meanwhile.
    package static let removalPatience: UInt64 = 2000

    /// The first pause of that wait, in milliseconds; each doubles it.
    package static let removalPause: UInt64 = 5

    /// The longest such pause, in milliseconds.
    package static let longestRemovalPause: UInt64 = 100
}
