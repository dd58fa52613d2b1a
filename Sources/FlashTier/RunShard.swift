import Glibc

/// A part of the block map: runs of 16 neighbouring blocks of a file, in the order of their keys,
/// each with the addresses of those blocks that are known and nothing for the others. One piece of
/// memory: keys (8 bytes), addresses (4), masks (2).
struct RunShard {
    private var base: UnsafeMutableRawPointer?
    private var runRoom: UInt32 = 0
    private var addressRoom: UInt32 = 0
    private(set) var runCount = 0
    private(set) var addressCount = 0
    /// Blocks of zeros among them.
    private var zeroCount = 0

    static let runBlocks: UInt64 = 16

    init() {}

    mutating func destroy() {
        free(base)
        self = RunShard()
    }

    /// Addresses that name a slot.
    var storedCount: Int { addressCount - zeroCount }

    /// Bytes of memory.
    var bytes: Int { Self.bytes(Int(runRoom), Int(addressRoom)) }

    private static func bytes(_ runs: Int, _ addresses: Int) -> Int { runs * 10 + addresses * 4 }

    private var keys: UnsafeMutablePointer<UInt64> { pointer(at: 0) }
    private var addresses: UnsafeMutablePointer<UInt32> { pointer(at: Int(runRoom) * 8) }
    private var masks: UnsafeMutablePointer<UInt16> {
        pointer(at: Int(runRoom) * 8 + Int(addressRoom) * 4)
    }

    private func pointer<Element>(at offset: Int) -> UnsafeMutablePointer<Element> {
        precondition(base != nil, "a shard without memory has no runs")
        return (base! + offset).assumingMemoryBound(to: Element.self)
    }

    // MARK: - Finding

    /// The first run whose key is not below `key`.
    private func place(of key: UInt64) -> Int {
        var (low, high) = (0, runCount)
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Where the addresses of a run begin: behind those of all runs before.
    private func start(of run: Int) -> Int {
        guard run > 0 else { return 0 }
        let masks = masks
        var count = 0
        for index in 0..<run { count &+= masks[index].nonzeroBitCount }
        return count
    }

    private func rank(_ mask: UInt16, below bit: UInt64) -> Int {
        (mask & ((1 << bit) &- 1)).nonzeroBitCount
    }

    /// The address of one block of a run.
    func find(_ key: UInt64, bit: UInt64) -> FlashAddress? {
        guard runCount > 0 else { return nil }
        let run = place(of: key)
        guard run < runCount, keys[run] == key, masks[run] & 1 << bit != 0 else { return nil }
        return FlashAddress(
            rawValue: addresses[start(of: run) + rank(masks[run], below: bit)])
    }

    /// The addresses of blocks of a run from `bit` on, up to the first that is not known or the
    /// end of the room; answers how many.
    func find(
        _ key: UInt64, from bit: UInt64, into room: UnsafeMutableBufferPointer<FlashAddress>
    ) -> Int {
        guard runCount > 0 else { return 0 }
        let run = place(of: key)
        guard run < runCount, keys[run] == key else { return 0 }
        let known = (~(masks[run] >> bit)).trailingZeroBitCount
        let count = min(known, Int(Self.runBlocks - bit), room.count)
        guard count > 0 else { return 0 }
        let first = start(of: run) + rank(masks[run], below: bit)
        for index in 0..<count {
            room[index] = FlashAddress(rawValue: addresses[first + index])
        }
        return count
    }

    /// The known blocks of a run.
    func mask(_ key: UInt64) -> UInt16 {
        guard runCount > 0 else { return 0 }
        let run = place(of: key)
        return run < runCount && keys[run] == key ? masks[run] : 0
    }

    // MARK: - Changing

    /// Enters a block. Answers false when there is no memory.
    mutating func set(_ key: UInt64, bit: UInt64, _ address: FlashAddress) -> Bool {
        let isFull = runCount == Int(runRoom) || addressCount == Int(addressRoom)
        if isFull, !grow() { return false }
        let run = place(of: key)
        if run == runCount || keys[run] != key {
            let tail = runCount - run
            memmove(keys + run + 1, keys + run, tail * 8)
            memmove(masks + run + 1, masks + run, tail * 2)
            keys[run] = key
            masks[run] = 0
            runCount += 1
        }
        let index = start(of: run) + rank(masks[run], below: bit)
        if masks[run] & 1 << bit == 0 {
            memmove(addresses + index + 1, addresses + index, (addressCount - index) * 4)
            masks[run] |= 1 << bit
            addressCount += 1
        } else if addresses[index] == FlashAddress.zero.rawValue {
            zeroCount -= 1
        }
        addresses[index] = address.rawValue
        if address.isZero { zeroCount += 1 }
        return true
    }

    /// Forgets some blocks of a run.
    mutating func clear(_ key: UInt64, _ bits: UInt16) {
        guard runCount > 0 else { return }
        let run = place(of: key)
        guard run < runCount, keys[run] == key, masks[run] & bits != 0 else { return }
        let first = start(of: run)
        var (from, to) = (first, first)
        for bit in 0..<RunShard.runBlocks where masks[run] & 1 << bit != 0 {
            if bits & 1 << bit == 0 {
                addresses[to] = addresses[from]
                to += 1
            } else if addresses[from] == FlashAddress.zero.rawValue {
                zeroCount -= 1
            }
            from += 1
        }
        memmove(addresses + to, addresses + from, (addressCount - from) * 4)
        addressCount -= from - to
        masks[run] &= ~bits
        guard masks[run] == 0 else { return }
        let tail = runCount - run - 1
        memmove(keys + run, keys + run + 1, tail * 8)
        memmove(masks + run, masks + run + 1, tail * 2)
        runCount -= 1
    }

    /// Keeps what is wanted, in one pass.
    mutating func purge(_ isWanted: (UInt64, FlashAddress) -> Bool) {
        guard runCount > 0 else { return }
        let (keys, addresses, masks) = (keys, addresses, masks)
        var (toRun, from, to) = (0, 0, 0)
        for run in 0..<runCount {
            var kept: UInt16 = 0
            for bit in 0..<RunShard.runBlocks where masks[run] & 1 << bit != 0 {
                let address = FlashAddress(rawValue: addresses[from])
                from += 1
                guard isWanted(keys[run] * RunShard.runBlocks + bit, address) else {
                    if address.isZero { zeroCount -= 1 }
                    continue
                }
                addresses[to] = address.rawValue
                to += 1
                kept |= 1 << bit
            }
            guard kept != 0 else { continue }
            keys[toRun] = keys[run]
            masks[toRun] = kept
            toRun += 1
        }
        runCount = toRun
        addressCount = to
    }

    /// Every run: its key, its mask and its addresses in ascending order.
    func forEach(_ visit: (UInt64, UInt16, UnsafeBufferPointer<UInt32>) -> Void) {
        guard runCount > 0 else { return }
        var start = 0
        for run in 0..<runCount {
            let count = masks[run].nonzeroBitCount
            visit(
                keys[run], masks[run],
                UnsafeBufferPointer(start: addresses + start, count: count))
            start += count
        }
    }

    // MARK: - Memory

    /// An eighth more than what is there, so that the slack stays small.
    private mutating func grow() -> Bool {
        func room(_ count: Int) -> Int { max(16, count + count / 8 + 4) }
        let (runs, addresses) = (room(runCount), room(addressCount))
        guard let memory = malloc(Self.bytes(runs, addresses)) else { return false }
        if runCount > 0 {
            memcpy(memory, keys, runCount * 8)
            memcpy(memory + runs * 8, self.addresses, addressCount * 4)
            memcpy(memory + runs * 8 + addresses * 4, masks, runCount * 2)
        }
        free(base)
        base = memory
        runRoom = UInt32(runs)
        addressRoom = UInt32(addresses)
        return true
    }
}
