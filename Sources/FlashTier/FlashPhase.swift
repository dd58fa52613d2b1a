/// What a flash tier does at the moment.
package enum FlashPhase: UInt8, Sendable {
    /// It reads the index: nothing is found, nothing is stored.
    case loading
    /// It serves and is about to store where it is, before it takes anything new.
    case settling
    case on
    /// The device is not used: it failed.
    case off
    /// It was closed, and stays so.
    case closed
}
