import Passthrough
import Syscalls
import Testing

@Suite struct FileNotesTests {
    /// Memory for some notes, as another process would find it.
    private final class Memory {
        let bytes: UnsafeMutableRawBufferPointer
        init(_ count: Int) {
            bytes = .allocate(byteCount: count, alignment: 64)
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
        }
        deinit { bytes.deallocate() }
    }

    private func note(_ number: UInt64) -> FileNote {
        FileNote(
            node: NodeID(number + 2), map: UInt32(number + 1),
            sample: Sample(
                size: number << 40 | 1, modifiedSeconds: -5, modifiedNanoseconds: 999_999_999,
                changedSeconds: .max, changedNanoseconds: 7),
            changedSinceSample: number % 2 == 0, isUnsynced: number % 3 == 0,
            isOpen: number % 5 == 0, sizes: number...(number << 32 | number))
    }

    @Test func aSuccessorReadsWhatWasWritten() throws {
        let memory = Memory(72 * 100 + 50)
        let notes = FileNotes(memory: memory.bytes)
        #expect(notes.takeOver().isEmpty)
        var places: [FileNotePlace] = []
        while let place = notes.take() {
            place.write(note(UInt64(places.count)))
            places.append(place)
        }
        #expect(places.count == 100)
        notes.giveBack(places[50])
        let successor = FileNotes(memory: memory.bytes)
        let found = successor.takeOver()
        #expect(found.map(\.note) == (0..<100).filter { $0 != 50 }.map { note($0) })
        // One place is free.
        let place = try #require(successor.take())
        #expect(successor.take() == nil)
        place.write(note(77_777))
        #expect(FileNotes(memory: memory.bytes).takeOver().contains { $0.note == note(77_777) })
    }

    @Test func noPartOfANoteIsBelieved() throws {
        let memory = Memory(72)
        let place = try #require(FileNotes(memory: memory.bytes).take())
        place.write(note(3))
        for bit in 0..<(72 * 8) {
            memory.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(place.read() == nil)
            memory.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        #expect(place.read() == note(3))
        // Halves of two notes.
        let old = Array(memory.bytes)
        place.write(note(4))
        for word in 1..<9 {
            let new = Array(memory.bytes)
            for index in 0..<(word * 8) { memory.bytes[index] = old[index] }
            #expect(place.read() == nil)
            memory.bytes.copyBytes(from: new)
        }
        place.clear()
        #expect(place.read() == nil)
    }

    @Test func ofTwoNotesOfOneFileOrMapNoneIsBelieved() throws {
        let memory = Memory(72 * 4)
        let notes = FileNotes(memory: memory.bytes)
        for index in 0..<4 as Range<UInt64> {
            var note = note(index)
            if index == 1 { note.node = NodeID(2) }
            try #require(notes.take()).write(note)
        }
        #expect(FileNotes(memory: memory.bytes).takeOver().map(\.note) == [note(2), note(3)])
        #expect(FileNotes(memory: memory.bytes).takeOver().count == 2)
    }
}
