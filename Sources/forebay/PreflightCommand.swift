import Alerts
import ArgumentParser
import ControlPath
import Policy

struct PreflightCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "preflight", abstract: "Check what a mount needs; changes nothing.")

    @Argument(help: "The folder of the datastore.")
    var backing: String

    @Argument(help: "Where the accelerated datastore would appear.")
    var mountpoint: String

    @Option(
        name: .customShort("o"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Mount options, separated by commas.", valueName: "options"))
    var options: [String] = []

    @Flag(help: "Print one JSON object.")
    var json = false

    func execute() throws(Refusal) {
        let request = try MountRequest(backing: backing, mountpoint: mountpoint, options: options)
        let preflight = Preflight(
            options: request.options, expectedMounts: request.expectedMounts)
        let alerts = AlertConfiguration.preflight(name: request.options.name)
        let checks = preflight.all() + [alerts]
        let failed = checks.filter { $0.result == .fail }
        if json {
            var writer = JSONWriter()
            writer.add("result", PreflightCheck.worst(of: checks).rawValue)
            writer.add("checks", list: checks.map(\.json))
            print(writer.finish())
        } else {
            for check in checks {
                let mark = check.result.rawValue.uppercased()
                print("\(mark)  \(check.name): \(check.subject) \(check.reason)")
                if !check.mend.isEmpty { print("      -> \(check.mend)") }
            }
        }
        guard failed.isEmpty else {
            throw Refusal(
                "preflight", "\(failed.count) of \(checks.count) requirements are not met",
                hint: "do what stands behind the arrows")
        }
    }
}
