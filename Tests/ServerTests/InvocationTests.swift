import FuseServer
import Glibc
import Policy
import Syscalls
import Testing

@testable import forebay_server

/// The command line that keepers and servers are started with.
@Suite struct InvocationTests {
    private func parse(_ arguments: String...) throws(Refusal) -> Invocation {
        try Invocation(arguments: arguments)
    }

    /// Descriptors 0 to 2 are open in every process.
    private let kept = [
        "--fuse-fd", "0", "--slots-fd", "1", "--frames-fd", "2", "--root-fd", "0",
    ]

    @Test func aKeeperMountsOrAdopts() throws {
        let base = ["keep", "/a", "/b", "-o", "ram=16M"]
        #expect(try !Invocation(arguments: base).isAdopted)
        let adopted = try Invocation(
            arguments: base + kept + ["--died", "handover", "--died-at", "7"])
        #expect(adopted.isAdopted)
        #expect(adopted.predecessor == .handedOver)
        #expect(adopted.diedAt == 7)
        // Some of the descriptors are no mount.
        #expect(throws: Refusal.self) { try Invocation(arguments: base + kept.dropLast(2)) }
    }

    @Test func aServerNeedsAllAndAProbeTheSlots() throws {
        #expect(throws: Refusal.self) { try parse("serve", "/a", "/b", "-o", "ram=16M") }
        #expect(try Invocation(arguments: ["serve", "/a", "/b"] + kept).role == .serve)
        #expect(throws: Refusal.self) { try parse("probe", "/a", "/b") }
        let probe = try parse("probe", "/a", "/b", "--slots-fd", "0")
        #expect(probe.role == .probe)
    }

    @Test func whatWasSetLaterWins() throws {
        let invocation = try parse("keep", "/a", "/b", "-o", "ram=16M", "-o", "ram=32M")
        #expect(invocation.options.ram == 32 << 20)
    }

    @Test(arguments: [
        [], ["keep"], ["stay", "/a", "/b"], ["keep", "/a", "/b", "--what", "0"],
        ["keep", "/a", "/b", "--fuse-fd"], ["keep", "/a", "/b", "--fuse-fd", "99999"],
        ["keep", "/a", "/b", "-o", "logs=/x"],
    ])
    func anythingElseIsRefused(arguments: [String]) {
        #expect(throws: Refusal.self) { try Invocation(arguments: arguments) }
    }
}
