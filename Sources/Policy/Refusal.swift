/// Why a command is not done: one line that says what, why and what to do about it.
/// Printed on standard error as `forebay: WHAT: WHY; HINT`.
package struct Refusal: Error, Equatable, Sendable {
    /// What was refused, for example the option or the path.
    package let what: String
    /// The reason.
    package let why: String
    /// What the user can do; empty when there is nothing to say.
    package let hint: String
    /// The exit status: 1 = it failed, 2 = wrong usage.
    package let status: Int32

    package init(_ what: String, _ why: String, hint: String = "", status: Int32 = 1) {
        self.what = what
        self.why = why
        self.hint = hint
        self.status = status
    }

    /// A refusal of wrong usage: exit status 2.
    package static func usage(_ what: String, _ why: String, hint: String = "") -> Refusal {
        Refusal(what, why, hint: hint, status: 2)
    }

    /// The line for standard error, without a line feed; control characters in file names become
    /// question marks, so that it stays one line.
    package var line: String {
        let text = hint.isEmpty ? "forebay: \(what): \(why)" : "forebay: \(what): \(why); \(hint)"
        var clean = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            clean.append(scalar.value < 32 || scalar.value == 127 ? "?" : scalar)
        }
        return String(clean)
    }
}
