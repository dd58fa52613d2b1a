/// The release that this program is.
package enum Version {
    /// As shown by `--version`, `status` and `user.forebay.version`.
    package static let text = "0.1.0"
}
