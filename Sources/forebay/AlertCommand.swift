import Alerts
import ArgumentParser
import ControlPath
import Glibc
import Policy
import Syscalls

struct AlertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alert", abstract: "Tell administrators what happened.",
        subcommands: [Test.self, Deliver.self])
}

extension AlertCommand {
    /// `forebay alert test`.
    struct Test: Command {
        static let configuration = CommandConfiguration(
            abstract: "Send a message on every alert channel.")

        @Argument(help: "The mount whose channels are tried; those for all when left out.")
        var mountpoint: String?

        @Option(help: "The name of a mount, which need not be mounted.")
        var name: String?

        @Option(help: "A configuration file to try instead.")
        var configuration: String?

        @Flag(help: "Print one JSON object.")
        var json = false

        func execute() throws(Refusal) {
            let mount = try mount()
            guard let path = configuration ?? AlertConfiguration.path(name: mount.name) else {
                throw Refusal(
                    "alert", "no channel is configured", hint: "write /etc/forebay/alerts.toml")
            }
            let channels = try AlertConfiguration(path: path).channels
            guard !channels.isEmpty else {
                throw Refusal(path, "no channel is configured", hint: "see forebay(8)")
            }
            let event = Event(
                .test, .notice, "a test of the alert channels; nothing happened")
            let alert = Alert(
                mount: mount.name, mountpoint: mount.mountpoint, host: Alert.hostName,
                event: event, time: time(nil))
            let losses = Dispatch(channels).deliver([alert], state: nil)
            show(channels.map(\.name), losses)
            guard losses.isEmpty else {
                throw Refusal(
                    "alert", "\(losses.count) of \(channels.count) channels failed",
                    hint: "mend '\(path)'")
            }
        }

        private func mount() throws(Refusal) -> (name: String, mountpoint: String) {
            if let mountpoint {
                guard name == nil else { throw .usage("usage", "name a mount once") }
                let mount = try MountedDatastore.find(mountpoint)
                return (mount.name, mount.mountpoint)
            }
            guard let name else { return ("test", "") }
            guard MountOptionsParser.isName(name) else {
                throw .usage("--name \(name)", "is no name of a mount")
            }
            return (name, RunFolder().described(name)?.mountpoint ?? "")
        }

        private func show(_ channels: [String], _ losses: [Dispatch.Loss]) {
            var rows: [String] = []
            for channel in channels {
                let reason = losses.first { $0.channel == channel }?.reason
                if json {
                    var writer = JSONWriter()
                    writer.add("channel", channel)
                    writer.add("ok", reason == nil)
                    writer.add("reason", reason ?? "")
                    rows.append(writer.finish())
                } else {
                    print("\(channel): \(reason.map { "failed: \($0)" } ?? "ok")")
                }
            }
            guard json else { return }
            var writer = JSONWriter()
            writer.add("channels", list: rows)
            print(writer.finish())
        }
    }

    /// `forebay alert deliver`, which the keeper of a mount runs: one event on each line of
    /// standard input. Exit status 0, or `AlertFile.laterStatus`.
    struct Deliver: Command {
        static let configuration = CommandConfiguration(
            abstract: "Deliver events of a mount; for its keeper.", shouldDisplay: false)

        @Option(help: "The name of the mount.")
        var name: String

        func execute() throws(Refusal) {
            guard MountOptionsParser.isName(name) else {
                throw .usage("--name \(name)", "is no name of a mount")
            }
            // systemd may spare the keeper when memory is short; this process is no such case.
            if let file = try? Descriptor(path: "/proc/self/oom_score_adj", flags: O_WRONLY) {
                _ = write(file.raw, "0", 1)
            }
            let run = RunFolder()
            let delivery: Delivery
            do throws(Errno) {
                delivery = try Delivery(
                    name: name, mountpoint: run.described(name)?.mountpoint ?? "",
                    state: run.alerts(name))
            } catch {
                throw Refusal(run.alerts(name), "\(error)")
            }
            // Among them the lock of the mount: an unmount waits for it, and must wait until the
            // file of the state is there, which it removes, but not for the channels.
            for file in TextFile.names(in: "/proc/self/fd") {
                if let number = Int32(file), number > 2, number != delivery.descriptor {
                    close(number)
                }
            }
            let text = TextFile.read("/proc/self/fd/0", limit: Limits.alertFile) ?? ""
            let lines = text.split(separator: "\n")
            let isHolding = delivery.run(lines.compactMap { Event(line: String($0)) })
            if isHolding { Glibc.exit(AlertFile.laterStatus) }
        }
    }
}
