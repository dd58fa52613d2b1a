import Devices
import Glibc
import Policy
import Syscalls

extension Journal {
    /// Fills `memory` with a record's payload from byte `skip` on. Verified when all of the payload
    /// is asked for, and for payloads of at most 64 KiB always. Throws EIO when the record is not
    /// there (any more), is damaged, or the device does not read it.
    package func read(
        _ position: LogPosition, skip: Int, into memory: UnsafeMutableRawBufferPointer
    ) throws(Errno) {
        guard memory.count > 0 else { return }
        guard skip >= 0, skip <= geometry.frameSize, memory.count <= geometry.frameSize,
            position % 8 == 0
        else { throw .invalid }
        let buffer = readBuffers.take()
        defer { readBuffers.give(buffer) }
        let header = RecordHeader.size
        let end = header + skip + memory.count
        let isNear = skip == 0 || end <= Limits.verifiedRecord
        guard isNear else {
            let place = try fill(buffer, position + UInt64(header + skip), memory.count)
            memory.copyMemory(from: UnsafeRawBufferPointer(rebasing: place))
            return
        }
        var place = try fill(buffer, position, end)
        let record = try RecordHeader(UnsafeRawBufferPointer(rebasing: place), at: position, seal)
        guard record.kind != nil, record.payload >= skip + memory.count else { throw .io }
        let whole = header + record.payload
        if whole <= Limits.verifiedRecord || whole == end {
            if whole > end { place = try fill(buffer, position, whole) }
            let payload = place[(place.startIndex + header)...]
            guard record.matches(payload, at: position, seal) else { throw .io }
        }
        let from = place.startIndex + header + skip
        memory.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: place[from..<from + memory.count]))
    }

    /// Reads the units around some bytes of one segment; answers where in the buffer they are.
    private func fill(
        _ buffer: BlockBuffer, _ position: LogPosition, _ count: Int
    ) throws(Errno) -> Slice<UnsafeRawBufferPointer> {
        let unit = UInt64(geometry.unit)
        let (last, overflow) = position.addingReportingOverflow(UInt64(count) - 1)
        guard !overflow, geometry.segment(of: position) == geometry.segment(of: last) else {
            throw .io
        }
        let start = position & ~(unit - 1)
        let length = Int((last & ~(unit - 1)) - start + unit)
        guard length <= buffer.bytes.count else { throw .io }
        let memory = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<length])
        try device.read(memory, at: geometry.offset(of: start))
        let front = Int(position - start)
        return UnsafeRawBufferPointer(memory)[front..<front + count]
    }
}

/// Memory for reading the log, allocated as it is needed up to a limit; who wants more waits.
final class LogReadBuffers: Sendable {
    private struct State {
        var free: [BlockBuffer] = []
        var made = 0
    }

    private let state = Condition(State())
    private let blocks: Int

    /// `blocks`: 4,096 bytes of each.
    init(blocks: Int) { self.blocks = blocks }

    /// A buffer that is to be given back.
    func take() -> BlockBuffer {
        let free: [BlockBuffer] =
            state.wait { state in
                if let buffer = state.free.popLast() { return [buffer] }
                guard state.made < Limits.logReadBuffers else { return nil }
                state.made += 1
                return []
            } ?? []
        return free.first ?? BlockBuffer(blocks: blocks)
    }

    func give(_ buffer: BlockBuffer) {
        state.updateWakingOne { $0.free.append(buffer) }
    }
}
