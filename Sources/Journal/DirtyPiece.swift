/// A piece of a range of a file that was asked for.
package enum DirtyPiece: Equatable, Sendable {
    /// `length` bytes of the data record at `position`, from `skip` of its payload on.
    case data(position: LogPosition, skip: Int, length: Int)
    /// Bytes that read as zeros whatever is below.
    case zeros(length: UInt64)
    /// Nothing dirty: what is below counts.
    case gap(length: UInt64)

    /// Bytes.
    package var length: UInt64 {
        switch self {
        case .data(_, _, let length): UInt64(length)
        case .zeros(let length), .gap(let length): length
        }
    }
}

/// Keeps records in the log while somebody reads them, until `release` or the end of its life.
package final class DirtyPin: @unchecked Sendable {
    private let dirty: DirtyData
    /// The oldest epoch that is read from; nil when none is, any more. Only its owner's thread uses
    /// it.
    private var epoch: Epoch?

    init(_ dirty: DirtyData, _ epoch: Epoch?) {
        self.dirty = dirty
        self.epoch = epoch
    }

    deinit { release() }

    /// The records are not needed any more. To be called in a `defer`: without it the pin could go
    /// as soon as its last mention is passed.
    package func release() {
        guard let epoch else { return }
        self.epoch = nil
        dirty.unpin(epoch)
    }
}
