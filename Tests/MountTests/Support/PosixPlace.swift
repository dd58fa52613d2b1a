import Glibc
import Testing

/// Provides `Place.current` to a suite: the folder of FOREBAY_TEST_FOLDER, or a Forebay mount that
/// lives as long as the suite's run.
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
        let place = Place(folder: "/tmp", backing: nil)
        try await Place.$current.withValue(place) { try await function() }
    }
}

extension Trait where Self == PosixPlace {
    /// Every test of the suite works in a folder of one mount.
    static var posixPlace: PosixPlace { PosixPlace() }
}

/// All tests of POSIX semantics, on one mount, one after the other.
@Suite(.serialized, .posixPlace) enum PosixTests {}
