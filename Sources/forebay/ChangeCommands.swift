import ArgumentParser
import ControlPath
import Policy
import Syscalls

struct SetCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Change the tiers, the journal or the timeouts of a mount while it serves.",
        discussion: "What is set lasts until the unmount.")

    @Argument(help: "The mount.")
    var mountpoint: String

    @Argument(help: "What to change, for example ram=8G.")
    var changes: [String]

    func execute() throws(Refusal) {
        let mount = try MountedDatastore.find(mountpoint)
        let made = try prepareDevices(of: mount)
        let answer: JSONValue
        do throws(Refusal) {
            answer = try mount.change("set " + changes.joined(separator: " "))
        } catch {
            made.takeBack()
            throw error
        }
        if answer["restarts"] != nil { try mount.awaitSuccessor(answer) }
    }

    /// Refuses a device that cannot be used; answers the files that were made. Nothing is made when
    /// anything else that is asked for is refused.
    private func prepareDevices(
        of mount: MountedDatastore
    ) throws(Refusal) -> Mounter.Preparation {
        var made = Mounter.Preparation()
        guard changes.contains(where: { $0.contains("flash=") || $0.contains("log=") }) else {
            return made
        }
        let status = try mount.ask("status", milliseconds: StatusCommand.patience)
        guard let backing = status["backing"]?.plain, let options = status["options"]?.plain else {
            throw Refusal("'\(mount.mountpoint)'", "does not tell its options")
        }
        let before = try MountOptionsParser.parse(
            backing: backing, mountpoint: mount.mountpoint, options: [options])
        let after = try RuntimeOptions.apply(changes, to: before)
        // The log in use is left behind empty: only what is new is looked at.
        if after.log != nil, after.log?.path != before.log?.path {
            made.log = try LogChoice(after).prepare(whenEmpty: true)
        }
        if after.flash?.path != before.flash?.path, let flash = FlashChoice(after) {
            do throws(Refusal) {
                made.flash = try flash.prepare() ? flash : nil
            } catch {
                made.takeBack()
                throw error
            }
        }
        return made
    }
}

struct BypassCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "bypass", abstract: "Leave the cache out of the way, or use it again.")

    enum Wish: String, ExpressibleByArgument, CaseIterable {
        case on
        case off
    }

    @Argument(help: "The mount.")
    var mountpoint: String

    @Argument(help: "on, or off.")
    var wish: Wish

    func execute() throws(Refusal) {
        let mount = try MountedDatastore.find(mountpoint)
        let answer = try mount.change("bypass \(wish.rawValue)")
        if answer["restarts"] != nil { try mount.awaitSuccessor(answer) }
    }
}

struct UpgradeCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "upgrade",
        abstract: "Hand a mount over to the version that is installed now.")

    @Argument(help: "The mount.")
    var mountpoint: String?

    @Option(help: "The name of the mount, in the place of its folder.")
    var name: String?

    func execute() throws(Refusal) {
        let mount = try find()
        let answer = try mount.change("upgrade")
        let status = try mount.awaitSuccessor(answer)
        let program = status["program"]?.plain ?? ""
        guard !program.hasSuffix(" (deleted)") else {
            throw Refusal(
                "'\(mount.mountpoint)'", "the old version goes on",
                hint: "see the log, 'journalctl -t forebay'")
        }
        let versions = [answer["version"], status["version"]].map { $0?.plain ?? "?" }
        print(
            "\(mount.mountpoint): version \(versions[0]) handed over to version \(versions[1]),"
                + " pause \(status["last_pause"]?.plain ?? "?") s")
    }

    private func find() throws(Refusal) -> MountedDatastore {
        switch (mountpoint, name) {
        case (let mountpoint?, nil): return try .find(mountpoint)
        case (nil, let name?): return try .find(name: name)
        default:
            throw .usage("usage", "one mount is needed", hint: "give MOUNTPOINT or --name NAME")
        }
    }
}

extension MountedDatastore {
    /// Milliseconds that a server may take to do an order of these, the start of a successor
    /// included: the program that takes over may have to be loaded from a slow disk.
    private static let patience: UInt64 = 60_000

    /// The mount of a name.
    static func find(name: String) throws(Refusal) -> MountedDatastore {
        guard let mount = all().first(where: { $0.name == name }) else {
            throw Refusal("'\(name)'", "is not the name of a mount that serves")
        }
        return mount
    }

    /// Gives an order to the server itself; throws what it refused it for.
    func change(_ line: String) throws(Refusal) -> JSONValue {
        let answer = try ask(line, milliseconds: Self.patience)
        guard let reason = answer["error"]?.plain else { return answer }
        throw Refusal(
            answer["what"]?.plain ?? "'\(mountpoint)'", reason, hint: answer["hint"]?.plain ?? "",
            status: answer["status"]?.unsigned == 2 ? 2 : 1)
    }

    /// Waits until a successor serves, and gives its status.
    @discardableResult
    func awaitSuccessor(_ answer: JSONValue) throws(Refusal) -> JSONValue {
        let before = answer["restarts"]?.plain ?? ""
        let deadline = monotonicNanoseconds() + .milliseconds(Self.patience)
        while monotonicNanoseconds() < deadline {
            let status = try ask("status", milliseconds: Self.patience)
            if let restarts = status["restarts"]?.plain, restarts != before { return status }
            sleep(milliseconds: 10)
        }
        throw Refusal(
            "'\(mountpoint)'", "the server does not hand over",
            hint: "see the log, 'journalctl -t forebay'")
    }
}
