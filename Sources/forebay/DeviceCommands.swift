import ArgumentParser
import ControlPath
import Devices
import Policy

struct FormatCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "format", abstract: "Prepare a device for the flash tier or the journal.")

    @OptionGroup var device: DeviceChoice

    @Flag(help: "Even if the device holds something else, which is lost.")
    var force = false

    func execute() throws(Refusal) {
        switch try device.value() {
        case .flash(let path): try formatFlash(path)
        case .log(let path): try formatLog(path)
        }
    }

    private func formatFlash(_ path: String) throws(Refusal) {
        let place = FlashPlace(path)
        let device = try place.open(readOnly: false)
        let contents = try place.contents(of: device)
        try refuse(contents, path)
        try place.format(device)
        let owner = if case .ours(let owner) = contents { owner } else { "" }
        let before = owner.isEmpty ? "" : ", which was the cache of \(owner)"
        print("formatted '\(path)'\(before): \(ByteSize.readable(device.size)) of flash tier")
    }

    private func formatLog(_ path: String) throws(Refusal) {
        let place = LogPlace(path)
        let device = try place.open(readOnly: false)
        let contents = try place.contents(of: device)
        try refuse(contents, path)
        let owner = if case .ours(let owner) = contents { owner } else { "" }
        if !owner.isEmpty, !force {
            throw Refusal(
                "'\(path)'", "it is the log of \(owner)",
                hint: "'forebay check --log \(path)' tells what is in it, with --force that is"
                    + " lost")
        }
        try place.format(device)
        let before = owner.isEmpty ? "" : ", which was the log of \(owner)"
        print("formatted '\(path)'\(before): \(ByteSize.readable(device.size)) of log")
    }

    private func refuse(_ contents: DeviceContents, _ path: String) throws(Refusal) {
        guard case .foreign(let what) = contents, !force else { return }
        throw Refusal(
            "'\(path)'", "it holds \(what)",
            hint: "with --force that is lost and the device formatted")
    }
}

struct CheckCommand: Command {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Read all of a device; changes nothing.",
        discussion: "The device is one that no mount uses. Exit status 1 when it is damaged.")

    @OptionGroup var device: DeviceChoice

    @Option(
        help: ArgumentHelp(
            "The folder of the datastore: files of a log are told by their paths.",
            valueName: "folder"))
    var backing: String?

    @Flag(help: "Print one JSON object.")
    var json = false

    func execute() throws(Refusal) {
        switch try device.value() {
        case .flash(let path): try FlashReading(path).report(json: json)
        case .log(let path): try LogReading(path, backing: backing).report(json: json)
        }
    }
}

/// One device, and what for.
struct DeviceChoice: ParsableArguments {
    @Option(
        help: ArgumentHelp("The flash tier's: a block device or a file.", valueName: "device"))
    var flash: String?

    @Option(help: ArgumentHelp("The journal's, likewise.", valueName: "device"))
    var log: String?

    enum Value {
        case flash(String)
        case log(String)
    }

    func value() throws(Refusal) -> Value {
        switch (flash, log) {
        case (let path?, nil): return .flash(path)
        case (nil, let path?): return .log(path)
        default:
            throw .usage(
                "usage", "one device is needed", hint: "give --flash DEVICE or --log DEVICE")
        }
    }
}
