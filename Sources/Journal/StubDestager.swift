import Devices
import Policy
import Syscalls
package protocol DestageTarget: Sendable {
    func write(_ file: UInt64, _ bytes: UnsafeRawBufferPointer, at offset: UInt64, isDurable: Bool) throws(Errno)
    func truncate(_ file: UInt64, to size: UInt64) throws(Errno)
    func zero(_ file: UInt64, at offset: UInt64, length: UInt64) throws(Errno)
    func sync(_ file: UInt64) throws(Errno)
    func finish(_ file: UInt64, modified: Timestamp) throws(Errno) -> FileState
}
package struct DestageSettings: Sendable { package var isStrict = false; package init(isStrict: Bool = false) {} }
package final class Destager<D: BlockDevice, T: DestageTarget>: Sendable {
    init(_ j: Journal<D>, _ d: DirtyData, _ t: T, _ s: DestageSettings) {}
    package func start() throws(Errno) {}
    package func stop() {}
    package func pause(until: UInt64) -> Bool { true }
    package func resume() {}
    package var throttles: Bool { false }
    package func waitForRoom(_ b: Int) throws(Errno) {}
    package func flush(_ file: UInt64?, until: UInt64) throws(Errno) {}
}
