import Glibc
import Journal
import Passthrough
import Policy
import Synchronization
import Syscalls

// Reading and seeking in files that have data in the log: it lies over what the datastore has.
extension Datastore {
    /// Answers a read from the log, with what the log does not have from below. False when nothing
    /// of the range is in the log.
    func readDirty(
        _ inode: Inode, _ range: ByteRange, into reply: inout ReadReply
    ) throws(Errno) -> Bool {
        guard let writeBack else { return false }
        var pieces: [DirtyPiece] = []
        guard
            let pin = writeBack.dirty.pieces(
                file: inode.node.rawValue, offset: range.start, length: range.end - range.start,
                into: &pieces)
        else { return false }
        defer { pin.release() }
        // What lies behind the datastore's end of the file is zeros that nobody wrote.
        let endBelow = inode.size.load(ordering: .acquiring)
        guard range.end > endBelow || pieces.contains(where: { !$0.isBelow }) else {
            return false
        }
        guard WaitMode.mayReadFlash else { throw .mustReadFlash }
        let overlay = reply.overlay()
        var position = range.start
        var dirtyBlocks: UInt64 = 0
        for piece in pieces {
            let part = ByteRange(start: position, end: position + piece.length)
            let place = overlay + Int(position - range.start)
            switch piece {
            case .gap: try readBelow(inode, part, to: place, with: &reply)
            case .zeros(let length): memset(place, 0, Int(length))
            case .data(let position, let skip, let length):
                let target = UnsafeMutableRawBufferPointer(start: place, count: length)
                try writeBack.journal.read(position, skip: skip, into: target)
            }
            if !piece.isBelow { dirtyBlocks += part.endBlock - part.firstBlock }
            position += piece.length
        }
        reply.append(overlay, Int(position - range.start))
        count(inode, .hitsDirty, dirtyBlocks)
        return true
    }

    /// Copies what the tiers and the datastore have of a range, and zeros behind its end.
    private func readBelow(
        _ inode: Inode, _ range: ByteRange, to place: UnsafeMutableRawPointer,
        with reply: inout ReadReply
    ) throws(Errno) {
        memset(place, 0, Int(range.end - range.start))
        let end = min(range.end, inode.size.load(ordering: .acquiring))
        guard range.start < end else { return }
        try readStored(inode, ByteRange(start: range.start, end: end), into: &reply)
        var copied = 0
        for index in 0..<reply.count {
            let piece = reply.vectors[index + 1]
            if let base = piece.iov_base { memcpy(place + copied, base, piece.iov_len) }
            copied += piece.iov_len
        }
        // The next gap lands where this one did.
        reply.reset()
    }

    /// SEEK_DATA or SEEK_HOLE in a file that has data in the log.
    func seekDirty(
        _ inode: Inode, offset: UInt64, whence: SeekKind,
        below: (UInt64) throws(Errno) -> UInt64
    ) throws(Errno) -> UInt64 {
        let size = visibleSize(inode)
        guard offset < size else { throw Errno(ENXIO) }
        var position = offset
        while position < size {
            let known = writeBack?.dirty.part(of: inode.node.rawValue, at: position)
            let (part, end) = known ?? (.gap, .max)
            if let found = try whence.find(part, from: position, below), found < min(end, size) {
                return found
            }
            position = end
        }
        guard whence == .hole else { throw Errno(ENXIO) }
        return size
    }
}

/// What lseek(2) is asked for.
enum SeekKind {
    case data
    case hole

    /// Where in a part that `position` is in the first of it is; nil when there is none.
    fileprivate func find(
        _ part: DirtyPart, from position: UInt64, _ below: (UInt64) throws(Errno) -> UInt64
    ) throws(Errno) -> UInt64? {
        switch (part, self) {
        case (.data, .data), (.zeros, .hole): return position
        case (.data, .hole), (.zeros, .data): return nil
        case (.gap, _):
            do throws(Errno) {
                return try below(position)
            } catch {
                // Behind the end of the datastore's file everything is a hole.
                guard error.code == ENXIO else { throw error }
                return self == .hole ? position : nil
            }
        }
    }
}

extension DirtyPiece {
    /// It is not in the log.
    fileprivate var isBelow: Bool {
        if case .gap = self { true } else { false }
    }
}
