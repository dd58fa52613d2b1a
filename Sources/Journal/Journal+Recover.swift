import Devices
import Policy
import Syscalls

/// What a recovery found.
package struct RecoveryReport: Equatable, Sendable {
    /// Records that were told.
    package var records: UInt64 = 0
    /// Bytes read from the device.
    package var bytesRead: UInt64 = 0
    /// The number of this life of the log.
    package var life: UInt64 = 0
    /// Where the last frame that counts ends: what was written behind it was never answered for,
    /// or a power cut has taken it before it was durable.
    package var end: LogPosition = 0
    /// What had been durable and is not there any more.
    package var damage: [LogDamage] = []

    /// That of an empty log.
    package init() {}
}

extension Journal {
    /// To be called once, before anything is appended: tells every record that is not released, in
    /// order of position, with the handle of its file (empty when damage has taken it). Then it
    /// ends the last segment durably, so that nothing that a dead process may still write there
    /// counts, and begins a life behind it. Throws EINVAL the second time, what the device says,
    /// and EIO when it does not read where the log may go on: nothing has been written then.
    package func recover(
        _ visit: (JournalRecord, LogPosition, _ handle: [UInt8]) -> Void
    ) throws(Errno) -> RecoveryReport {
        let start = monitor.withLock { state -> (LogCheckpoint, Bool)? in
            guard state.phase == .closed else { return nil }
            state.phase = .recovering
            return (state.checkpoint, state.isCheckpointSure)
        }
        guard let (checkpoint, isSure) = start else { throw .invalid }
        var scan = LogScan(
            LogReader(device, geometry, seal), checkpoint, isSure: isSure)
        scan.run { entry, handle in visit(entry.record, entry.position, handle) }
        if let place = scan.reader.unreadable, place >= scan.end { throw .io }
        var report = RecoveryReport()
        report.records = scan.records
        report.bytesRead = scan.reader.bytesRead
        report.life = scan.life + 1
        report.end = scan.end
        report.damage = scan.damage
        let isNew = checkpoint.life == 0 && scan.records == 0
        let next = try isNew ? checkpoint.tail : endSegments(scan)
        try begin(at: next, checkpoint, scan)
        return report
    }

    /// Writes the end of the segment where the log ends, and of those before it that lost theirs:
    /// what an even earlier life left there would pass for theirs once a later life has begun.
    /// Answers where the next segment begins.
    private func endSegments(_ scan: LogScan<Device>) throws(Errno) -> LogPosition {
        // As their writers would have: what lies behind is no older than that.
        for segment in scan.unended { try end(segment, life: segment.life, scan) }
        let start = geometry.start(of: scan.last.number)
        let tail = geometry.segment(of: scan.tail)
        // The ring is full to the last segment: that was ended by an earlier recovery.
        guard scan.last.number < tail + geometry.segmentCount else { return start }
        try end(scan.last, life: scan.life + 1, scan)
        return start + geometry.segmentSize
    }

    private func end(
        _ segment: ScannedSegment, life: UInt64, _ scan: LogScan<Device>
    ) throws(Errno) {
        let start = geometry.start(of: segment.number)
        var builder = SummaryBuilder(room: geometry.summaryRoom)
        builder.begin(at: start)
        for entry in segment.contents.entries {
            guard builder.hasRoom else { throw .io }
            let file = entry.record.file
            if !builder.isNamed(file) {
                let handle = segment.contents.handles[file] ?? []
                builder.name(file, handle: handle.prefix(Limits.loggedHandle))
            }
            builder.add(entry.record, at: entry.position, payload: entry.payload)
        }
        let footer = SegmentFooter(
            start: start, end: segment.end, previous: segment.previous, life: life,
            frameLife: segment.life, durable: scan.durable, tail: scan.tail,
            length: builder.used, records: builder.records)
        guard write(footer, builder, isDurable: false) else { throw .io }
    }

    /// Makes what was found durable, and the new life.
    private func begin(
        at next: LogPosition, _ old: LogCheckpoint, _ scan: LogScan<Device>
    ) throws(Errno) {
        try device.flush()
        var checkpoint = old
        checkpoint.life = scan.life + 1
        checkpoint.lifeStart = next
        checkpoint.durable = next
        checkpoint.tail = scan.records == 0 ? next : scan.tail
        // Both blocks, and one number left out: a dead process may still write one of them.
        for step: UInt64 in [2, 3] {
            checkpoint.sequence = old.sequence + step
            try checkpoint.write(to: device, geometry, seal)
        }
        let state = monitor.state
        monitor.lock()
        defer { monitor.unlock() }
        state.pointee.checkpoint = checkpoint
        state.pointee.summaries = (0..<2).map { _ in
            SummaryBuilder(room: geometry.summaryRoom)
        }
        state.pointee.completed = next
        state.pointee.durable = next
        publish()
        state.pointee.previous = scan.end
        state.pointee.next = next
        state.pointee.phase = .open
        if canOpen(next, state.pointee) { openSegment(next, slot: 0, &state.pointee) }
    }
}
