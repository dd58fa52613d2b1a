import CLinux
import Glibc
import Syscalls

/// Files with holes.
enum SparseFile {
    /// SEEK_DATA of lseek(2), which Swift does not see.
    private static let seekData: Int32 = 3

    /// Where data begins at or behind `offset`; `size` when there is none. File systems that know
    /// no holes have data everywhere.
    static func dataStart(
        _ file: Int32, from offset: UInt64, size: UInt64
    ) throws(Errno) -> UInt64 {
        do throws(Errno) {
            return UInt64(try call { CLinux_seek(file, Int64(offset), seekData) })
        } catch {
            return error == Errno(ENXIO) ? size : offset
        }
    }
}
