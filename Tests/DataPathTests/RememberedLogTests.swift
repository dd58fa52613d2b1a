import DataPath
import Glibc
import Policy
import Syscalls
import TestSupport
import Testing

/// The mark that says which log a mount must not do without.
@Suite struct RememberedLogTests {
    private let space: TemporaryFolder
    private let remembered: RememberedLog
    private let uuid = (0..<16).map { UInt8($0 * 16) }

    init() throws {
        space = try TemporaryFolder("remembered-log")
        remembered = RememberedLog(folder: space.path)
    }

    private func options(_ words: String...) throws -> MountOptions {
        try MountOptionsParser.parse(
            backing: "/mnt/nas", mountpoint: "/srv/vms", options: words)
    }

    @Test func whatIsSetIsRead() throws {
        #expect(try remembered.mark() == nil)
        for (path, isDirty) in [("/dev/x", false), ("/a b/ü", true), ("", true)] {
            try remembered.set(uuid: uuid, path: path, mayBeDirty: isDirty)
            let mark = try #require(try RememberedLog(folder: space.path).mark())
            #expect(mark.uuid == uuid)
            #expect(mark.path == path)
            #expect(mark.mayBeDirty == isDirty)
            #expect(abs(mark.time - time(nil)) < 60)
        }
        #expect(try remembered.forget())
        #expect(try remembered.mark() == nil)
        #expect(try !remembered.forget())
    }

    @Test func whatCannotBeKeptIsNotAcknowledged() throws {
        #expect(throws: Errno.invalid) {
            try remembered.set(uuid: [1], path: "/dev/x", mayBeDirty: true)
        }
        #expect(throws: Errno.invalid) {
            try remembered.set(uuid: uuid, path: "/dev/\n", mayBeDirty: true)
        }
        let nowhere = RememberedLog(folder: space.path("nowhere"))
        #expect(throws: Errno.noEntry) {
            try nowhere.set(uuid: uuid, path: "/dev/x", mayBeDirty: true)
        }
        #expect(try nowhere.mark() == nil)
    }

    /// A damaged mark stands for a log that nobody knows: nothing is believed to be home.
    @Test func everyDamageIsADirtyLogThatNobodyKnows() throws {
        try remembered.set(uuid: uuid, path: "/dev/x", mayBeDirty: false)
        let file = space.path("log")
        let whole = Array(try Files.text(file).utf8)
        for length in 0..<whole.count {
            try Files.write(file, Array(whole[..<length]))
            let mark = try #require(try remembered.mark())
            #expect(mark.mayBeDirty && mark.uuid.isEmpty, "\(length)")
        }
        for place in whole.indices {
            var bytes = whole
            bytes[place] ^= 0x80
            try Files.write(file, bytes)
            // The path and the time may be wrong; which log it is and whether it is dirty may not.
            let mark = try #require(try remembered.mark())
            #expect(mark.uuid == uuid ? !mark.mayBeDirty : mark.mayBeDirty, "\(place)")
        }
        #expect(try remembered.verdict(found: uuid, options: options(), isFirst: true) != .fine)
    }

    @Test func verdicts() throws {
        let other = [UInt8](repeating: 9, count: 16)
        let plain = try options("log=/dev/x,write=back")
        func verdict(
            _ found: [UInt8]?, _ options: MountOptions, isFirst: Bool = true
        ) throws -> RememberedLog.Verdict {
            try remembered.verdict(found: found, options: options, isFirst: isFirst)
        }
        #expect(try verdict(nil, plain) == .fine)
        try remembered.set(uuid: uuid, path: "/dev/x", mayBeDirty: false)
        #expect(try verdict(other, plain) == .fine)
        try remembered.set(uuid: uuid, path: "/dev/x", mayBeDirty: true)
        let mark = try #require(try remembered.mark())
        #expect(try verdict(uuid, plain) == .fine)
        for found in [nil, other] {
            #expect(try verdict(found, plain) == .missing(mark))
            #expect(try verdict(found, options("ro")) == .stale(mark))
            #expect(try verdict(found, options("ro,discard_log")) == .stale(mark))
            #expect(try verdict(found, options("discard_log")) == .discarded(mark))
            // A device that fails under a mount makes no successor give anything up.
            #expect(try verdict(found, options("discard_log"), isFirst: false) == .missing(mark))
        }
    }
}
