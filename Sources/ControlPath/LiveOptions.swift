import Policy
import Synchronization

/// The options of a mount as they are now: `forebay set` changes them.
package final class LiveOptions: Sendable {
    private let options: Mutex<MountOptions>

    package init(_ options: MountOptions) { self.options = Mutex(options) }

    package var value: MountOptions {
        get { options.withLock { $0 } }
        set { options.withLock { $0 = newValue } }
    }
}
