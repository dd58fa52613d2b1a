import DataPath
import Devices
import FlashTier
import Glibc
import Policy
import Syscalls

/// The flash device that a mount is asked to use: whether it may, and the file made if there is
/// none. Looked at before anything is mounted.
package struct FlashChoice: Sendable {
    package let option: FlashOption
    private let options: MountOptions
    let place: FlashPlace

    /// What options ask for; nil when they ask for no flash.
    package init?(_ options: MountOptions) {
        guard let option = options.flash else { return nil }
        self.option = option
        self.options = options
        place = FlashPlace(option.path)
    }

    /// Whether there is anything at the path.
    var isThere: Bool { place.device.isThere }

    /// Refuses what cannot be used; makes and formats a file that is not there and has a size.
    /// True when it has made one. After a refusal everything is as it was.
    package func prepare() throws(Refusal) -> Bool {
        try checkPlace()
        guard isThere else {
            try place.device.make(size: try sizeToMake()) { (device) throws(Refusal) in
                try place.format(device)
            }
            return true
        }
        try checkOwner(of: try place.open(readOnly: false))
        return false
    }

    /// Takes back what `prepare` has made.
    package func takeBack() { unlink(option.path) }

    /// Refuses a file in the datastore or below the mount, which would be cached in itself.
    func checkPlace() throws(Refusal) { try place.device.checkOutside(options) }

    /// Refuses a device that is not formatted, damaged, or another mount's.
    func checkOwner(of device: FileDevice) throws(Refusal) {
        let found = try place.header(of: device).owner
        try place.device.checkOwner(found, of: options, what: "cache")
    }

    /// Bytes of the file to be made, whole blocks.
    func sizeToMake() throws(Refusal) -> UInt64 { try place.device.sizeToMake(option.size) }
}
