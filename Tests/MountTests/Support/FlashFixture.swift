import Glibc
import Syscalls
import TestSupport
import Testing

/// A flash device for tests: a file on a file system of its own that is slow, hangs, fails or loses
/// power when told to.
final class FlashMedium: Sendable {
    /// The file system; its faults are those of the device.
    let host: TestDatastore
    private static let name = "flash"

    /// A formatted device of so many bytes.
    init(size: Int = 64 << 20) throws {
        host = try TestDatastore()
        try Files.write(file, "")
        try must { [path = file] in truncate(path, off_t(size)) }
        try format()
    }

    /// What a mount opens.
    var path: String { host.path(Self.name) }
    /// The same behind the file system, where nobody notices what is done to it.
    var file: String { host.folderPath(Self.name) }
    /// As an option of a mount.
    var option: String { "flash=\(path)" }

    /// `forebay format --flash`.
    func format() throws {
        try ChildProcess.check(try Programs.forebay, ["format", "--flash", path, "--force"])
    }

    /// `forebay check --flash --json`; nothing may have it open.
    func check() throws -> FlatJSON {
        FlatJSON(
            try ChildProcess.run(try Programs.forebay, ["check", "--flash", file, "--json"]).output)
    }

    /// Its mount died with it.
    func expectInUse(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let isInUse = try check().text("in_use")
        #expect(isInUse == "true", sourceLocation: sourceLocation)
    }

    func stop() { host.stop() }
}

/// Runs `body` with a mount that has a flash device, over a datastore that misbehaves when told to,
/// and ends them all whatever it does. The RAM tier is the smallest there is: 16 MiB. `prepare`
/// fills the datastore's folder before.
func withFlash<Result>(
    size: Int = 64 << 20, options: [String] = [],
    prepare: (TestDatastore) throws -> Void = { _ in },
    _ body: (ForebayMount, TestDatastore, FlashMedium) throws -> Result
) throws -> Result {
    let medium = try FlashMedium(size: size)
    defer { medium.stop() }
    return try withForebay(
        options: ["ram=16M", medium.option, "flash_dwpd=0"] + options, prepare: prepare
    ) { mount, datastore in
        // A device that hangs would hold up the unmount.
        defer { _ = try? medium.host.heal() }
        try awaitFlash(mount)
        return try body(mount, datastore, medium)
    }
}

extension ForebayMount {
    /// `user.forebay.health`.
    var health: String { (try? xattr("health")) ?? "unknown" }
    /// What flash does, as `forebay status` tells it: `on` once its index is loaded.
    var flashState: String { (try? status())?.text("flash_state") ?? "unknown" }
    /// Bytes of distinct contents in flash.
    var flashBytes: Int { (try? Numbers(self))?["unique_bytes_flash"] ?? -1 }
}

/// Waits until flash is in use: its index is loaded.
func awaitFlash(
    _ mount: ForebayMount, within seconds: UInt64 = 20,
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let isOn = eventually(within: seconds) { mount.flashState == "on" }
    try #require(isOn, "\(mount.flashState)", sourceLocation: sourceLocation)
}

/// Reads a file of distinct blocks so slowly that flash gets all of it. Answers how many blocks it
/// took; the file may have been there in part.
@discardableResult
func fillFlash(
    _ mount: ForebayMount, _ name: String, blocks: Int, seed: UInt64 = 1,
    sourceLocation: SourceLocation = #_sourceLocation
) throws -> Int {
    let reader = try DirectReader(mount.path(name))
    let start = try Numbers(mount)["unique_bytes_flash"]
    for first in stride(from: 0, to: blocks, by: 256) {
        let count = min(256, blocks - first)
        let bytes = try reader.once(count * 4096, at: first * 4096)
        let expected = Content.blocks(seed: seed, first: UInt64(first), count: count)
        try #require(bytes == expected, sourceLocation: sourceLocation)
        let wanted = start + (first + count) * 4096
        // What was there already does not count again.
        _ = try eventually(within: 2) { try Numbers(mount)["unique_bytes_flash"] >= wanted }
    }
    return (try Numbers(mount)["unique_bytes_flash"] - start) / 4096
}

/// Unmounts and mounts again, with `meanwhile` in between, and waits until flash is in use.
func remount(_ mount: ForebayMount, _ meanwhile: () throws -> Void = {}) throws {
    try mount.unmount()
    try meanwhile()
    try mount.mount()
    try awaitFlash(mount)
}

/// Ends keeper and server at once, as a crash of the machine does, and mounts again, with
/// `meanwhile` in between.
func crash(_ mount: ForebayMount, _ meanwhile: () throws -> Void = {}) throws {
    let all = mount.processes().map(\.pid)
    try #require(all.count >= 2)
    for pid in all { try must { kill(pid, SIGSTOP) } }
    for pid in all { try must { kill(pid, SIGKILL) } }
    Mounts.removeAll(below: mount.path)
    try #require(eventually { mount.processes().isEmpty })
    try meanwhile()
    try mount.mount()
    try awaitFlash(mount)
}

/// What reading all of a file asked of whom.
struct FlashReading {
    let bytes: [UInt8]
    /// Blocks, by what answered.
    let ram: Int
    let flash: Int
    let zero: Int
    let misses: Int
    /// Reads that reached the datastore.
    let datastoreReads: Int

    /// Reads all of a file past the kernel's page cache.
    init(
        _ mount: ForebayMount, _ datastore: TestDatastore, _ name: String, chunk: Int = 1 << 18
    ) throws {
        try datastore.resetCounts()
        let before = try Numbers(mount)
        bytes = try readDirect(mount.path(name), chunk: chunk)
        let after = try Numbers(mount)
        ram = after.grown("hits_ram", since: before)
        flash = after.grown("hits_flash", since: before)
        zero = after.grown("hits_zero", since: before)
        misses = after.grown("misses", since: before)
        datastoreReads = Int(try datastore.counts()["read"])
    }

    var text: String {
        "\(ram) from RAM, \(flash) from flash, \(zero) zero, \(misses) missed,"
            + " \(datastoreReads) reads of the datastore"
    }
}

/// Expects two byte arrays to be equal, without printing them.
func expectSame(
    _ found: [UInt8], _ expected: [UInt8], _ what: String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) {
    let place = Content.firstDifference(found, expected)
    #expect(
        place == nil, "\(what): differs in block \((place ?? 0) / 4096)",
        sourceLocation: sourceLocation)
}
