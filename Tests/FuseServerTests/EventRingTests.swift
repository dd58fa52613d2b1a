import Glibc
import Synchronization
import Syscalls
import Testing

@testable import FuseServer

@Suite struct EventRingTests {
    private func withSlots(_ body: (RequestSlots) throws -> Void) throws {
        let format = SlotFormat(large: 1, medium: 0, small: 1)
        let descriptor = try RequestSlots.create(format: format)
        defer { close(descriptor) }
        try body(try RequestSlots(descriptor: descriptor, populated: false))
    }

    @Test func eventsComeOutInOrderAndOnce() throws {
        try withSlots { slots in
            #expect(slots.takeEvent() == nil)
            slots.raise(Event(.datastore, .problem, "the datastore is away"))
            slots.raise(Event(.datastore, .recovered, "it is back"))
            let first = slots.takeEvent().flatMap(Event.init(line:))
            #expect(first == Event(.datastore, .problem, "the datastore is away"))
            #expect(slots.takeEvent() == "datastore recovered it is back")
            #expect(slots.takeEvent() == nil)
        }
    }

    @Test func longOnesAreCutAndLineFeedsAreSpaces() throws {
        try withSlots { slots in
            slots.raise(Event(.server, .problem, "a\nb" + String(repeating: "x", count: 400)))
            let line = try #require(slots.takeEvent())
            #expect(line.utf8.count == RequestSlots.eventCapacity)
            #expect(line.hasPrefix("server problem a bx"))
        }
    }

    @Test func theNewestStayWhenNobodyTakesThem() throws {
        try withSlots { slots in
            for number in 0..<200 { slots.raise(Event(.server, .notice, "\(number)")) }
            #expect(slots.takeEvent() == "server notice 136")
            var last: String?
            while let line = slots.takeEvent() { last = line }
            #expect(last == "server notice 199")
        }
    }

    @Test func anEntryWhoseWriterDiedIsPassedOver() throws {
        try withSlots { slots in
            slots.header(.eventsRaised).pointee.store(1, ordering: .relaxed)
            #expect(slots.takeEvent() == nil)
            slots.raise(Event(.server, .notice, "later"))
            #expect(slots.takeEvent() == "server notice later")
        }
    }

    @Test func laterOptionsAreKept() throws {
        try withSlots { slots in
            #expect(slots.laterOptions.isEmpty)
            try slots.setLaterOptions("ram=2G,attr_timeout=5")
            #expect(slots.laterOptions == "ram=2G,attr_timeout=5")
            let tooLong = String(repeating: "x", count: 4000)
            #expect(throws: Errno.self) { try slots.setLaterOptions(tooLong) }
            #expect(slots.laterOptions == "ram=2G,attr_timeout=5")
        }
    }
}
