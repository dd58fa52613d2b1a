import Glibc
import Synchronization
import Syscalls

// Events on their way from the server, which may die the next moment, to the keeper, which hands
// them to the alert channels. Entries of 256 bytes in the shared memory:
//
//      0  ticket   number of the event plus one, stored last; anything else: not complete
//      8  length   bytes of text
//     16  text     `Event.line`, cut to 240 bytes
//
// A writer takes the next number by one addition. The reader skips what was overwritten before it
// came, and an entry whose writer died, once a later one is complete.
extension RequestSlots {
    private static let textOffset = 16
    static let eventCapacity = SlotFormat.eventSize - textOffset

    private func entry(_ number: UInt64) -> UnsafeMutableRawPointer {
        let index = Int(truncatingIfNeeded: number % UInt64(SlotFormat.eventCount))
        return eventMemory + index * SlotFormat.eventSize
    }

    private func ticket(_ entry: UnsafeMutableRawPointer) -> SharedWord {
        entry.assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Puts an event where the keeper finds it. Any thread may; never waits.
    package func raise(_ event: Event) {
        let number = header(.eventsRaised).pointee.wrappingAdd(1, ordering: .relaxed).oldValue
        let entry = entry(number)
        ticket(entry).pointee.store(0, ordering: .releasing)
        var count = 0
        for byte in event.line.utf8.prefix(Self.eventCapacity) {
            let isBreak = byte == 10 || byte == 0
            entry.storeBytes(
                of: isBreak ? 32 : byte, toByteOffset: Self.textOffset + count, as: UInt8.self)
            count += 1
        }
        entry.storeBytes(of: UInt64(count), toByteOffset: 8, as: UInt64.self)
        ticket(entry).pointee.store(number &+ 1, ordering: .releasing)
    }

    /// The oldest event that nobody has taken; nil when there is none. For the keeper alone.
    package func takeEvent() -> String? {
        let raised = header(.eventsRaised).pointee.load(ordering: .acquiring)
        let taken = header(.eventsTaken).pointee.load(ordering: .relaxed)
        let count = UInt64(SlotFormat.eventCount)
        var next = raised &- taken > count ? raised &- count : taken
        while next != raised {
            let entry = entry(next)
            next &+= 1
            guard ticket(entry).pointee.load(ordering: .acquiring) == next else { continue }
            let length = entry.load(fromByteOffset: 8, as: UInt64.self)
            let bytes = UnsafeRawBufferPointer(
                start: entry + Self.textOffset,
                count: Int(min(length, UInt64(Self.eventCapacity))))
            let text = String(decoding: bytes, as: UTF8.self)
            // Overwritten meanwhile: then it is one of those that were missed.
            guard ticket(entry).pointee.load(ordering: .acquiring) == next else { continue }
            header(.eventsTaken).pointee.store(next, ordering: .relaxed)
            return text
        }
        return nil
    }
}
