import ArgumentParser
import ControlPath
import Glibc
import Policy

// Called by mount(8) as mount.forebay, by systemd as forebay-generator, otherwise with a command.

signal(SIGPIPE, SIG_IGN)
let program = CommandLine.arguments.first?.split(separator: "/").last ?? "forebay"
let arguments = Array(CommandLine.arguments.dropFirst())
do throws(Refusal) {
    if program == "mount.forebay" {
        try MountHelper.run(arguments)
    } else if program == "forebay-generator" {
        try ServiceGenerator.run(arguments)
    } else {
        try Forebay.run(arguments)
    }
} catch {
    standardError(error.line)
    exit(error.status)
}
