import Passthrough
import Syscalls
import TestSupport
import Testing

@testable import DataPath

@Suite struct FillTableTests {
    @Test func whatSomebodyReadsIsNotClaimedTwice() throws {
        let fills = FillTable()
        let first = try #require(fills.begin(map: 1, block: 10, count: 10))
        #expect(first.count == 10)
        for block in [10, 15, 19] as [UInt64] {
            #expect(fills.begin(map: 1, block: block, count: 1) == nil)
        }
        // Another file, and what lies behind.
        let other = try #require(fills.begin(map: 2, block: 15, count: 1))
        let behind = try #require(fills.begin(map: 1, block: 20, count: 5))
        #expect(behind.count == 5)
        // What lies before is claimed up to where somebody reads already.
        let before = try #require(fills.begin(map: 1, block: 4, count: 100))
        #expect(before.count == 6)
        for id in [first.id, other.id, behind.id, before.id] { fills.end(id) }
        #expect(fills.begin(map: 1, block: 15, count: 100)?.count == 100)
    }

    @Test func waitersGoOnWhenTheReadEnds() throws {
        let fills = FillTable()
        let claim = try #require(fills.begin(map: 1, block: 10, count: 10))
        fills.wait(map: 1, block: 9)
        fills.wait(map: 1, block: 20)
        fills.wait(map: 2, block: 12)
        let isOver = Condition(false)
        let thread = try Thread(name: "waiter") {
            fills.wait(map: 1, block: 12)
            isOver.update { $0 = true }
        }
        sleep(milliseconds: 20)
        #expect(isOver.withLock { !$0 })
        fills.end(claim.id)
        thread.join()
        #expect(isOver.withLock { $0 })
    }
}

@Suite struct NameCacheTests {
    @Test func namesBelongToTheirFolder() {
        let names = NameCache()
        #expect(names.find(parent: .root, name: "a") == nil)
        names.insert(parent: .root, name: "a", node: NodeID(10))
        names.insert(parent: NodeID(2), name: "a", node: NodeID(20))
        #expect(names.find(parent: .root, name: "a") == NodeID(10))
        #expect(names.find(parent: NodeID(2), name: "a") == NodeID(20))
        #expect(names.find(parent: .root, name: "aa") == nil)
        names.insert(parent: .root, name: "a", node: NodeID(11))
        #expect(names.find(parent: .root, name: "a") == NodeID(11))
        names.remove(parent: .root, name: "a")
        #expect(names.find(parent: .root, name: "a") == nil)
        #expect(names.find(parent: NodeID(2), name: "a") == NodeID(20))
    }

    @Test func thereIsAnEndToWhatItKeeps() {
        let names = NameCache()
        let count = 140_000
        for number in 0..<count {
            names.insert(parent: NodeID(UInt64(number)), name: "n", node: NodeID(7))
        }
        var kept = 0
        for number in 0..<count where names.find(parent: NodeID(UInt64(number)), name: "n") != nil {
            kept += 1
        }
        #expect(kept <= 32 * 4096)
        #expect(kept > 0)
    }
}
