import Glibc

/// Moments in the life of a request at which tests make the server die or stand still. Programs
/// built for release have none.
///
/// The environment's FOREBAY_FAIL_POINTS names a folder, looked up once. A server that comes to
/// `changed` with a rename (opcode 12) removes the file `changed-12` there and kills itself, or
/// removes `changed-12-hold` and does nothing more with that request until it is killed. What is
/// removed is gone, so the successor comes past.
enum FailPoint: String {
    /// What was there is noted in the slot; nothing is changed yet.
    case recorded
    /// The datastore is changed; the names are still locked, and nothing says that it is.
    case changed
    /// The operation is through; its reply is not kept yet.
    case done
    /// The reply is kept and the slot APPLIED; the kernel has not got it.
    case applied
    /// The kernel has the reply; the slot is not FREE yet.
    case replied
    /// A successor has sent kept replies again and has readied no request yet.
    case resent
    /// A successor has readied the requests left behind and has begun none.
    case readied

    /// Dies or stands still here when a test wants that of this operation.
    @inline(__always)
    func reach(_ operation: UInt32) {
        #if DEBUG
            if let folder = Self.folder { die(in: folder, operation) }
        #endif
    }

    #if DEBUG
        private static let folder = getenv("FOREBAY_FAIL_POINTS").map { String(cString: $0) }

        @inline(never)
        private func die(in folder: String, _ operation: UInt32) {
            let path = "\(folder)/\(rawValue)-\(operation)"
            if unlink(path) == 0 { kill(getpid(), SIGKILL) }
            guard unlink(path + "-hold") == 0 else { return }
            while true { pause() }
        }
    #endif
}
