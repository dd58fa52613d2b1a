import Devices
import FlashTier
import Glibc
import Synchronization
import Syscalls
import TestSupport

/// A datastore in memory with a flash tier before it, driven by one generator. Whatever the tier
/// returns is compared with the datastore.
final class FlashHarness {
    struct Place: Hashable {
        let file: UInt64
        let block: UInt64
    }

    static let fileCount: UInt64 = 4
    /// Blocks of each file: five groups of eight, each in a range of 1 MiB of its own.
    static let blocks = (0..<UInt64(40)).map { $0 / 8 * 300 + $0 % 8 }
    /// Contents that blocks have: few enough for copies, more than there are slots.
    static let contents: [[UInt8]] = (0..<120).map { number in
        number == 0
            ? [UInt8](repeating: 0, count: 4096) : Content.block(seed: 99, number: UInt64(number))
    }

    let device: SimulatedDevice
    private(set) var tier: FlashTier<SimulatedDevice>
    private let memory = BlockBuffer(blocks: 1)
    var generator: SplitMix64
    /// The datastore: which content a block has; and when each file was changed, in milliseconds.
    private(set) var truth: [Place: Int] = [:]
    private(set) var changes: [UInt64: UInt64] = [:]
    /// What the mount remembers of the device.
    private let remembered: Remembered
    /// Wrong bytes, as texts.
    private(set) var wrong: [String] = []
    /// Told of everything that survives a power cut.
    var onChange: ((Surroundings) -> Void)?
    private(set) var hits = 0
    private(set) var misses = 0

    final class Remembered: Sendable {
        let instance = Mutex<UInt64?>(nil)
    }

    /// Everything that survives a power cut but the device.
    struct Surroundings: Sendable {
        var truth: [Place: Int]
        var changes: [UInt64: UInt64]
        var instance: UInt64?
    }

    var surroundings: Surroundings {
        Surroundings(
            truth: truth, changes: changes, instance: remembered.instance.withLock { $0 })
    }

    /// Goes on with a device where another harness was; the tier is not loaded.
    init(_ device: SimulatedDevice, _ surroundings: Surroundings, seed: UInt64) throws {
        self.device = device
        generator = SplitMix64(seed: seed)
        remembered = Remembered()
        truth = surroundings.truth
        changes = surroundings.changes
        remembered.instance.withLock { $0 = surroundings.instance }
        tier = try Self.open(device, remembered)
    }

    init(_ device: SimulatedDevice, seed: UInt64) throws {
        self.device = device
        generator = SplitMix64(seed: seed)
        remembered = Remembered()
        for file in 1...Self.fileCount {
            for block in Self.blocks {
                truth[Place(file: file, block: block)] =
                    Int.random(in: 0..<Self.contents.count, using: &generator)
            }
        }
        tier = try Self.open(device, remembered)
    }

    private static func open(
        _ device: SimulatedDevice, _ remembered: Remembered
    ) throws -> FlashTier<SimulatedDevice> {
        let last = remembered.instance.withLock { $0 }
        let tier = try FlashTier(
            device,
            .init(owner: "test", lastInstance: last, writesPerDay: 0) { [device] instance in
                // After a power cut nothing is made durable any more.
                if device.withState({ $0.isCrashed }) { return }
                remembered.instance.withLock { $0 = instance }
            })
        remembered.instance.withLock { $0 = tier.instance }
        return tier
    }

    /// Opens the device again, as the next server does. Runs `meanwhile` before the load.
    func reopen(meanwhile: (FlashHarness) -> Void = { _ in }) throws {
        tier = try Self.open(device, remembered)
        onChange?(surroundings)
        compareSamples()
        meanwhile(self)
        try load()
    }

    /// Loads the tier, and tells it of all files what they look like now.
    func load() throws {
        try tier.load()
        compareSamples()
    }

    /// Closes the tier as a mount does.
    func close() {
        sampleWritten()
        tier.close()
    }

    func forgetInstance() { remembered.instance.withLock { $0 = nil } }

    func sample(_ file: UInt64) -> FileSample {
        let time = changes[file] ?? 0
        let (seconds, part) = (Int64(time / 1000), UInt32(time % 1000) * 1_000_000)
        return FileSample(
            size: 1, modifiedSeconds: seconds, modifiedNanoseconds: part, changedSeconds: seconds,
            changedNanoseconds: part)
    }

    /// Tells the tier what files look like that were written, as a mount does each second.
    func sampleWritten() {
        for file in tier.markedFiles() { tier.sample(file, sample(file)) }
    }

    // MARK: - What a mount does

    private func anyPlace() -> Place {
        Place(
            file: .random(in: 1...Self.fileCount, using: &generator),
            block: Self.blocks.randomElement(using: &generator) ?? 0)
    }

    /// Looks a block up and compares it with the datastore; true when the tier has it.
    func check(_ place: Place) -> Bool {
        guard tier.read(place.file, block: place.block, into: memory) else {
            misses += 1
            return false
        }
        hits += 1
        guard let number = truth[place] else {
            wrong.append("\(place) is found and was never stored")
            return true
        }
        let same = Self.contents[number].withUnsafeBytes {
            memcmp($0.baseAddress!, memory.bytes.baseAddress!, 4096) == 0
        }
        if !same {
            let seen = Self.contents.firstIndex { $0.elementsEqual(memory.bytes) }
            wrong.append("\(place) has content \(seen ?? -1), not \(number)")
        }
        return true
    }

    func offer(_ place: Place, isReused: Bool = true) {
        guard let number = truth[place],
            let ticket = tier.ticket(place.file, block: place.block)
        else { return }
        Self.contents[number].withUnsafeBytes { bytes in
            _ = tier.offer(
                place.file, block: place.block, ticket: ticket, bytes.baseAddress!,
                isReused: isReused, sample: sample(place.file))
        }
    }

    /// A write of some blocks; the datastore has it unless the power was cut before.
    func write() {
        let place = anyPlace()
        let count = UInt64.random(in: 1...3, using: &generator)
        let write = tier.beginWrite(place.file, firstBlock: place.block, count: count)
        defer { tier.endWrite(write) }
        if device.withState({ $0.isCrashed }) { return }
        change(place, count)
        if Bool.random(using: &generator) { offer(place) }
    }

    /// Changes the datastore alone.
    func change(_ place: Place, _ count: UInt64, after time: UInt64 = 1) {
        defer { onChange?(surroundings) }
        changes[place.file, default: 0] += time
        for block in place.block..<place.block + count {
            let place = Place(file: place.file, block: block)
            guard truth[place] != nil else { continue }
            truth[place] =
                Int.random(in: 0..<Self.contents.count, using: &generator)
        }
    }

    /// Another host changes a file while the mount is down.
    func foreignChange() -> UInt64 {
        let place = anyPlace()
        change(place, 10, after: 10_000)
        return place.file
    }

    /// Drops what does not match its sample, as a mount does after a restart.
    func compareSamples() {
        for file in 1...Self.fileCount {
            if tier.mayBelieve(file, sample(file)) == false { tier.dropFile(file) }
        }
    }

    func step() {
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<70:
            let place = anyPlace()
            if !check(place) { offer(place) }
        case 70..<88: write()
        case 88..<90: tier.dropFile(.random(in: 1...Self.fileCount, using: &generator))
        case 90..<94:
            let file = UInt64.random(in: 1...Self.fileCount, using: &generator)
            tier.sample(file, sample(file))
        case 94..<97:
            sampleWritten()
            tier.upkeep()
        default:
            sampleWritten()
            tier.clearMarksNow()
        }
    }

    /// Looks at every block of the datastore and at some that were never stored; answers how many
    /// were found.
    func checkAll() -> Int {
        let before = hits
        for file in 1...Self.fileCount + 1 {
            for block in Self.blocks {
                _ = check(Place(file: file, block: block))
                _ = check(Place(file: file, block: block + 16))
            }
        }
        return hits - before
    }
}
