import Devices
import Policy
import ReadCache
import Syscalls

/// Records on their way to one area of the device: page after page, in memory until it is drained.
struct LogStream {
    let kind: SealedPage.Kind
    let epoch: UInt64
    /// Where the area begins, and how many pages it has.
    let offset: UInt64
    let capacity: Int
    /// Pages taken, without the open one.
    private(set) var pages: Int
    private var open: BlockBuffer?
    private var used = 0
    /// Whether the open page has a record that is.
    private var isVital = false
    private var full: [(position: UInt64, page: BlockBuffer, length: Int)] = []

    init(_ kind: SealedPage.Kind, epoch: UInt64, offset: UInt64, capacity: Int, pages: Int = 0) {
        self.kind = kind
        self.epoch = epoch
        self.offset = offset
        self.capacity = capacity
        self.pages = pages
    }

    /// Answers false when the area is full.
    mutating func append(_ record: LogRecord) -> Bool {
        if open == nil || used + record.length > SealedPage.room {
            close()
            guard pages + 2 <= capacity else { return false }
            open = BlockBuffer(blocks: 1)
            used = 0
            isVital = false
        }
        isVital = isVital || record.isVital
        guard let open else { return false }
        var writer = ByteWriter(open.bytes, at: SealedPage.start + used)
        record.put(into: &writer)
        used += record.length
        return true
    }

    /// What is durable is never written again: later records go to another page. A vital page is
    /// there twice.
    private mutating func close() {
        guard let page = open else { return }
        for _ in 0..<(isVital ? 2 : 1) {
            full.append((offset + UInt64(pages) * 4096, page, used))
            pages += 1
        }
        open = nil
    }

    /// The pages that are to be written, in ascending order.
    mutating func take() -> [(position: UInt64, page: BlockBuffer, length: Int)] {
        close()
        defer { full = [] }
        return full
    }

    /// Pages that wait to be written.
    var waiting: Int { full.count }
}

extension LogStream {
    /// Reads an area from its first page on and tells every record; pages that are not valid or of
    /// another epoch are left out, and where 64 in a row are, it ends. Answers how many pages there
    /// are up to the last valid one. Throws what the device says.
    static func replay<Device: BlockDevice>(
        _ kind: SealedPage.Kind, epoch: UInt64, offset: UInt64, capacity: Int,
        from device: Device, key: PageKey,
        _ visit: (LogRecord) -> Void
    ) throws(Errno) -> Int {
        let batch = 64
        let buffer = BlockBuffer(blocks: batch)
        var last = 0
        for first in stride(from: 0, to: capacity, by: batch) {
            let count = min(batch, capacity - first)
            let start = offset + UInt64(first) * 4096
            try device.read(buffer.blocks(0, count), at: start)
            for page in 0..<count {
                let position = start + UInt64(page) * 4096
                let opened = SealedPage.open(
                    buffer.block(page), kind, position: position, key: key)
                guard let opened, opened.sequence == epoch else { continue }
                last = first + page + 1
                try? tell(opened.payload, visit)
            }
            if last + batch <= first + count { break }
        }
        return last
    }

    private static func tell(
        _ payload: UnsafeRawBufferPointer, _ visit: (LogRecord) -> Void
    ) throws(Errno) {
        var reader = ByteReader(payload)
        while !reader.isAtEnd { visit(try LogRecord(from: &reader)) }
    }
}
