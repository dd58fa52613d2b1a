import Synchronization

// Which block map a file has, and what the next server must know of it. The note is written before
// a change reaches the datastore and taken away before the map is given up.
extension Inode {
    /// Changes the state, and with it what the next server is told.
    package func update<Result>(_ body: (inout InodeState) -> Result) -> Result {
        state.withLock { state in
            defer { writeNote(state) }
            return body(&state)
        }
    }

    /// Without a sample the next server would have nothing to compare the file with.
    private func writeNote(_ state: borrowing InodeState) {
        guard let place = state.notePlace else { return }
        guard let sample = state.sample else { return place.clear() }
        let size = size.load(ordering: .relaxed)
        place.write(
            FileNote(
                node: node, map: blockMap.load(ordering: .relaxed), sample: sample,
                changedSinceSample: state.changedSinceSample, isUnsynced: state.isUnsynced,
                isOpen: state.openCount > 0 || state.mayBeOpen, sizes: state.sizes ?? size...size))
    }

    /// Continues what an earlier server noted of the file, before anybody else has the inode.
    package func inherit(_ note: FileNote, at place: FileNotePlace) {
        state.withLock { state in
            state.sample = note.sample
            state.changedSinceSample = note.changedSinceSample
            state.isUnsynced = note.isUnsynced
            state.mayBeOpen = note.isOpen
            state.sizes = note.sizes
            state.isInherited = true
            state.notePlace = place
            blockMap.store(note.map, ordering: .releasing)
        }
    }

    /// Begins a change of ours, which may leave the file as long as `end` or as short as `start`.
    /// Answers the block map whose blocks must be superseded.
    package func beginChange(to end: UInt64 = 0, from start: UInt64 = .max) -> UInt32 {
        update { state in
            state.changesBegun &+= 1
            state.changedSinceSample = true
            state.attributesAreOld = true
            let size = size.load(ordering: .relaxed)
            let before = state.sizes ?? size...size
            state.sizes =
                min(before.lowerBound, size, start)...max(before.upperBound, size, end)
            return blockMap.load(ordering: .relaxed)
        }
    }

    /// Ends a change of ours that began under block map `map`.
    /// `isDestage`: the log has it too, so that no client needs it made durable.
    package func endChange(map: UInt32, unsynced: Bool, isDestage: Bool = false) {
        update { state in
            state.changesEnded &+= 1
            state.attributesAreOld = true
            if unsynced {
                state.isUnsynced = true
                if !isDestage { state.owesSync = true }
            }
            if map != blockMap.load(ordering: .relaxed), state.writesOfOldMap > 0 {
                state.writesOfOldMap -= 1
            }
            // What an earlier server was about to do may still be done.
            if state.changesBegun == state.changesEnded, !state.isInherited { state.sizes = nil }
        }
    }

    /// Gives the file's block map up, its note first. Answers its name, `noBlockMap` when it had
    /// none, and the place of the note.
    package func removeBlockMap() -> (map: UInt32, place: FileNotePlace?) {
        state.withLock { state in
            let place = state.notePlace.take()
            place?.clear()
            state.writesOfOldMap = state.changesBegun &- state.changesEnded
            let map = blockMap.exchange(Self.noBlockMap, ordering: .acquiringAndReleasing)
            return (map, place)
        }
    }

    /// The file is nothing for the next server. Answers the place of the note.
    package func removeNote() -> FileNotePlace? {
        state.withLock { state in
            let place = state.notePlace.take()
            place?.clear()
            return place
        }
    }

    /// The file's block map; the one that `make` names when it has none, with the place for its
    /// note. A file without a name cannot be found by the next server and needs none.
    package func blockMap(
        orMake make: (_ isNoted: Bool) -> (map: UInt32, place: FileNotePlace?)
    ) -> UInt32 {
        let present = blockMap.load(ordering: .acquiring)
        if present != Self.noBlockMap { return present }
        return update { state in
            let present = blockMap.load(ordering: .acquiring)
            if present != Self.noBlockMap { return present }
            let made = make(!state.isUnlinked)
            blockMap.store(made.map, ordering: .releasing)
            state.notePlace = made.place
            // Changes under way have superseded blocks of no map: they must end first.
            state.writesOfOldMap = state.changesBegun &- state.changesEnded
            return made.map
        }
    }

    /// True when blocks read from the datastore now may enter the map `map`.
    package func mayFill(_ map: UInt32) -> Bool {
        state.withLock { state in
            state.writesOfOldMap == 0 && map == blockMap.load(ordering: .relaxed)
        }
    }
}
