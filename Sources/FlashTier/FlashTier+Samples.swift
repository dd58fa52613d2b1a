import Policy
import Synchronization
import Syscalls

/// Whether what is on the device of a file is what the datastore has.
extension FlashTier {
    /// Whether the map of a file, as the device has it, is right for a file with these attributes;
    /// until it is believed nothing of it is found, and nothing taken. Nil while the index is
    /// loaded: it is to be asked again then. False: the caller drops the file.
    ///
    /// True when there is no map from before the opening, or the attributes are those that it was
    /// stored with; and, where ranges of the file were being written when the mount died, when
    /// neither time is before the stored one, nor more than `Limits.flashSampleSlack` behind: then
    /// it was the mount's own last writes, whose ranges are forgotten already.
    ///
    /// To be asked before the first write to the file: what it is told while loading counts, unless
    /// the file was written by then.
    package func mayBelieve(_ file: UInt64, _ now: FileSample) -> Bool? {
        if phase == .loading {
            let isWritten = log.withState { $0.marks.keys.contains { $0.identity == file } }
            if !isWritten { files.noteSeen(file, now) }
            return nil
        }
        return files.believe(file, now)
    }

    /// Files that were written a moment ago and have a map: the caller tells their attributes
    /// (`sample`) each second, so that their maps can be believed after a crash.
    package func markedFiles() -> [UInt64] {
        let marked = log.withState { Set($0.marks.keys.map(\.identity)) }
        return marked.filter { files.believed($0) != nil }
    }

    /// Makes what was sampled durable at once. Waits for the device.
    package func commitSamples() {
        guard phase == .on else { return }
        do throws(Errno) {
            try log.commit()
        } catch {
            giveUp("it fails: \(error)")
        }
    }

    /// Attributes of a file as the datastore gave them; kept with its map, and durable with the
    /// next `upkeep`. Does nothing for a file without a map, or one that is not believed.
    package func sample(_ file: UInt64, _ sample: FileSample) {
        guard files.resample(file, sample) else { return }
        log.withState { state in
            guard let entry = files.takeIfChanged(file) else { return }
            let isRoom = state.append(
                .file(index: entry.index, identity: file, sample: entry.sample))
            if !isRoom { needCheckpoint() }
        }
    }
}
