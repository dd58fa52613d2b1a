import Syscalls

@testable import FlashTier

extension FlashTier {
    /// Clears the marks of all ranges that nobody writes now.
    func clearMarksNow() {
        guard phase == .on else { return }
        do throws(Errno) {
            try clearMarks(idleSince: .max)
        } catch {
            giveUp("\(error)")
        }
    }
}
