import Glibc

// A slow, hanging or failing datastore for tests: a FUSE file system that passes through to a
// folder as an NFS mount of a filer would.

do throws(CommandError) {
    let arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
    exit(try Session(arguments).run())
} catch {
    let text = "test-datastore: \(error.text)\n\(Arguments.usage)\n"
    _ = write(2, text, text.utf8.count)
    exit(2)
}
