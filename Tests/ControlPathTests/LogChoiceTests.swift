import CLinux
import ControlPath
import DataPath
import Glibc
import Journal
import Policy
import Syscalls
import TestSupport
import Testing

/// What a mount does about its log, and what preflight says of it.
@Suite struct LogChoiceTests {
    private let space: TemporaryFolder
    private let device: String
    private let remembered: RememberedLog
    private let uuid = [UInt8](repeating: 0xa5, count: 16)

    init() throws {
        space = try TemporaryFolder("log-choice")
        for name in ["backing", "mountpoint", "run", "root", "state"] {
            _ = try space.makeFolder(name)
        }
        device = space.path("device")
        remembered = RememberedLog(folder: space.path("state"))
    }

    private func options(_ words: String...) throws -> MountOptions {
        try MountOptionsParser.parse(
            backing: space.path("backing"), mountpoint: space.path("mountpoint"),
            options: ["name=x,state=\(space.path("state"))"] + words)
    }

    private func refusal(_ options: MountOptions) throws -> Refusal {
        try #require(throws: Refusal.self) { try LogChoice(options).prepare() }
    }

    private func make(_ size: Int = 64 << 20) throws {
        try Files.write(device, "")
        try call { [device] in truncate(device, size) }
    }

    private func format() throws -> [UInt8] {
        let place = LogPlace(device)
        try place.format(try place.open(readOnly: false))
        return try place.header(of: try place.open(readOnly: true)).uuid
    }

    private func check(_ name: String, _ options: MountOptions) -> PreflightCheck? {
        Preflight(
            options: options, table: MountTable(parsing: "1 0 8:1 / / rw - ext4 /dev/sda1 rw"),
            runFolder: RunFolder(path: space.path("run")), expectedMounts: [],
            files: SystemFiles(root: space.path("root"))
        ).all().first { $0.name == name }
    }

    @Test func withoutALogThereIsNothingToSay() throws {
        let options = try options()
        #expect(try LogChoice(options).prepare().warning.isEmpty)
        #expect(check("log-device", options) == nil)
        #expect(check("log-place", options) == nil)
    }

    @Test func aFileIsMadeFilledAndFormatted() throws {
        let options = try options("log=\(device):40M,write=back")
        #expect(check("log-device", options)?.result == .pass)
        #expect(!Files.exists(device))
        let outcome = try LogChoice(options).prepare()
        #expect(outcome.warning.isEmpty)
        // Every block is there, so that no later write needs one.
        #expect(try Files.attributes(device).blocks * 512 >= 40 << 20)
        #expect(check("log-device", options)?.result == .pass)
        #expect(check("log-mirror", options)?.result == .warn)
        #expect(check("log-cache", options)?.result == .warn)
        // What was there before is not taken back.
        try LogChoice(options).prepare().takeBack()
        #expect(Files.exists(device))
        outcome.takeBack()
        #expect(!Files.exists(device))
    }

    @Test func whatCannotBeUsedIsRefused() throws {
        let bare = try options("log=\(device)")
        #expect(try refusal(bare).hint.contains("log=\(device):SIZE"))
        try make()
        #expect(try refusal(bare).hint.contains("forebay format --log \(device)"))
        #expect(check("log-device", bare)?.mend.contains("forebay format --log") == true)
        try OpenFile(device, O_WRONLY).write([0x53, 0xef], at: 0x438)
        #expect(try refusal(bare).why.contains("ext file system"))
        try make(8 << 20)
        let small = try #require(throws: Refusal.self) { try format() }
        #expect(small.why.contains("too small"))
        let missing = try options("log=\(space.path("nowhere"))/log:32M")
        #expect(try refusal(missing).hint.hasPrefix("mkdir -p"))
        for folder in ["backing", "mountpoint"] {
            let inside = try options("log=\(space.path(folder))/file:32M")
            #expect(try refusal(inside).why.contains("is inside"))
            #expect(check("log-place", inside)?.result == .fail)
        }
    }

    @Test func aLogInUseOrShorterIsRefused() throws {
        try make()
        _ = try format()
        let options = try options("log=\(device)")
        #expect(try LogChoice(options).prepare().warning.isEmpty)
        let held = try LogPlace(device).open(readOnly: false)
        #expect(try refusal(options).why.contains("in use"))
        withExtendedLifetime(held) {}
    }

    @Test func theLogWithTheLatestWritesIsNotDoneWithout() throws {
        try make()
        let own = try format()
        try remembered.set(uuid: own, path: device, mayBeDirty: true)
        #expect(try LogChoice(options("log=\(device)")).prepare().warning.isEmpty)
        for words in ["ram=16M", "log=\(space.path("other")):32M"] {
            let options = try options(words)
            let found = try refusal(options)
            #expect(found.what == "log '\(device)'")
            #expect(found.why.contains("missing and may hold the latest writes"))
            #expect(found.hint.contains("discard_log"))
            #expect(!Files.exists(space.path("other")), "nothing is made")
            #expect(check("log-device", options)?.result == .fail)
        }
        // Formatted anew, it is another log.
        _ = try format()
        let other = try refusal(try options("log=\(device)"))
        #expect(other.why.contains("not the one that may hold the latest writes"))
        // Not formatted, it is none.
        try make()
        #expect(try refusal(try options("log=\(device)")).why.contains("not formatted, and"))
        unlink(device)
        #expect(try refusal(try options("log=\(device)")).why.contains("is missing"))
    }

    @Test func readersAreWarnedAndDiscardingIsSaid() throws {
        try remembered.set(uuid: uuid, path: device, mayBeDirty: true)
        let reading = try LogChoice(options("ro")).prepare()
        #expect(reading.warning.contains("latest writes may be missing"))
        let named = try LogChoice(options("ro,log=\(device)")).prepare()
        #expect(named.warning.contains("latest writes may be missing"))
        let discarding = try options("discard_log")
        let outcome = try LogChoice(discarding).prepare()
        #expect(outcome.warning.contains("given up"))
        #expect(outcome.warning.contains("a5a5a5a5"))
        #expect(check("log-discard", discarding)?.result == .warn)
        // Only the server forgets, once the datastore is open.
        #expect(try remembered.mark() != nil)
        let fresh = try LogChoice(options("discard_log,log=\(device):32M,write=back")).prepare()
        #expect(fresh.warning.contains("given up"))
        #expect(Files.exists(device))
    }

    @Test func nobodyToReadARefusalIsServedWithoutWhatIsNotMissed() throws {
        let options = try options("log=\(device),write=back")
        let outcome = try LogChoice(options).prepare(isUnattended: true)
        #expect(outcome.warning.contains("served without it"))
        try remembered.set(uuid: uuid, path: device, mayBeDirty: true)
        #expect(throws: Refusal.self) { try LogChoice(options).prepare(isUnattended: true) }
        // A mount that serves brings home what its log holds before another takes its place.
        try make()
        _ = try format()
        #expect(try LogChoice(options).prepare(whenEmpty: true).warning.isEmpty)
    }
}
