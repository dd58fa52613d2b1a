import Devices
import ReadCache
import Syscalls

extension Fingerprint {
    func put(into writer: inout ByteWriter) {
        writer.put(high)
        writer.put(low)
    }

    init(from reader: inout ByteReader) throws(Errno) {
        self.init(high: try reader.take(UInt64.self), low: try reader.take(UInt64.self))
    }
}
