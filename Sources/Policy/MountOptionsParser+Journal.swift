// The options of the journal: how each is read, what they ask of one another, how they are written.
extension MountOptions {
    /// Takes one option of the journal. Throws a refusal with exit status 2.
    mutating func setJournal(_ key: String, _ value: String) throws(Refusal) {
        let what = "option '\(key)=\(value)'"
        switch key {
        case "log": log = try LogOption.parse(value)
        case "write":
            guard let policy = WritePolicy(text: value) else {
                throw .usage(what, "is not a write policy", hint: "use through or back")
            }
            write = policy
        case "destage_delay":
            destageDelay = try MountOptionsParser.number(
                key, value, within: 0...Double(Limits.destageDelay), "seconds")
        case "destage_order":
            guard let order = DestageOrder(rawValue: value) else {
                throw .usage(what, "is not an order", hint: "use epoch or strict")
            }
            destageOrder = order
        default:
            guard let bytes = ByteSize.parse(value) else {
                throw .usage(what, "is not a size", hint: "write for example 12G")
            }
            guard bytes >= Limits.minimumDirty else {
                throw .usage(
                    what, "is too small",
                    hint: "use at least \(ByteSize.exact(Limits.minimumDirty))")
            }
            dirtyMax = bytes
        }
    }

    /// What can be said only when every option is known. Throws a refusal with exit status 2.
    func checkJournal() throws(Refusal) {
        if write == .back, log == nil {
            throw .usage(
                "option 'write=back'", "needs a log for what it acknowledges",
                hint: "add log=DEVICE, or use write=through")
        }
        if let dirtyMax, let size = log?.size, dirtyMax > size {
            throw .usage(
                "option 'dirty_max=\(ByteSize.exact(dirtyMax))'",
                "is more than the log of \(ByteSize.readable(size))",
                hint: "use at most 3/4 of the log")
        }
    }

    /// The options of the journal as text for `-o`.
    var journalTexts: [String] {
        var parts = [
            "destage_delay=\(destageDelay)", "destage_order=\(destageOrder.rawValue)",
        ]
        if let log { parts += ["log=\(log.text)"] }
        if let dirtyMax { parts += ["dirty_max=\(ByteSize.exact(dirtyMax))"] }
        if discardLog { parts += ["discard_log"] }
        return parts
    }
}
