import Glibc
import TestSupport
import Testing

/// Provides `Place.current` to a suite: the folder of FOREBAY_TEST_FOLDER, or a Forebay mount over
/// a local folder that lives as long as the suite's run.
struct PosixPlace: SuiteTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        if let given = getenv("FOREBAY_TEST_FOLDER") {
            let place = Place(folder: String(cString: given), backing: nil)
            try await Place.$current.withValue(place) { try await function() }
            return
        }
        let backing = try TemporaryFolder("posix")
        let mount = try ForebayMount(over: backing.path, options: ["ram=64M"])
        defer { mount.stop() }
        // Users that are not root must be able to reach both.
        for path in [backing.path, mount.path, mount.path + "/.."] {
            try must { chmod(path, 0o755) }
        }
        let place = Place(folder: mount.path, backing: backing.path)
        try await Place.$current.withValue(place) { try await function() }
    }
}

extension Trait where Self == PosixPlace {
    /// Every test of the suite works in a folder of one mount.
    static var posixPlace: PosixPlace { PosixPlace() }
}

/// All tests that mount something, one after the other: each wants the machine for itself.
@Suite(.serialized) enum OnMounts {}

/// All tests of POSIX semantics, on one mount, one after the other.
extension OnMounts {
    @Suite(.serialized, .posixPlace) enum PosixTests {}
}

typealias PosixTests = OnMounts.PosixTests
