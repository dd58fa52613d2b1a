import Devices
import Syscalls

/// Reads a log without changing it: recovery and check are made of this.
struct LogReader<Device: BlockDevice> {
    let device: Device
    let geometry: LogGeometry
    let seal: LogSeal
    private(set) var bytesRead: UInt64 = 0
    /// The last place that the device did not read.
    private(set) var unreadable: LogPosition?
    /// Memory for a summary, or for a frame and what follows it.
    private let window: BlockBuffer
    private var windowStart: LogPosition = 0
    private var windowCount = 0

    init(_ device: Device, _ geometry: LogGeometry, _ seal: LogSeal) {
        self.device = device
        self.geometry = geometry
        self.seal = seal
        window = BlockBuffer(blocks: geometry.frameSize / 4096)
    }

    /// The bytes at a position of the log, within a segment; nil when the device does not read
    /// them, or there are not so many. Reads ahead when they follow others.
    mutating func bytes(
        at position: LogPosition, _ count: Int, ahead: Bool = true
    ) -> UnsafeRawBufferPointer? {
        if let found = windowBytes(position, count) { return found }
        let unit = UInt64(geometry.unit)
        let start = position & ~(unit - 1)
        let left = geometry.segmentSize - start % geometry.segmentSize
        let least = (position - start + UInt64(count)).roundedUp(to: unit)
        guard least <= min(left, UInt64(window.bytes.count)) else { return nil }
        let most = ahead ? min(left, UInt64(window.bytes.count)) : least
        // What cannot be read together may be readable in part.
        for length in [Int(most), Int(least)] {
            let memory = UnsafeMutableRawBufferPointer(rebasing: window.bytes[..<length])
            windowCount = 0
            do throws(Errno) {
                try device.read(memory, at: geometry.offset(of: start))
            } catch {
                continue
            }
            bytesRead += UInt64(length)
            (windowStart, windowCount) = (start, length)
            return windowBytes(position, count)
        }
        unreadable = max(unreadable ?? 0, position)
        return nil
    }

    private func windowBytes(_ position: LogPosition, _ count: Int) -> UnsafeRawBufferPointer? {
        guard position >= windowStart, position - windowStart <= UInt64(windowCount),
            Int(position - windowStart) + count <= windowCount
        else { return nil }
        let front = Int(position - windowStart)
        return UnsafeRawBufferPointer(rebasing: window.bytes[front..<front + count])
    }

    /// The latest tail that any segment of the ring tells, wherever the ring stands.
    mutating func latestTail() -> LogPosition {
        var latest: LogPosition = 0
        for slot in 0..<geometry.segmentCount {
            let start = geometry.start(of: slot)
            for place in [start, start + geometry.segmentSize - UInt64(SegmentFooter.size)] {
                guard let bytes = bytes(at: place, FrameHeader.size, ahead: false) else { continue }
                // Frames and footers have their position at the same place.
                let position = bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
                let segment = geometry.segment(of: UInt64(littleEndian: position))
                guard segment % geometry.segmentCount == slot else { continue }
                latest = max(latest, footer(segment)?.tail ?? 0)
                let first = geometry.start(of: segment)
                latest = max(latest, frame(at: first, ahead: false)?.tail ?? 0)
            }
        }
        return latest
    }

    // MARK: - Parts of a segment

    /// The footer of a segment; nil when it has none that is valid.
    mutating func footer(_ segment: UInt64) -> SegmentFooter? {
        let start = geometry.start(of: segment)
        let place = start + geometry.segmentSize - UInt64(SegmentFooter.size)
        guard let bytes = bytes(at: place, SegmentFooter.size, ahead: false) else { return nil }
        return try? SegmentFooter(bytes, start: start, geometry, seal)
    }

    /// What a valid footer's summary tells; nil when it is damaged.
    mutating func summary(_ footer: SegmentFooter) -> SegmentContents? {
        let region = footer.region(unit: geometry.unit)
        let place = footer.start + geometry.segmentSize - UInt64(region)
        guard let bytes = bytes(at: place, region, ahead: false) else { return nil }
        let summary = UnsafeRawBufferPointer(rebasing: bytes[..<footer.length])
        guard footer.summary == seal.checksum(summary, at: footer.start, life: footer.life),
            let contents = try? SegmentContents(summary: summary, start: footer.start),
            contents.entries.count == Int(footer.records)
        else { return nil }
        return contents
    }

    /// The header of a frame; nil when there is none at this position.
    mutating func frame(at position: LogPosition, ahead: Bool = true) -> FrameHeader? {
        guard let bytes = bytes(at: position, FrameHeader.size, ahead: ahead) else { return nil }
        return try? FrameHeader(bytes, at: position, seal)
    }
}

/// A frame that was found.
struct FoundFrame {
    var header: FrameHeader
    var end: LogPosition
    /// Its records, in order, as far as their headers are whole.
    var entries: [LogEntry] = []
    var names: [(file: UInt64, handle: [UInt8])] = []
    /// Whether all records and their payloads are as they were written.
    var isWhole = true
}

extension LogReader {
    /// The frames of a segment by a life at least as late as `life`, whole or not. Behind a place
    /// without one it looks further for as far as one frame reaches, and up to `durable`.
    mutating func frames(
        of segment: UInt64, life: UInt64, durable: LogPosition
    ) -> [FoundFrame] {
        let start = geometry.start(of: segment)
        let last = start + geometry.segmentSize - UInt64(geometry.unit)
        var found: [FoundFrame] = []
        var (position, life, durable) = (start, life, durable)
        var limit = start + UInt64(geometry.frameSize)
        while position <= last && position < max(limit, durable) {
            guard let header = frame(at: position), header.life >= life,
                let frame = records(of: header)
            else {
                position += UInt64(geometry.unit)
                continue
            }
            life = header.life
            durable = max(durable, header.durable)
            found.append(frame)
            position = frame.end
            limit = position + UInt64(geometry.frameSize)
        }
        return found
    }

    private mutating func records(of header: FrameHeader) -> FoundFrame? {
        let length = UInt64(header.length)
        let room = length.roundedUp(to: UInt64(geometry.unit))
        let start = header.position
        guard header.length <= geometry.frameSize,
            start % geometry.segmentSize + room <= geometry.segmentSize
        else { return nil }
        var frame = FoundFrame(header: header, end: start + room)
        guard let bytes = bytes(at: start, header.length) else {
            frame.isWhole = false
            return frame
        }
        var place = FrameHeader.size
        for _ in 0..<header.records {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[place...])
            let position = start + UInt64(place)
            guard let record = try? RecordHeader(rest, at: position, seal),
                record.life == header.life & 0xffff_ffff,
                RecordHeader.room(payload: record.payload) <= rest.count
            else {
                frame.isWhole = false
                return frame
            }
            let payload = rest[RecordHeader.size..<RecordHeader.size + record.payload]
            let isWhole = record.matches(payload, at: position, seal)
            if !isWhole { frame.isWhole = false }
            if record.kind == nil {
                // A damaged handle could be that of another file.
                if isWhole { frame.names.append((record.record.file, Array(payload))) }
            } else {
                frame.entries.append(
                    LogEntry(record: record.record, position: position, payload: record.payload))
            }
            place += RecordHeader.room(payload: record.payload)
        }
        return frame
    }
}
