import Devices
import Glibc
import Policy
import Synchronization
import Syscalls

/// Writing frames. One is under way at a time, so that all before a complete one are complete, and
/// what a dying process leaves behind is one write at most. The lock is held by the caller of
/// everything here, and given up while the device works.
extension Journal {
    /// Writes the frame that is being filled, and the end of its segment if that is full. The next
    /// frame is filled meanwhile.
    func commit(_ slot: Int) {
        let state = monitor.state
        state.pointee.isCommitting = true
        let summary = state.pointee.summary
        turn(from: slot)
        while state.pointee.open[slot].copying > 0 { monitor.wait(Wait.copied) }
        let frame = state.pointee.open[slot]
        if frame.records > 0 { writeFrame(frame, slot) }
        if frame.endsSegment && !state.pointee.isPoisoned { endSegment(of: frame, summary) }
        state.pointee.isCommitting = false
        reopen()
        if state.pointee.isPoisoned {
            for condition in 0..<Wait.count { monitor.wakeAll(condition) }
        } else if let next = state.pointee.filling {
            // One of those who wait in the next frame writes it; when nobody does, those who wait
            // for room may have to end its segment.
            if state.pointee.open[next].records > 0 {
                monitor.wakeOne(next)
            } else {
                monitor.wakeAll(Wait.space)
            }
        }
    }

    /// From now on the other memory is filled, behind this frame or in the next segment.
    private func turn(from slot: Int) {
        let state = monitor.state
        let frame = state.pointee.open[slot]
        if frame.endsSegment {
            let next = geometry.start(of: geometry.segment(of: frame.base) + 1)
            if canOpen(next, state.pointee) {
                openSegment(next, slot: 1 - slot, &state.pointee)
            } else {
                state.pointee.filling = nil
                state.pointee.next = next
            }
        } else {
            let length = frame.used.roundedUp(to: geometry.unit)
            state.pointee.open[1 - slot] = FillingFrame(base: frame.base + UInt64(length))
            state.pointee.filling = 1 - slot
        }
        monitor.wakeAll(Wait.space)
    }

    private func writeFrame(_ frame: FillingFrame, _ slot: Int) {
        let state = monitor.state
        let end = frame.base + UInt64(frame.used.roundedUp(to: geometry.unit))
        let header = FrameHeader(
            position: frame.base, life: state.pointee.checkpoint.life,
            durable: state.pointee.durable, tail: state.pointee.checkpoint.tail,
            previous: state.pointee.previous, length: frame.used, records: frame.records)
        if frame.base % geometry.segmentSize == 0 {
            state.pointee.beforeSegment = state.pointee.previous
        }
        let isDurable = frame.isDurable && state.pointee.durable >= frame.base
        monitor.unlock()
        let length = frame.used.roundedUp(to: geometry.unit)
        let bytes = UnsafeMutableRawBufferPointer(rebasing: frames[slot].bytes[..<length])
        if let start = bytes.baseAddress { memset(start + frame.used, 0, length - frame.used) }
        header.encode(into: bytes, seal)
        let isWritten = write(UnsafeRawBufferPointer(bytes), at: frame.base, isDurable: isDurable)
        monitor.lock()
        if isWritten {
            state.pointee.previous = end
            complete(end, isDurable: isDurable)
        } else {
            state.pointee.isPoisoned = true
        }
        monitor.wakeAll(slot)
    }

    /// Writes summary and footer of a segment whose last frame this was.
    private func endSegment(of frame: FillingFrame, _ summary: Int) {
        let state = monitor.state
        let start = geometry.start(of: geometry.segment(of: frame.base))
        let next = start + geometry.segmentSize
        let builder = state.pointee.summaries[summary]
        let footer = SegmentFooter(
            start: start, end: max(state.pointee.previous, start),
            previous: state.pointee.beforeSegment,
            life: state.pointee.checkpoint.life, frameLife: state.pointee.checkpoint.life,
            durable: state.pointee.durable, tail: state.pointee.checkpoint.tail,
            length: builder.used, records: builder.records)
        let isDurable = state.pointee.durable >= state.pointee.completed
        monitor.unlock()
        let isWritten = write(footer, builder, isDurable: isDurable)
        monitor.lock()
        if isWritten {
            complete(next, isDurable: isDurable)
        } else {
            state.pointee.isPoisoned = true
        }
    }

    /// Everything before `end` is on the device.
    private func complete(_ end: LogPosition, isDurable: Bool) {
        let state = monitor.state
        state.pointee.completed = end
        if isDurable || !device.hasVolatileCache {
            state.pointee.durable = max(state.pointee.durable, end)
        }
        publish()
    }

    /// Tells those who take no lock how far the log is. The lock is held, so that it never goes
    /// back.
    func publish() {
        let state = monitor.state
        completedMark.store(state.pointee.completed, ordering: .releasing)
        durableMark.store(state.pointee.durable, ordering: .releasing)
    }

    /// Writes the end of a segment; false when the device fails. The lock is not held.
    func write(_ footer: SegmentFooter, _ builder: SummaryBuilder, isDurable: Bool) -> Bool {
        let region = builder.region(unit: geometry.unit) { summary, place in
            footer.encode(into: place, summary: summary, seal)
        }
        let position = footer.start + geometry.segmentSize - UInt64(region.count)
        return write(region, at: position, isDurable: isDurable)
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer, at position: LogPosition, isDurable: Bool
    ) -> Bool {
        let offset = geometry.offset(of: position)
        do throws(Errno) {
            if isDurable && device.hasVolatileCache {
                try device.writeDurably(bytes, at: offset)
            } else {
                try device.write(bytes, at: offset)
            }
            return true
        } catch {
            return false
        }
    }

    // MARK: - Flushing

    /// Makes all durable that an `append` has returned for. Throws EIO when the device fails, or
    /// has failed before.
    package func flush() throws(Errno) {
        monitor.lock()
        defer { monitor.unlock() }
        try flush(upTo: monitor.state.pointee.completed)
    }

    /// One flush serves all who wait; those who come while it is under way wait for the next one.
    func flush(upTo end: LogPosition) throws(Errno) {
        let state = monitor.state
        while state.pointee.durable < end {
            guard !state.pointee.isPoisoned else { throw .io }
            if state.pointee.isFlushing {
                monitor.wait(Wait.flush)
                continue
            }
            state.pointee.isFlushing = true
            let covered = state.pointee.completed
            monitor.unlock()
            var isFlushed = true
            do throws(Errno) { try device.flush() } catch { isFlushed = false }
            monitor.lock()
            state.pointee.isFlushing = false
            if isFlushed {
                state.pointee.durable = max(state.pointee.durable, covered)
                publish()
            } else {
                state.pointee.isPoisoned = true
                for condition in 0..<Wait.count { monitor.wakeAll(condition) }
            }
            monitor.wakeAll(Wait.flush)
        }
    }

    // MARK: - Releasing

    /// Gives up everything before a position; returns once that is durable, and the space is free
    /// then. Throws what the device says.
    package func release(upTo position: LogPosition) throws(Errno) {
        monitor.lock()
        defer { monitor.unlock() }
        let state = monitor.state
        guard state.pointee.phase == .open else { throw .invalid }
        while state.pointee.isCheckpointing { monitor.wait(Wait.checkpoint) }
        let tail = min(position, state.pointee.head)
        guard tail > state.pointee.checkpoint.tail else { return }
        state.pointee.isCheckpointing = true
        var checkpoint = state.pointee.checkpoint
        checkpoint.sequence += 1
        checkpoint.tail = tail
        checkpoint.durable = state.pointee.durable
        monitor.unlock()
        var failure: Errno?
        do throws(Errno) {
            try checkpoint.write(to: device, geometry, seal)
        } catch {
            failure = error
        }
        monitor.lock()
        state.pointee.isCheckpointing = false
        monitor.wakeAll(Wait.checkpoint)
        if let failure {
            // The same block is tried again: the other one is whole.
            state.pointee.isPoisoned = true
            for condition in 0..<Wait.count { monitor.wakeAll(condition) }
            throw failure
        }
        state.pointee.checkpoint = checkpoint
        reopen()
    }

    /// Goes on in the next segment after the log was full.
    private func reopen() {
        let state = monitor.state
        guard state.pointee.filling == nil, !state.pointee.isCommitting,
            canOpen(state.pointee.next, state.pointee)
        else { return }
        openSegment(state.pointee.next, slot: 0, &state.pointee)
    }
}
