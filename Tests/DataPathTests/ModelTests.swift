import Glibc
import Passthrough
import Synchronization
import Syscalls
import TestSupport
import Testing

@testable import DataPath

/// Threads that read, write, cut, punch and drop at random, against a model of every byte.
@Suite struct ModelTests {
    /// Bytes of a region, which one thread at a time works on: no multiple of the block size, so
    /// that neighbours share blocks.
    private static let region = 50_000
    private static let regions = 20
    private static let fileSize = region * regions

    @Test(arguments: [nil, "log"]) func everyByteIsWhatWasWrittenLast(log: String?) throws {
        // About 250 frames for 1,000 blocks: evictions all the time.
        let fixture = try Fixture(
            ram: 1 << 20, attributeTimeout: 0.2, log: log, destageDelay: 0.1)
        var seeds = SplitMix64.announced()
        let seed = seeds.next()
        let files = try (0..<4).map { number in
            try ModelFile(fixture, "f\(number)", regions: Self.regions, region: Self.region)
        }
        let flag = Ending()
        // Readers whom nobody keeps apart from the writers: their fills must not leave old bytes.
        let readers = try (0..<2).map { number in
            try Thread(name: "disturber") {
                WaitMode.set(mayWait: true)
                var generator = SplitMix64(seed: seed &+ 1000 &+ UInt64(number))
                while !flag.isOver { disturb(fixture, files, &generator) }
            }
        }
        try concurrently(4) { number in
            WaitMode.set(mayWait: true)
            var generator = SplitMix64(seed: seed &+ UInt64(number))
            for _ in 0..<250 {
                let file = files[Int.random(in: 0..<files.count, using: &generator)]
                try file.step(fixture, &generator)
            }
        }
        flag.end()
        for reader in readers { reader.join() }
        if log != nil {
            #expect(try fixture.statistics().hitsDirty > 100)
            try fixture.datastore.flushAll(.root)
        }
        for file in files { try file.compareAll(fixture) }
        #expect(fixture.datastore.report().evictions > 100)
    }

    private func disturb(
        _ fixture: Fixture, _ files: [ModelFile], _ generator: inout SplitMix64
    ) {
        let file = files[Int.random(in: 0..<files.count, using: &generator)]
        let offset = Int.random(in: 0..<Self.fileSize, using: &generator)
        _ = try? fixture.read(file.node, offset, 70_000)
        if Int.random(in: 0..<50, using: &generator) == 0 {
            try? fixture.datastore.drop(file.node)
        }
    }
}

/// Raised when the work is done.
private final class Ending: Sendable {
    private let word = Atomic<Bool>(false)
    var isOver: Bool { word.load(ordering: .acquiring) }
    func end() { word.store(true, ordering: .releasing) }
}

/// One file and what it must hold: bytes by region, each under a lock of its own.
private final class ModelFile: Sendable {
    let node: NodeID
    private let name: String
    private let region: Int
    private let bytes: [Region]

    private final class Region: Sendable {
        let bytes: Mutex<[UInt8]>
        init(_ count: Int) { bytes = Mutex([UInt8](repeating: 0, count: count)) }
    }

    init(_ fixture: Fixture, _ name: String, regions: Int, region: Int) throws {
        node = try fixture.file(name, [UInt8](repeating: 0, count: regions * region))
        _ = try fixture.datastore.open(node, flags: O_RDWR, killSetID: false)
        self.name = name
        self.region = region
        bytes = (0..<regions).map { _ in Region(region) }
    }

    /// Does something in one region.
    func step(_ fixture: Fixture, _ generator: inout SplitMix64) throws {
        let number = Int.random(in: 0..<bytes.count, using: &generator)
        let start = number * region
        let offset = Int.random(in: 0..<region, using: &generator)
        let count = Int.random(in: 1...min(region - offset, 20_000), using: &generator)
        let kind = Int.random(in: 0..<10, using: &generator)
        let fresh = kind < 4 ? generator.bytes(count) : []
        try bytes[number].bytes.withLock { model in
            switch kind {
            case 0..<4:
                model.replaceSubrange(offset..<(offset + count), with: fresh)
                try fixture.write(node, start + offset, fresh)
            case 4:
                // Punches a hole, keeping the size.
                model.replaceSubrange(
                    offset..<(offset + count), with: repeatElement(0, count: count))
                try fixture.datastore.allocate(
                    node, mode: 3, offset: UInt64(start + offset), length: UInt64(count))
            case 5: return try cut(fixture, number, offset, &model)
            default: try compare(fixture, start + offset, Array(model[offset..<(offset + count)]))
            }
            // At once, too: a write that is acknowledged is seen.
            let from = max(0, offset - 5000)
            let to = min(region, offset + count + 5000)
            try compare(fixture, start + from, Array(model[from..<to]))
        }
    }

    /// Cuts the last region of the file and lets it grow again. Whoever holds another region
    /// never reads here, and the file never ends before it.
    private func cut(
        _ fixture: Fixture, _ number: Int, _ offset: Int, _ model: inout [UInt8]
    ) throws {
        guard number == bytes.count - 1 else { return }
        let start = number * region
        try fixture.truncate(node, start + offset)
        try compare(fixture, start, Array(model[..<offset]))
        model.replaceSubrange(offset..., with: repeatElement(0, count: region - offset))
        try fixture.truncate(node, start + region)
        try compare(fixture, start, model)
    }

    private func compare(_ fixture: Fixture, _ place: Int, _ expected: [UInt8]) throws {
        let found = try fixture.read(node, place, max(1, expected.count))
        let difference = Content.firstDifference(Array(found.prefix(expected.count)), expected)
        #expect(difference == nil, "\(name) from \(place) on")
    }

    /// Compares all of it, cached and on the datastore.
    func compareAll(_ fixture: Fixture) throws {
        var all: [UInt8] = []
        for region in bytes { all += region.bytes.withLock { $0 } }
        for _ in 0..<2 { try compare(fixture, 0, all) }
        let stored = try Files.read(fixture.backing(name))
        #expect(Content.firstDifference(stored, all) == nil)
    }
}
