import FuseServer
import Glibc
import Policy
import Syscalls

/// The command line of this program, which `forebay` and the keeper write:
///
///     forebay-server keep  BACKING MOUNTPOINT -o OPTIONS [KEPT] [--ready-fd N] [DIED]
///                    [--lock-fd N]
///     forebay-server serve BACKING MOUNTPOINT -o OPTIONS KEPT [--ready-fd N] [DIED]
///                    [--keeper-pid N]
///     forebay-server probe BACKING MOUNTPOINT -o OPTIONS --slots-fd N
///
///     KEPT  --fuse-fd N --slots-fd N --frames-fd N --root-fd N
///     DIED  --died trap|other|handover --died-at NANOSECONDS
///
/// A keeper that is given KEPT goes on with the mount of an earlier one. On the ready descriptor
/// goes one line: `ready`, or `error` and a text.
struct Invocation {
    enum Role: String {
        case keep
        case serve
        case probe
    }

    let role: Role
    let options: MountOptions
    private(set) var readyDescriptor: Int32?
    private(set) var fuseDescriptor: Int32 = -1
    private(set) var slotsDescriptor: Int32 = -1
    private(set) var framesDescriptor: Int32 = -1
    private(set) var rootDescriptor: Int32 = -1
    private(set) var lockDescriptor: Int32?
    private(set) var keeperPid: pid_t?
    private(set) var predecessor = Predecessor.none
    private(set) var diedAt: UInt64 = 0

    init(arguments: [String]) throws(Refusal) {
        guard arguments.count >= 3, let role = Role(rawValue: arguments[0]) else {
            throw .usage("forebay-server", "is started by forebay", hint: "use forebay mount")
        }
        self.role = role
        var texts: [String] = []
        var rest = arguments.dropFirst(3)
        var values: [(key: String, value: String)] = []
        while let key = rest.popFirst() {
            guard let value = rest.popFirst() else { throw .usage(key, "needs a value") }
            if key == "-o" { texts.append(value) } else { values.append((key, value)) }
        }
        options = try MountOptionsParser.parse(
            backing: arguments[1], mountpoint: arguments[2], options: texts)
        for (key, value) in values { try set(key, value) }
        let all = [fuseDescriptor, slotsDescriptor, framesDescriptor, rootDescriptor]
        let isComplete =
            switch role {
            case .keep: all.allSatisfy { $0 < 0 } || all.allSatisfy { $0 >= 0 }
            case .serve: all.allSatisfy { $0 >= 0 }
            case .probe: slotsDescriptor >= 0
            }
        guard isComplete else { throw .usage("forebay-server \(role)", "lacks a descriptor") }
    }

    /// A keeper before this one has mounted already.
    var isAdopted: Bool { role == .keep && fuseDescriptor >= 0 }

    private mutating func set(_ key: String, _ value: String) throws(Refusal) {
        switch key {
        case "--ready-fd": readyDescriptor = try Self.descriptor(key, value)
        case "--fuse-fd": fuseDescriptor = try Self.descriptor(key, value)
        case "--slots-fd": slotsDescriptor = try Self.descriptor(key, value)
        case "--frames-fd": framesDescriptor = try Self.descriptor(key, value)
        case "--root-fd": rootDescriptor = try Self.descriptor(key, value)
        case "--lock-fd": lockDescriptor = try Self.descriptor(key, value)
        case "--keeper-pid": keeperPid = pid_t(value)
        case "--died": predecessor = Life.Cause(rawValue: value)?.predecessor ?? .other
        case "--died-at": diedAt = UInt64(value) ?? 0
        default: throw .usage(key, "is not known")
        }
    }

    private static func descriptor(_ key: String, _ value: String) throws(Refusal) -> Int32 {
        guard let number = Int32(value), fcntl(number, F_GETFD) >= 0 else {
            throw .usage("\(key) \(value)", "is not an open descriptor")
        }
        return number
    }

    /// Writes the one line that whoever mounts waits for, and closes the descriptor.
    func report(_ line: String) {
        guard let readyDescriptor else { return }
        let text = line.replacing("\n", with: " ") + "\n"
        _ = text.withCString { write(readyDescriptor, $0, strlen($0)) }
        close(readyDescriptor)
    }
}
