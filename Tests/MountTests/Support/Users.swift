import CPosix
import Glibc
import Syscalls
import Testing

/// Users of the tests: they need no entry in the password file.
enum User {
    static let first: UInt32 = 61001
    static let second: UInt32 = 61002
    static let groupA: UInt32 = 62001
    static let groupB: UInt32 = 62002
}

private final class RunBody {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

/// Runs `body` with these credentials, umask and its own working directory, on a thread of its own.
/// A user other than 0 has no capabilities. Expectations belong outside of the body: a test's
/// context does not follow to another thread.
func asUser<Result>(
    _ user: UInt32 = 0, group: UInt32? = nil, groups: [UInt32] = [], umask mask: UInt32 = 0o022,
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () -> Result
) throws -> Result {
    var result: Result?
    let code = withoutActuallyEscaping(body) { body in
        withUnsafeMutablePointer(to: &result) { result in
            let run = RunBody { result.pointee = body() }
            return CPosix_run_as(
                user, group ?? user, groups, groups.count, mask,
                { context in
                    guard let context else { return }
                    Unmanaged<RunBody>.fromOpaque(context).takeUnretainedValue().run()
                }, Unmanaged.passUnretained(run).toOpaque())
        }
    }
    try #require(code == 0, "\(Errno(code))", sourceLocation: sourceLocation)
    return try #require(result, sourceLocation: sourceLocation)
}

/// The error that a call leaves a user with, nil when it succeeds.
func failure<Result: FixedWidthInteger & SignedInteger>(
    asUser user: UInt32, group: UInt32? = nil, groups: [UInt32] = [],
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () -> Result
) throws -> Errno? {
    try asUser(user, group: group, groups: groups, sourceLocation: sourceLocation) {
        failure(body)
    }
}
