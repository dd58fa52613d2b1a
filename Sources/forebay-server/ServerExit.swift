/// What a server tells its keeper by its exit status: the one place where these are defined. Any
/// other status, and any signal, is a failure after which another server takes over.
enum ServerExit: Int32 {
    /// The mount is gone: nothing is left to keep.
    case unmounted = 0
    /// It could not begin to serve. A mount that was never served is taken away then.
    case cannotServe = 1
    /// A successor is to go on at once: no failure.
    case handOver = 10
    /// Likewise, as the program that is installed now: the keeper becomes that too.
    case handOverToInstalled = 11
}
