import Synchronization

/// Contents that stay whether they are used or not.
extension FlashTier {
    /// What is stored of a file stays from now on, as long as all such contents take no more than
    /// their share of the slots (`Limits.flashKeptDivisor`); beyond it they must be used like all
    /// others. False ends that. Looks through the block map. The device does not remember it.
    package func keep(_ file: UInt64, _ isKept: Bool) {
        let isNews = kept.withLock { $0.keep(file, isKept) }
        if isNews { note(isKept ? [file] : kept.withLock { $0.files }) }
    }

    /// After the map was loaded.
    func keepAgain() { note(kept.withLock { $0.files }) }

    func isKept(_ file: UInt64) -> Bool { kept.withLock { $0.files.contains(file) } }

    /// The numbers of the files that are kept.
    func keptNumbers() -> Set<UInt32> {
        let identities = kept.withLock { $0.files }
        return identities.isEmpty ? [] : Set(identities.compactMap { files.index($0) })
    }

    private func note(_ identities: Set<UInt64>) {
        let numbers = Set(identities.compactMap { files.index($0) })
        guard isServing, !numbers.isEmpty else { return }
        for shard in 0..<map.shardCount {
            var stored: [Int] = []
            map.forEach(shard: shard) { key, _, addresses in
                guard numbers.contains(FlashMap.file(ofKey: key)) else { return }
                for address in addresses.lazy.map({ FlashAddress(rawValue: $0) })
                where !address.isZero && slots.isCurrent(address) {
                    stored.append(address.slot)
                }
            }
            if !stored.isEmpty { kept.withLock { $0.add(stored) } }
        }
    }
}
