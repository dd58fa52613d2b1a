import Devices
import Glibc
import Policy
import Syscalls

extension Journal {
    /// Where a record goes.
    private struct Place {
        var slot: Int
        /// Offset within the frame.
        var offset: Int
        /// Bytes, with the name of its file where that comes first.
        var size: Int
        var isNamed: Bool
        var base: LogPosition
        var life: UInt64
        /// What waiters wait for.
        var end: LogPosition { base + UInt64(offset + size) }
    }

    /// Puts a record into the log and returns where it is. It survives the death of the process
    /// then, and a power cut too if `isDurable` or after a `flush`. `handle` is the file's, at most
    /// 132 bytes. Throws EIO once the log is poisoned, ENOSPC when it is full, EINVAL for what a
    /// record cannot hold and before `recover`.
    package func append(
        _ record: JournalRecord, handle: [UInt8], payload: UnsafeRawBufferPointer,
        isDurable: Bool
    ) throws(Errno) -> LogPosition {
        guard payload.count <= geometry.largestPayload, handle.count <= Limits.loggedHandle else {
            throw .invalid
        }
        let payloadRoom = RecordHeader.room(payload: payload.count)
        let nameRoom = RecordHeader.room(payload: handle.count)
        monitor.lock()
        defer { monitor.unlock() }
        let place = try reserve(
            record, handle, payload.count, payloadRoom, nameRoom, isDurable: isDurable)
        monitor.unlock()
        copy(record, handle, payload, to: place, nameRoom)
        monitor.lock()
        try complete(place, isDurable: isDurable)
        return place.end - UInt64(payloadRoom)
    }

    // MARK: - Reserving; the lock is held

    private func reserve(
        _ record: JournalRecord, _ handle: [UInt8], _ payload: Int, _ payloadRoom: Int,
        _ nameRoom: Int, isDurable: Bool
    ) throws(Errno) -> Place {
        let state = monitor.state
        while true {
            let slot = try slotToFill()
            let frame = state.pointee.open[slot]
            let isNamed = state.pointee.summaries[state.pointee.summary].isNamed(record.file)
            let size = payloadRoom + (isNamed ? 0 : nameRoom)
            if !frame.endsSegment {
                if !fitsSegment(frame, frame.used + size, state.pointee) {
                    state.pointee.open[slot].endsSegment = true
                } else if frame.used + size <= geometry.frameSize {
                    add(record, handle, payload, size, slot, isNamed: isNamed)
                    if isDurable { state.pointee.open[slot].isDurable = true }
                    return Place(
                        slot: slot, offset: frame.used, size: size, isNamed: isNamed,
                        base: frame.base, life: state.pointee.checkpoint.life)
                }
            }
            // A frame with records has somebody who writes it; an empty one has not.
            if state.pointee.open[slot].records == 0 && !state.pointee.isCommitting {
                commit(slot)
            } else {
                monitor.wait(Wait.space)
            }
        }
    }

    /// The frame that takes records now.
    private func slotToFill() throws(Errno) -> Int {
        let state = monitor.state
        guard state.pointee.phase == .open else { throw .invalid }
        guard !state.pointee.isPoisoned else { throw .io }
        guard let slot = state.pointee.filling else { throw .noSpace }
        return slot
    }

    private func add(
        _ record: JournalRecord, _ handle: [UInt8], _ payload: Int, _ size: Int, _ slot: Int,
        isNamed: Bool
    ) {
        let state = monitor.state
        let index = state.pointee.summary
        let frame = state.pointee.open[slot]
        let end = frame.base + UInt64(frame.used + size)
        if !isNamed { state.pointee.summaries[index].name(record.file, handle: handle) }
        state.pointee.summaries[index].add(
            record, at: end - UInt64(RecordHeader.room(payload: payload)), payload: payload)
        state.pointee.open[slot].used += size
        state.pointee.open[slot].records += isNamed ? 1 : 2
        state.pointee.open[slot].copying += 1
    }

    // MARK: - Copying; the lock is not held

    private func copy(
        _ record: JournalRecord, _ handle: [UInt8], _ payload: UnsafeRawBufferPointer,
        to place: Place, _ nameRoom: Int
    ) {
        var offset = place.offset
        if !place.isNamed {
            handle.withUnsafeBytes { bytes in
                let name = JournalRecord(.data, file: record.file)
                let header = RecordHeader(
                    kind: nil, record: name, payload: bytes.count, life: place.life)
                put(header, bytes, at: offset, place)
            }
            offset += nameRoom
        }
        let header = RecordHeader(
            kind: record.kind, record: record, payload: payload.count, life: place.life)
        put(header, payload, at: offset, place)
    }

    private func put(
        _ header: RecordHeader, _ payload: UnsafeRawBufferPointer, at offset: Int, _ place: Place
    ) {
        let room = RecordHeader.room(payload: payload.count)
        let target = UnsafeMutableRawBufferPointer(
            rebasing: frames[place.slot].bytes[offset..<offset + room])
        let body = UnsafeMutableRawBufferPointer(rebasing: target[RecordHeader.size...])
        body.copyMemory(from: payload)
        if let end = body.baseAddress { memset(end + payload.count, 0, body.count - payload.count) }
        let position = place.base + UInt64(offset)
        var header = header
        header.payloadChecksum = seal.checksum(
            UnsafeRawBufferPointer(body)[..<payload.count], at: position, life: place.life)
        header.encode(into: target, at: position, seal)
    }

    // MARK: - Waiting; the lock is held

    /// Returns once the record is on the device, durably if that was asked for. Whoever finds
    /// nobody at work writes the frame of all who wait.
    private func complete(_ place: Place, isDurable: Bool) throws(Errno) {
        let state = monitor.state
        state.pointee.open[place.slot].copying -= 1
        if state.pointee.open[place.slot].copying == 0 { monitor.wakeOne(Wait.copied) }
        while state.pointee.completed < place.end {
            guard !state.pointee.isPoisoned else { throw .io }
            if !state.pointee.isCommitting, state.pointee.filling == place.slot {
                commit(place.slot)
            } else {
                monitor.wait(place.slot)
            }
        }
        if isDurable {
            try flush(upTo: place.end)
        } else if state.pointee.completed - state.pointee.durable > Limits.unflushedLog,
            !state.pointee.isFlushing
        {
            try flush(upTo: place.end)
        }
    }
}
