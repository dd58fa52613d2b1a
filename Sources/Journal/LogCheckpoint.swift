import Devices
import Syscalls

/// What a log says of itself that changes: two blocks, written in turn.
struct LogCheckpoint: Equatable {
    /// Counts the writes; the parity tells the block.
    var sequence: UInt64 = 1
    /// Everything before it is released.
    var tail: LogPosition
    /// The last life of a server.
    var life: UInt64 = 0
    /// Where that life begins to write: nothing behind it is of an earlier one.
    var lifeStart: LogPosition
    /// Everything before it was durable when this was written.
    var durable: LogPosition

    private static let magic: UInt32 = 0x434a_4246  // FBJC
    private static let size = 64

    init(tail: LogPosition) {
        self.tail = tail
        lifeStart = tail
        durable = tail
    }

    /// The newest valid one; `isSure` tells that the one before it is there too, so that none that
    /// is newer has been lost.
    static func read<Device: BlockDevice>(
        from device: Device, _ geometry: LogGeometry, _ seal: LogSeal
    ) throws(JournalProblem) -> (checkpoint: LogCheckpoint, isSure: Bool) {
        let buffer = BlockBuffer(blocks: 1)
        let memory = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<geometry.unit])
        var found: [LogCheckpoint] = []
        var failure: Errno?
        for offset in LogGeometry.checkpoints {
            do throws(Errno) {
                try device.read(memory, at: offset)
                if let one = try? LogCheckpoint(UnsafeRawBufferPointer(memory), at: offset, seal) {
                    found.append(one)
                }
            } catch {
                failure = error
            }
        }
        guard let newest = found.max(by: { $0.sequence < $1.sequence }) else {
            throw failure.map { .device($0) } ?? .damagedCheckpoint
        }
        return (newest, found.count == 2)
    }

    private init(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ seal: LogSeal
    ) throws(Errno) {
        var reader = ByteReader(bytes)
        _ = try reader.take(UInt64.self)
        guard try reader.take(UInt32.self) == Self.magic else { throw .io }
        _ = try reader.take(UInt32.self)
        sequence = try reader.take(UInt64.self)
        tail = try reader.take(UInt64.self)
        life = try reader.take(UInt64.self)
        lifeStart = try reader.take(UInt64.self)
        durable = try reader.take(UInt64.self)
        guard bytes.count >= Self.size,
            seal.isStamped(bytes, size: Self.size, at: offset, life: 0)
        else { throw .io }
    }

    /// Makes the block that its sequence tells durable.
    func write<Device: BlockDevice>(
        to device: Device, _ geometry: LogGeometry, _ seal: LogSeal
    ) throws(Errno) {
        let offset = LogGeometry.checkpoints[Int(sequence % 2)]
        let buffer = BlockBuffer(blocks: 1)
        var writer = ByteWriter(buffer.bytes, at: 8)
        writer.put(Self.magic)
        writer.put(UInt32(0))
        writer.put(sequence)
        writer.put(tail)
        writer.put(life)
        writer.put(lifeStart)
        writer.put(durable)
        let unit = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<geometry.unit])
        seal.stamp(buffer.bytes, size: Self.size, at: offset, life: 0)
        try device.writeDurably(unit, at: offset)
    }
}
