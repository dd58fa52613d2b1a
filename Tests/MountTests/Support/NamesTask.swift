import CLinux
import Glibc
import Synchronization
import Syscalls
import TestSupport

/// Changes names in a folder of its own as they come, and knows from a model what each call must
/// answer: one that was done twice or not at all shows in the answer or in the next listing.
final class NamesTask: LoadTask {
    private enum Kind { case file, folder, symlink }

    private struct Entry: Equatable {
        let kind: Kind
        let inode: UInt64
    }

    private let folder: String
    private var model: [String: Entry] = [:]
    private var random: SplitMix64
    private var count = 0

    init(_ folder: String, _ seed: UInt64) throws {
        self.folder = folder
        random = SplitMix64(seed: seed ^ 0x4a3e)
        try call { mkdir(folder, 0o755) }
    }

    func step() throws {
        let (one, other) = (name(), name())
        switch Int.random(in: 0..<7, using: &random) {
        case 0: try create(one)
        case 1:
            try expect("unlink \(one)", unlinkError(one)) { unlink(path(one)) }
                ? model[one] = nil : ()
        case 2: try add(one, .folder, "mkdir") { mkdir(path(one), 0o755) }
        case 3:
            try expect("rmdir \(one)", rmdirError(one)) { rmdir(path(one)) }
                ? model[one] = nil : ()
        case 4: try add(one, .symlink, "symlink") { symlink("target", path(one)) }
        case 5:
            let isDone = try expect("link \(one) \(other)", linkError(one, other)) {
                link(path(one), path(other))
            }
            if isDone { model[other] = model[one] }
        default: try move(one, other)
        }
        count += 1
        if count % 16 == 0 { try compare() }
    }

    func finish() throws { try compare() }

    private func name() -> String { "name-\(Int.random(in: 0..<12, using: &random))" }
    private func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// Runs a call; true when it succeeded, as it had to.
    private func expect(_ what: String, _ expected: Errno?, _ body: () -> Int32) throws -> Bool {
        let found = failure(body)
        guard found == expected else {
            throw TestFailure(
                "\(what): \(found.map { "\($0)" } ?? "success") and not "
                    + (expected.map { "\($0)" } ?? "success"))
        }
        return found == nil
    }

    private func create(_ name: String) throws {
        try add(name, .file, "create") {
            let raw = CLinux_open(path(name), O_CREAT | O_EXCL | O_WRONLY, 0o644)
            if raw >= 0 { close(raw) }
            return min(raw, 0)
        }
    }

    private func add(_ name: String, _ kind: Kind, _ verb: String, _ body: () -> Int32) throws {
        let expected: Errno? = model[name] == nil ? nil : .exists
        guard try expect("\(verb) \(name)", expected, body) else { return }
        model[name] = Entry(kind: kind, inode: try inode(name))
    }

    private func inode(_ name: String) throws -> UInt64 {
        try Files.attributes(path(name), following: false).inode
    }

    private func unlinkError(_ name: String) -> Errno? {
        guard let entry = model[name] else { return .noEntry }
        return entry.kind == .folder ? .isDirectory : nil
    }

    private func rmdirError(_ name: String) -> Errno? {
        guard let entry = model[name] else { return .noEntry }
        return entry.kind == .folder ? nil : .notDirectory
    }

    private func linkError(_ from: String, _ to: String) -> Errno? {
        guard let entry = model[from] else { return .noEntry }
        if model[to] != nil { return .exists }
        return entry.kind == .folder ? Errno(EPERM) : nil
    }

    private func move(_ from: String, _ to: String) throws {
        var expected: Errno?
        if let source = model[from] {
            let target = model[to]
            let isFolder = source.kind == .folder
            if let target, isFolder, target.kind != .folder { expected = .notDirectory }
            if let target, !isFolder, target.kind == .folder { expected = .isDirectory }
        } else {
            expected = .noEntry
        }
        let isDone = try expect("rename \(from) \(to)", expected) { rename(path(from), path(to)) }
        // Two names of one file stay both.
        guard isDone, model[from] != model[to] else { return }
        model[to] = model[from]
        model[from] = nil
    }

    private func compare() throws {
        let names = try Files.names(folder)
        guard names == model.keys.sorted() else {
            throw TestFailure("\(names) are there, and not \(model.keys.sorted())")
        }
        for (name, entry) in model where try inode(name) != entry.inode {
            throw TestFailure("\(name) is another file than it was")
        }
    }
}

/// Names that several threads contend for; the sums of what they were told must come out.
final class Contest: Sendable {
    private let folder: String
    /// How often each prize was made, and how often it was removed.
    private let prizes = Mutex<[Int: (made: Int, removed: Int)]>([:])
    /// How often the ball went there and back.
    private let throwsOfBall = Mutex((there: 0, back: 0))
    private let next = Atomic(0)

    init(_ folder: String) throws {
        self.folder = folder
        try Files.write("\(folder)/ball-here", [])
    }

    /// Makes a prize that others want to make too, and removes it.
    func win(_ number: Int) throws {
        let path = "\(folder)/prize-\(number)"
        let raw = CLinux_open(path, O_CREAT | O_EXCL | O_WRONLY, 0o644)
        if raw >= 0 { close(raw) } else if errno != EEXIST { throw Errno.last }
        let isRemoved = unlink(path) == 0
        if !isRemoved, errno != ENOENT { throw Errno.last }
        prizes.withLock { prizes in
            var prize = prizes[number] ?? (0, 0)
            prize.made += raw >= 0 ? 1 : 0
            prize.removed += isRemoved ? 1 : 0
            prizes[number] = prize
        }
    }

    /// Throws the ball from wherever it is.
    func play() throws {
        let (here, there) = ("\(folder)/ball-here", "\(folder)/ball-there")
        let isThere = rename(here, there) == 0
        if !isThere, errno != ENOENT { throw Errno.last }
        let isBack = rename(there, here) == 0
        if !isBack, errno != ENOENT { throw Errno.last }
        throwsOfBall.withLock { sums in
            sums.there += isThere ? 1 : 0
            sums.back += isBack ? 1 : 0
        }
    }

    /// A number that no thread has had.
    func draw() -> Int { next.add(1, ordering: .relaxed).newValue / 2 }

    /// What does not come out; to be called after the last thread has ended.
    func faults() -> [String] {
        var faults: [String] = []
        prizes.withLock { prizes in
            for (number, prize) in prizes {
                let left = Files.exists("\(folder)/prize-\(number)") ? 1 : 0
                if prize.made - prize.removed != left {
                    faults.append("prize \(number): \(prize), \(left) left")
                }
            }
        }
        let sums = throwsOfBall.withLock { $0 }
        let isThere = Files.exists("\(folder)/ball-there") ? 1 : 0
        let isHere = Files.exists("\(folder)/ball-here") ? 1 : 0
        if sums.there - sums.back != isThere || isThere + isHere != 1 {
            faults.append("ball: \(sums), there \(isThere), here \(isHere)")
        }
        return faults
    }
}

/// A thread that takes part in a contest.
final class ContestTask: LoadTask {
    private let contest: Contest
    init(_ contest: Contest) { self.contest = contest }

    func step() throws {
        try contest.win(contest.draw())
        try contest.play()
    }
}
