import Policy
import Syscalls

/// Runs a program of the administrator's: the message stands in its environment and, as JSON, on
/// its standard input. Exit status 0 means that it was told.
struct ScriptChannel: AlertChannel {
    let name = "script"
    let classes: Set<EventClass>
    private let program: String
    private let arguments: [String]

    init(_ section: inout ConfigurationSection) throws(Refusal) {
        guard let program = try section.path("program") else {
            throw section.refusal("program", "is missing")
        }
        self.program = program
        arguments = try section.texts("arguments") ?? []
        classes = try section.classes()
    }

    func send(_ alert: Alert, milliseconds: UInt64) throws(AlertFailure) {
        var environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        environment += alert.fields.map { "FOREBAY_\($0.name.uppercased())=\($0.value)" }
        try ChildProgram(program, arguments, environment: environment, input: alert.json + "\n")
            .run(milliseconds: milliseconds)
    }
}
