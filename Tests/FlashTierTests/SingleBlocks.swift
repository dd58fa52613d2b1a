import Devices
import FlashTier

extension FlashTier {
    /// Where one block is.
    func lookup(_ file: UInt64, block: UInt64) -> FlashAddress? {
        var address = FlashAddress.zero
        return withUnsafeMutablePointer(to: &address) { pointer in
            let room = UnsafeMutableBufferPointer(start: pointer, count: 1)
            return lookup(file, firstBlock: block, into: room) == 1 ? pointer.pointee : nil
        }
    }

    /// Reads one block, if it is there and good.
    func read(_ file: UInt64, block: UInt64, into memory: BlockBuffer) -> Bool {
        guard let address = lookup(file, block: block) else { return false }
        return withUnsafePointer(to: address) { pointer in
            read(UnsafeBufferPointer(start: pointer, count: 1), into: memory.bytes.baseAddress!)
                == 1
        }
    }
}
