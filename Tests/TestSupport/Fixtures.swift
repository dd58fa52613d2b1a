/// Runs `body` with a forebay mount over a folder and ends the mount whatever `body` does.
package func withForebay<Result>(
    over backing: String, options: [String] = [], program: String? = nil,
    environment: [String: String] = [:], _ body: (ForebayMount) throws -> Result
) throws -> Result {
    let mount = try ForebayMount(
        over: backing, options: options, program: program, environment: environment)
    defer { mount.stop() }
    return try body(mount)
}

/// Runs `body` with a test datastore and ends it whatever `body` does.
package func withDatastore<Result>(
    options: [String] = [], _ body: (TestDatastore) throws -> Result
) throws -> Result {
    let datastore = try TestDatastore(options: options)
    defer { datastore.stop() }
    return try body(datastore)
}

/// Runs `body` with a forebay mount over a test datastore and ends both whatever `body` does.
/// `prepare` fills the datastore's folder before anything is mounted over it.
package func withForebay<Result>(
    options: [String] = [], datastoreOptions: [String] = [], program: String? = nil,
    prepare: (TestDatastore) throws -> Void = { _ in },
    _ body: (ForebayMount, TestDatastore) throws -> Result
) throws -> Result {
    try withDatastore(options: datastoreOptions) { datastore in
        try prepare(datastore)
        return try withForebay(over: datastore.path, options: options, program: program) { mount in
            // A hung datastore would hold up the unmount.
            defer { _ = try? datastore.heal() }
            return try body(mount, datastore)
        }
    }
}
