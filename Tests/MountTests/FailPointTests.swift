import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

/// The server dies exactly between two steps of a request: the client gets the right answer once,
/// and what is there is what one execution leaves.
extension OnMounts {
    @Suite(.serialized) struct FailPointTests {
        /// Moments that every change of the datastore comes to, and those that only changes of
        /// names come to.
        private static let moments = ["done", "applied", "replied"]
        private static let namespaceMoments = ["recorded", "changed"]

        /// A mount whose servers die where a file in `points` says, over `backing`; and `plain`, a
        /// folder that is not mounted, to compare with.
        private struct Bench {
            let mount: ForebayMount
            let points: String
            let plain: String

            /// Makes a server die, or stand still, when it comes to a moment of an operation.
            func arm(_ point: String, _ opcode: Int, hold: Bool = false) throws {
                try Files.write("\(points)/\(point)-\(opcode)\(hold ? "-hold" : "")", [])
            }

            var isArmed: Bool { get throws { try !Files.names(points).isEmpty } }
        }

        private func withBench(_ body: (Bench) throws -> Void) throws {
            let space = try TemporaryFolder("fail-points")
            let points = try space.makeFolder("points")
            let backing = try space.makeFolder("backing")
            try withForebay(
                over: backing, environment: ["FOREBAY_FAIL_POINTS": points]
            ) { mount in
                for path in [space.path, backing, mount.path, mount.path + "/.."] {
                    try must { chmod(path, 0o755) }
                }
                try body(Bench(mount: mount, points: points, plain: try space.makeFolder("plain")))
            }
        }

        /// Prepares a folder in the mount and one beside it alike.
        private func prepare(_ change: Change, _ label: String, _ bench: Bench) throws -> [String] {
            let folders = ["\(bench.plain)/\(label)", bench.mount.path(label)]
            for folder in folders {
                try must { mkdir(folder, 0o755) }
                try must { chmod(folder, 0o777) }
                try change.prepare(folder)
            }
            return folders
        }

        private func expectAlike(_ folders: [String], _ label: String) throws {
            let (expected, found) = (try describe(folders[0]), try describe(folders[1]))
            #expect(found == expected, "\(label)")
        }

        @Test func everyChangeAtEveryMoment() throws {
            try withBench { bench in
                let killer = try Killer(bench.mount)
                for change in Change.all {
                    let moments = Self.moments + (change.isNamespace ? Self.namespaceMoments : [])
                    for moment in moments {
                        let label = "\(change.name)-\(moment)"
                        let folders = try prepare(change, label, bench)
                        #expect(change.act(folders[0]) == nil, "\(label) on a plain folder")
                        let restarts = killer.restarts
                        try bench.arm(moment, change.opcode)
                        #expect(change.act(folders[1]) == nil, "\(label)")
                        try #require(killer.awaitSuccessor(since: restarts), "\(label)")
                        #expect(try !bench.isArmed, "\(label): the server came there")
                        try expectAlike(folders, label)
                    }
                }
                #expect(killer.restarts > 80)
                #expect(killer.poisoned == 0 && !killer.isBypassed)
            }
        }

        /// The client has the answer, does the next thing, which is answered too, and only then the
        /// server dies, with the first request still in its slot: it must not be done again.
        @Test func dependentChangesAreNotUndone() throws {
            try withBench { bench in
                let killer = try Killer(bench.mount)
                for change in Change.all {
                    let label = "\(change.name)-then"
                    let folders = try prepare(change, label, bench)
                    #expect(change.act(folders[0]) == nil && change.then(folders[0]) == nil)
                    let restarts = killer.restarts
                    try bench.arm("replied", change.opcode, hold: true)
                    #expect(change.act(folders[1]) == nil, "\(label)")
                    #expect(eventually { (try? bench.isArmed) == false }, "\(label): held")
                    #expect(change.then(folders[1]) == nil, "\(label)")
                    try killer.kill(SIGKILL)
                    try #require(killer.awaitSuccessor(since: restarts), "\(label)")
                    try expectAlike(folders, label)
                }
                #expect(killer.busyKills == killer.kills, "the slot was not free")
            }
        }

        /// Successors die in the middle of their takeover, at both ends of it.
        @Test func deathsInTheMiddleOfTakeover() throws {
            try withBench { bench in
                let killer = try Killer(bench.mount)
                for (index, change) in Change.all.enumerated() {
                    let moment = index % 2 == 0 ? "done" : "applied"
                    let label = "\(change.name)-\(moment)-takeover"
                    let folders = try prepare(change, label, bench)
                    #expect(change.act(folders[0]) == nil)
                    let restarts = killer.restarts
                    for point in ["resent", "readied"] { try bench.arm(point, 0) }
                    try bench.arm(moment, change.opcode)
                    #expect(change.act(folders[1]) == nil, "\(label)")
                    try #require(killer.awaitSuccessor(since: restarts), "\(label)")
                    #expect(try !bench.isArmed, "\(label): the servers came there")
                    try expectAlike(folders, label)
                }
            }
        }
    }
}

/// What is in a folder, as text: names, kinds, sizes, contents, owners, and which names are one
/// file.
private func describe(_ folder: String) throws -> [String] {
    var first: [UInt64: String] = [:]
    return try Files.names(folder).map { name in
        let path = "\(folder)/\(name)"
        let found = try Files.attributes(path, following: false)
        let same = first[found.inode] ?? name
        first[found.inode] = same
        var line = "\(name)=\(same) mode \(found.mode) links \(found.links) of \(found.uid)"
        line += ":\(found.gid)"
        if found.mode & S_IFMT == S_IFREG {
            let bytes = try Files.read(path)
            line += " size \(bytes.count) sum \(bytes.reduce(UInt64(7)) { $0 &* 31 &+ UInt64($1) })"
            let value = (try? Files.xattr(path, "user.test")) ?? []
            line += " xattr \(String(decoding: value, as: UTF8.self))"
        }
        return line
    }
}
