/// What the keeper and the command line agree on about alerts.
package enum AlertFile {
    /// Where the channels are configured: a file for one mount, or else that for all.
    package static func paths(name: String) -> [String] {
        ["/etc/forebay/\(name).alerts.toml", "/etc/forebay/alerts.toml"]
    }

    /// Exit status of `forebay alert deliver` that asks to be started again in a while, with or
    /// without events (EX_TEMPFAIL of sysexits(3)).
    package static let laterStatus: Int32 = 75
}
