import ArgumentParser
import Glibc
import Policy

/// A command whose errors are refusals: one line, exit status 1 or 2.
protocol Command: ParsableCommand {
    func execute() throws(Refusal)
}

/// The command line program.
struct Forebay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forebay",
        abstract: "Accelerates an NFS-mounted datastore of virtual machines.",
        version: Version.text,
        subcommands: [
            MountCommand.self, UnmountCommand.self, StatusCommand.self, FlushCommand.self,
            DropCommand.self, PreflightCommand.self, ExportCommand.self, UnexportCommand.self,
            SetCommand.self, BypassCommand.self, UpgradeCommand.self, AlertCommand.self,
            WarmCommand.self, EstimateCommand.self, FormatCommand.self, CheckCommand.self,
            QuiesceCommand.self,
        ])

    /// Parses the arguments and does what they say. Help and version go to standard output.
    static func run(_ arguments: [String]) throws(Refusal) {
        let help = "see 'forebay --help'"
        guard !arguments.isEmpty else { throw .usage("usage", "no command is given", hint: help) }
        let parsed: any ParsableCommand
        do {
            parsed = try parseAsRoot(separated(arguments))
        } catch {
            if exitCode(for: error) == .success {
                print(fullMessage(for: error))
                return
            }
            throw .usage("usage", oneLine(message(for: error)), hint: help)
        }
        guard let command = parsed as? any Command else {
            // Only the help command is none of ours.
            var other = parsed
            do {
                try other.run()
            } catch {
                print(fullMessage(for: error))
            }
            return
        }
        do throws(Refusal) {
            try command.execute()
        } catch {
            if let mount = command as? MountCommand { mount.alert(of: error) }
            throw error
        }
    }

    /// `-oOPTIONS` as two arguments, as mount(8) takes it too.
    private static func separated(_ arguments: [String]) -> [String] {
        let end = arguments.firstIndex(of: "--") ?? arguments.count
        return arguments[..<end].flatMap { argument in
            argument.hasPrefix("-o") && argument.count > 2
                ? ["-o", String(argument.dropFirst(2))] : [argument]
        } + arguments[end...]
    }

    private static func oneLine(_ text: String) -> String {
        var text = text.split(separator: "\n").first.map(String.init) ?? "it is not understood"
        if text.hasSuffix(".") { text.removeLast() }
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}

/// Writes one line to standard error.
func standardError(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = write(2, bytes, bytes.count)
}
