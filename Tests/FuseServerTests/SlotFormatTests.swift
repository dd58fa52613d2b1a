import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

@testable import FuseServer

@Suite struct SlotFormatTests {
    private static let small = SlotFormat(large: 2, medium: 1, small: 3)

    /// The header as version 2 wrote it: another server must find it so for ever.
    private static let golden: [(offset: Int, value: UInt64)] = [
        (0, 0x3153_544f_4c53_4246), (8, 2), (16, 2), (24, 1), (32, 3), (64, 0), (72, 0), (80, 0),
        (88, 0), (96, 0), (104, 0), (112, 0), (120, 0),
        (128, 0),
    ]

    private func withMemory(_ body: (Int32, SharedMemory) throws -> Void) throws {
        let descriptor = try RequestSlots.create(format: Self.small)
        defer { close(descriptor) }
        try body(descriptor, try SharedMemory(descriptor: descriptor, populated: false))
    }

    @Test func headerIsTheGoldenOne() throws {
        try withMemory { _, memory in
            for word in Self.golden {
                let value = memory.base.load(fromByteOffset: word.offset, as: UInt64.self)
                #expect(value == word.value, "offset \(word.offset)")
            }
            #expect(memory.size == 32768 + 2 * 1_056_768 + 73_728 + 3 * 2688)
        }
    }

    @Test func placesOfSlotsAreTheGoldenOnes() {
        let offsets = (0..<6).map { Self.small.offset(of: $0) }
        let medium = 32768 + 2 * 1_056_768
        let first = medium + 73_728
        #expect(offsets == [32768, 1_089_536, medium, first, first + 2688, first + 5376])
        #expect(SlotState.received.rawValue == 2)
        #expect(SlotState.applied.rawValue == 3)
    }

    @Test func recordsAreKeptWhole() throws {
        try withMemory { descriptor, memory in
            let slots = try RequestSlots(descriptor: descriptor, populated: false)
            #expect(slots.datastoreRecord == [])
            for count in [1, 432, 7, 0, 300] {
                let record = (0..<count).map { UInt8(truncatingIfNeeded: $0 + count) }
                slots.datastoreRecord = record
                #expect(slots.datastoreRecord == record)
                let other = try RequestSlots(descriptor: descriptor, populated: false)
                #expect(other.datastoreRecord == record)
            }
            // What does not fit is not kept, and what says that it is longer is none.
            let kept = slots.datastoreRecord
            slots.datastoreRecord = [UInt8](repeating: 1, count: 433)
            #expect(slots.datastoreRecord == kept)
            for copy in [136, 576] {
                memory.base.storeBytes(of: 433, toByteOffset: copy, as: UInt64.self)
            }
            #expect(slots.datastoreRecord == [])
            // The options behind it are untouched.
            #expect(memory.base.load(fromByteOffset: 1016, as: UInt64.self) == 0)
            memory.base.storeBytes(of: 3, toByteOffset: 128, as: UInt64.self)
            #expect(slots.datastoreRecord == [])
        }
    }

    /// Every flipped bit of what describes the format is refused; none traps.
    @Test func flippedBitsAreRefused() throws {
        try withMemory { descriptor, memory in
            for bit in 0..<(40 * 8) {
                let byte = memory.base + bit / 8
                let before = byte.load(as: UInt8.self)
                byte.storeBytes(of: before ^ (1 << UInt8(bit % 8)), as: UInt8.self)
                let opened = try? RequestSlots(descriptor: descriptor, populated: false)
                #expect(opened == nil, "bit \(bit)")
                byte.storeBytes(of: before, as: UInt8.self)
            }
            #expect(throws: Never.self) {
                try RequestSlots(descriptor: descriptor, populated: false)
            }
        }
    }

    @Test func truncatedMemoryIsRefused() throws {
        for size in [0, 1, 4096, 32767, 32768, Self.small.size - 1] {
            let descriptor = try RequestSlots.create(format: Self.small)
            defer { close(descriptor) }
            #expect(ftruncate(descriptor, size) == 0)
            #expect(throws: Errno.self) {
                try RequestSlots(descriptor: descriptor, populated: false)
            }
        }
    }

    @Test func standardFormatIsWithinItsBounds() {
        let format = SlotFormat.standard
        #expect(format.large > Limits.readerThreads)
        #expect(format.small >= 4096)
        #expect(format.size < 128 << 20)
    }

    /// Two servers have the same pages: what one stores the other sees.
    @Test func anotherMappingSeesTheSameSlots() throws {
        try withMemory { descriptor, _ in
            let first = try RequestSlots(descriptor: descriptor, populated: false)
            let second = try RequestSlots(descriptor: descriptor, populated: false)
            let slot = first.slot(4)
            slot.beginReading()
            #expect(second.slot(4).state == .reading)
            let request = FakeKernel.request(10, unique: 77)
            memcpy(slot.request, request, request.count)
            slot.received(length: request.count)
            #expect(second.slot(4).state == .received)
            #expect(second.slot(4).unique == 77)
            #expect(second.hasRequests)
            #expect(slot.claimAnswer())
            #expect(!second.slot(4).claimAnswer())
            var bytes: [UInt8] = [1, 2, 3]
            #expect(bytes.withUnsafeBytes { slot.savePreimage($0) })
            #expect(Array(second.slot(4).preimage) == [1, 2, 3])
            bytes = Array(repeating: 9, count: 1025)
            #expect(!bytes.withUnsafeBytes { slot.savePreimage($0) })
            #expect(Array(second.slot(4).preimage) == [1, 2, 3])
            first.count(CounterWord.dropped, 5)
            #expect(second.value(CounterWord.dropped) == 5)
        }
    }

    @Test func freeSlotsComeBack() throws {
        try withMemory { descriptor, _ in
            let slots = try RequestSlots(descriptor: descriptor, populated: false)
            #expect(slots.take(.large) == nil)
            for index in 0..<6 { slots.release(slots.slot(index)) }
            let taken = [slots.take(.large), slots.take(.large), slots.take(.large)]
            #expect(taken.map { $0?.index } == [1, 0, nil])
            #expect(slots.take(.medium)?.index == 2)
            #expect(slots.freeCount(.small) == 3)
        }
    }
}
