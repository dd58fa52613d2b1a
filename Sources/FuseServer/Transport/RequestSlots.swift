import Glibc
import Policy
import Synchronization
import Syscalls

/// All request slots of a mount, in memory that the keeper holds: `SlotLayout.swift` shows its
/// form. Which slots are free is known to this process alone and comes from their states.
package final class RequestSlots: @unchecked Sendable {
    package let format: SlotFormat
    let memory: SharedMemory
    private let free: [Condition<FreeList>]
    /// Free slots whose pages are not mapped yet.
    private let rest = Mutex<[Slot]>([])

    /// Numbers of free slots, the last one freed on top: its memory is warm.
    private struct FreeList {
        var numbers: [Int] = []
    }

    /// Makes the memory of a mount's slots; the caller owns the descriptor (memfd_create(2)).
    package static func create(format: SlotFormat) throws(Errno) -> Int32 {
        let descriptor = try SharedMemory.create(name: "forebay-slots", size: format.size)
        do throws(Errno) {
            let memory = try SharedMemory(descriptor: descriptor, populated: false)
            try makeGuards(in: memory)
            let values: [(HeaderWord, UInt64)] = [
                (.version, SlotFormat.version), (.large, UInt64(format.large)),
                (.medium, UInt64(format.medium)), (.small, UInt64(format.small)),
                (.magic, SlotFormat.magic),
            ]
            for (word, value) in values {
                memory.base.storeBytes(of: value, toByteOffset: word.rawValue, as: UInt64.self)
            }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    /// Maps the slots of a mount. Every slot counts as taken until `release` is called for it.
    /// Throws EINVAL for memory that is not slots of this version.
    package init(descriptor: Int32, populated: Bool) throws(Errno) {
        memory = try SharedMemory(descriptor: descriptor, populated: populated)
        format = try Self.readFormat(memory)
        free = [SlotClass.large, .medium, .small].map { _ in Condition(FreeList()) }
    }

    private static func readFormat(_ memory: SharedMemory) throws(Errno) -> SlotFormat {
        guard memory.size >= SlotFormat.slotsOffset else { throw .invalid }
        func word(_ word: HeaderWord) -> UInt64 {
            memory.base.load(fromByteOffset: word.rawValue, as: UInt64.self)
        }
        guard word(.magic) == SlotFormat.magic, word(.version) == SlotFormat.version else {
            throw .invalid
        }
        let counts = [word(.large), word(.medium), word(.small)]
        guard counts.allSatisfy({ $0 <= UInt64(SlotFormat.mostSlots) }), counts[0] > 0 else {
            throw .invalid
        }
        let format = SlotFormat(
            large: Int(counts[0]), medium: Int(counts[1]), small: Int(counts[2]))
        guard format.size == memory.size else { throw .invalid }
        return format
    }

    /// Keeps the slots in memory (mlock(2)): the kernel's copy of a request must not fault.
    package func lock() throws(Errno) { try memory.lock() }

    /// Bytes of the pages that the slots have.
    package var takenBytes: Int { memory.takenBytes }

    /// The 512 words of counters that outlive a server; valid as long as this object.
    package var counters: UnsafeMutablePointer<UInt64> {
        (memory.base + SlotFormat.countersOffset).assumingMemoryBound(to: UInt64.self)
    }

    /// Adds to a counter; any thread may.
    @inline(__always)
    package func count(_ word: Int, _ amount: UInt64 = 1) {
        counter(word).pointee.wrappingAdd(amount, ordering: .relaxed)
    }

    /// The value of a counter.
    package func value(_ word: Int) -> UInt64 { counter(word).pointee.load(ordering: .relaxed) }

    func counter(_ word: Int) -> SharedWord {
        (memory.base + SlotFormat.countersOffset + word * 8)
            .assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    func header(_ word: HeaderWord) -> SharedWord {
        (memory.base + word.rawValue).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    var eventMemory: UnsafeMutableRawPointer { memory.base + SlotFormat.eventsOffset }
    var initRequest: UnsafeMutableRawPointer { memory.base + SlotFormat.initRequestOffset }
    var initReply: UnsafeMutableRawPointer { memory.base + SlotFormat.initReplyOffset }

    /// The server is alive; `time` is monotonic, in nanoseconds.
    package func beat(at time: UInt64) {
        header(.heartbeat).pointee.store(time, ordering: .releasing)
    }

    /// The last sign of life; 0 before the first.
    package var lastBeat: UInt64 {
        get { header(.heartbeat).pointee.load(ordering: .acquiring) }
        set { header(.heartbeat).pointee.store(newValue, ordering: .releasing) }
    }

    /// A server of this mount has answered requests.
    package var hasServed: Bool { header(.served).pointee.load(ordering: .acquiring) != 0 }

    func markServed() { header(.served).pointee.store(1, ordering: .releasing) }

    /// Some request has come and has not been answered.
    package var hasRequests: Bool {
        (0..<format.count).contains { slot($0).holdsRequest }
    }

    /// How many have come and have not been answered.
    package var requestsUnderWay: Int {
        (0..<format.count).count { slot($0).holdsRequest }
    }

    /// A slot by its number, which must be below `format.count`.
    package func slot(_ index: Int) -> Slot {
        let control = memory.base + format.offset(of: index)
        let size = format.slotClass(of: index)
        let offset =
            size == .small ? SlotFormat.smallRequestOffset : SlotFormat.pagedRequestOffset
        return Slot(
            index: index, control: control, request: control + offset, capacity: size.capacity)
    }

    // MARK: - Free slots

    private func list(_ size: SlotClass) -> Condition<FreeList> { free[size.rawValue] }

    /// A free slot of one size, nil when there is none.
    func take(_ size: SlotClass) -> Slot? {
        guard let index = list(size).withLock({ $0.numbers.popLast() }) else { return nil }
        return slot(index)
    }

    /// Waits for a free slot until the monotonic time `deadline`, nanoseconds.
    func take(_ size: SlotClass, until deadline: UInt64) -> Slot? {
        guard let index = list(size).wait(until: deadline, { $0.numbers.popLast() }) else {
            return nil
        }
        return slot(index)
    }

    /// How many slots of a size are free.
    func freeCount(_ size: SlotClass) -> Int { list(size).withLock { $0.numbers.count } }

    /// Makes these slots free at the start of a server. Those that requests are read into have
    /// their pages mapped before: the kernel ends a request with EIO when SIGKILL interrupts it
    /// while it copies to a page that is not there. For a few of them that is done here; the rest
    /// must not keep clients waiting and is left to `releaseRest`.
    func releaseFirst(_ slots: [Slot]) {
        var large: [Slot] = []
        for slot in slots {
            if format.slotClass(of: slot.index) == .large {
                large.append(slot)
            } else {
                release(slot)
            }
        }
        for slot in large.prefix(Limits.firstSlots) {
            populate(slot)
            release(slot)
        }
        for slot in large.dropFirst(Limits.firstSlots) { slot.enter(.free) }
        rest.withLock { $0 = Array(large.dropFirst(Limits.firstSlots)) }
    }

    /// Makes the others free.
    func releaseRest() {
        let slots = rest.withLock { slots in
            defer { slots = [] }
            return slots
        }
        for slot in slots {
            populate(slot)
            release(slot)
        }
    }

    /// Maps every page of a large slot, without a change to what is in it (madvise(2),
    /// MADV_POPULATE_WRITE; Linux before 5.14 does not have it).
    func populate(_ slot: Slot) {
        let populateForWriting: Int32 = 23
        if madvise(slot.control, SlotFormat.largeStride, populateForWriting) == 0 { return }
        for offset in stride(from: 0, to: SlotFormat.largeStride, by: 4096) {
            (slot.control + offset).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
                .bitwiseOr(0, ordering: .relaxed)
        }
    }

    /// The request of a slot is done: the slot is free for another one.
    func release(_ slot: Slot) {
        slot.enter(.free)
        list(format.slotClass(of: slot.index)).updateWakingOne { $0.numbers.append(slot.index) }
    }
}

// MARK: - What outlives a server

extension RequestSlots {
    /// Whether the cache is left out of the way, over every server of the mount.
    package var bypass: BypassMode {
        get { BypassMode(rawValue: header(.bypass).pointee.load(ordering: .acquiring)) ?? .off }
        set { header(.bypass).pointee.store(newValue.rawValue, ordering: .releasing) }
    }

    /// When the last server that handed over stopped reading requests, monotonic nanoseconds; 0
    /// when none did. A keeper clears it before it starts one.
    package var handedOverAt: UInt64 {
        get { header(.handedOverAt).pointee.load(ordering: .acquiring) }
        set { header(.handedOverAt).pointee.store(newValue, ordering: .releasing) }
    }

    /// Requests that a thread works on, and that a server died of by a trap already: for the
    /// keeper, once another one has died so.
    package var suspects: Int {
        var count = 0
        for index in 0..<format.count {
            let slot = slot(index)
            guard slot.state == .received, slot.load(.started) != 0 else { continue }
            if slot.load(.traps) > 0 { count += 1 }
        }
        return count
    }

    /// What was set since the mount, as text for `-o`; empty when nothing was.
    package var laterOptions: String {
        let length = header(.optionsLength).pointee.load(ordering: .acquiring)
        let bytes = UnsafeRawBufferPointer(
            start: memory.base + SlotFormat.optionsOffset,
            count: length <= UInt64(SlotFormat.optionsCapacity) ? Int(length) : 0)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Keeps what was set for the servers to come. Throws ENAMETOOLONG when it does not fit. A
    /// server that dies meanwhile leaves none rather than half.
    package func setLaterOptions(_ text: String) throws(Errno) {
        let bytes = Array(text.utf8)
        guard bytes.count <= SlotFormat.optionsCapacity else { throw .nameTooLong }
        header(.optionsLength).pointee.store(0, ordering: .releasing)
        (memory.base + SlotFormat.optionsOffset).copyMemory(from: bytes, byteCount: bytes.count)
        header(.optionsLength).pointee.store(UInt64(bytes.count), ordering: .releasing)
    }
}

// MARK: - The datastore's record

extension RequestSlots {
    /// What servers learnt of the datastore, for their successors: at most 432 bytes, more are not
    /// kept; empty before the first. One thread writes. The copy that does not count is written
    /// and counts from then on, so that a death in between leaves the older one.
    package var datastoreRecord: [UInt8] {
        get {
            let copy = recordCopy(header(.record).pointee.load(ordering: .acquiring))
            guard let copy else { return [] }
            let length = copy.load(as: UInt64.self)
            guard length <= UInt64(SlotFormat.recordCapacity) else { return [] }
            return Array(UnsafeRawBufferPointer(start: copy + 8, count: Int(length)))
        }
        set {
            let number = header(.record).pointee.load(ordering: .acquiring)
            let next: UInt64 = number == 1 ? 2 : 1
            guard newValue.count <= SlotFormat.recordCapacity, let copy = recordCopy(next) else {
                return
            }
            copy.storeBytes(of: UInt64(newValue.count), as: UInt64.self)
            (copy + 8).copyMemory(from: newValue, byteCount: newValue.count)
            header(.record).pointee.store(next, ordering: .releasing)
        }
    }

    private func recordCopy(_ number: UInt64) -> UnsafeMutableRawPointer? {
        guard number == 1 || number == 2 else { return nil }
        let stride = 8 + SlotFormat.recordCapacity
        return memory.base + SlotFormat.recordOffset + Int(number - 1) * stride
    }
}

// MARK: - INIT

extension RequestSlots {
    /// Bytes of the saved INIT request; 0 when none is or its length cannot be one.
    var initRequestLength: Int {
        get { savedLength(.initRequestLength) }
        set { header(.initRequestLength).pointee.store(UInt64(newValue), ordering: .releasing) }
    }

    /// Bytes of the saved reply to INIT, likewise.
    var initReplyLength: Int {
        get { savedLength(.initReplyLength) }
        set { header(.initReplyLength).pointee.store(UInt64(newValue), ordering: .releasing) }
    }

    private func savedLength(_ word: HeaderWord) -> Int {
        let length = header(word).pointee.load(ordering: .acquiring)
        return length <= UInt64(SlotFormat.initCapacity) ? Int(length) : 0
    }
}

// MARK: - Counters

extension RequestSlots {
    /// Requests from the kernel since the mount, by their names; those that never came are left
    /// out.
    package func requestCounts() -> [(name: String, count: UInt64)] {
        (0..<CounterWord.opcodeCount).compactMap { number in
            let count = value(CounterWord.opcodes + number)
            guard count > 0 else { return nil }
            let operation = OperationCode(UInt32(number))
            return (operation.name ?? "opcode_\(number)", count)
        }
    }
}
