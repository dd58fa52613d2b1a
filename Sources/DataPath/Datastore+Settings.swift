import Passthrough
import Policy
import Synchronization

/// What an administrator can change while a datastore serves.
final class Settings: Sendable {
    /// Bit patterns of seconds.
    private let attribute: Atomic<UInt64>
    private let backend: Atomic<UInt64>
    private let mode: Atomic<UInt64>
    private let writes: Atomic<UInt8>
    private let leaving = Atomic<Bool>(false)
    /// There is no memory of the cache to come back to.
    let isTierless: Bool

    init(_ options: MountOptions, bypass: BypassMode) {
        attribute = Atomic(options.attributeTimeout.bitPattern)
        backend = Atomic(options.backendTimeout.bitPattern)
        mode = Atomic(bypass.rawValue)
        writes = Atomic(options.write.rawValue)
        isTierless = bypass == .automatic
    }

    /// Seconds that attributes may be believed while a file is in use.
    var attributeTimeout: Double {
        get { Double(bitPattern: attribute.load(ordering: .relaxed)) }
        set { attribute.store(newValue.bitPattern, ordering: .relaxed) }
    }

    /// Seconds that an operation may wait for the datastore.
    var backendTimeout: Double {
        get { Double(bitPattern: backend.load(ordering: .relaxed)) }
        set { backend.store(newValue.bitPattern, ordering: .relaxed) }
    }

    /// The write policy of what has none of its own.
    var write: WritePolicy {
        get { WritePolicy(rawValue: writes.load(ordering: .relaxed)) ?? .through }
        set { writes.store(newValue.rawValue, ordering: .relaxed) }
    }

    /// The log is about to be given up: nothing new goes into it.
    var isLogLeaving: Bool {
        get { leaving.load(ordering: .relaxed) }
        set { leaving.store(newValue, ordering: .relaxed) }
    }

    /// Whether the cache is left out of the way.
    var bypass: BypassMode {
        get { BypassMode(rawValue: mode.load(ordering: .relaxed)) ?? .off }
        set { mode.store(newValue.rawValue, ordering: .relaxed) }
    }

    @inline(__always)
    var isBypassing: Bool { mode.load(ordering: .relaxed) != BypassMode.off.rawValue }
}

extension Datastore {
    /// It began without the memory of the cache, and has only what is never used.
    package var isTierless: Bool { settings.isTierless }

    /// Changes the timeouts, both in seconds, for all that is asked from now on.
    package func setTimeouts(attributes: Double, backend: Double) {
        settings.attributeTimeout = attributes
        settings.backendTimeout = backend
    }

    /// Leaves the cache out of the way from now on, or uses it again. While it is left out of the
    /// way nothing is looked up in it and nothing enters it. Writes take out of it what they make
    /// old all the same, and so does a change by others, so that it can be used again at any time.
    package func setBypass(_ mode: BypassMode) {
        let before = settings.bypass
        settings.bypass = mode
        guard before == .off, mode != .off else { return }
        // The pages in the kernel's cache above us came out of ours.
        for inode in inodes.all() where inode.isRegular { invalidateKernel(.file(inode.node)) }
    }
}
