import CFuse
import Glibc
import Policy
import Testing

@testable import FuseServer

/// READ and WRITE, which are done without libfuse.
@Suite struct DirectTests {
    private enum Opcode {
        static let read: UInt32 = 15
        static let write: UInt32 = 16
        static let create: UInt32 = 35
    }

    /// Runs `body` with the node of a new empty file of a mount without any operation that libfuse
    /// could read or write with.
    private func withFile(_ body: (FakeKernel, UInt64) throws -> Void) throws {
        let mount = try FakeMount()
        let table = Operations.table()
        #expect(table.read == nil && table.write == nil)
        try mount.serve(table, isDirect: true) { _ in
            var create = fuse_create_in()
            create.flags = UInt32(O_RDWR)
            create.mode = 0o100_600
            mount.kernel.send(
                Opcode.create, unique: 4, TransportTests.bytes(of: create) + Array("f\0".utf8))
            let reply = try #require(mount.kernel.receive())
            try #require(reply.error == 0)
            let node = reply.body.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
            try body(mount.kernel, node)
        }
    }

    private func write(_ data: [UInt8], says size: Int, at offset: UInt64 = 0) -> [UInt8] {
        var argument = fuse_write_in()
        argument.size = UInt32(size)
        argument.offset = offset
        return TransportTests.bytes(of: argument) + data
    }

    private func read(_ size: Int, at offset: UInt64 = 0) -> [UInt8] {
        var argument = fuse_read_in()
        argument.size = UInt32(size)
        argument.offset = offset
        return TransportTests.bytes(of: argument)
    }

    @Test func whatIsWrittenIsRead() throws {
        try withFile { kernel, node in
            let data = (0..<70_000).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ $0 >> 8) }
            kernel.send(Opcode.write, unique: 6, node: node, write(data, says: data.count))
            let written = try #require(kernel.receive())
            #expect(written.error == 0 && written.unique == 6 && written.body.count == 8)
            let count = written.body.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
            #expect(count == UInt32(data.count))
            // From the datastore, from memory, in part, and beyond the end.
            for (index, (start, size)) in [(0, 65536), (0, 65536), (4095, 2), (69_999, 512)]
                .enumerated()
            {
                let unique = UInt64(10 + 2 * index)
                kernel.send(
                    Opcode.read, unique: unique, node: node, read(size, at: UInt64(start)))
                let reply = try #require(kernel.receive())
                #expect(reply.error == 0 && reply.unique == unique)
                #expect(reply.body == Array(data[start..<min(start + size, data.count)]))
            }
            kernel.send(Opcode.read, unique: 30, node: node, read(512, at: 70_000))
            #expect(kernel.receive()?.body == [])
        }
    }

    @Test func requestsThatAreShorterThanTheySayAreRefused() throws {
        try withFile { kernel, node in
            let short = Array(read(512).dropLast())
            kernel.send(Opcode.read, unique: 6, node: node, short)
            #expect(kernel.receive()?.error == EINVAL)
            kernel.send(Opcode.write, unique: 8, node: node, write([1, 2, 3], says: 4))
            #expect(kernel.receive()?.error == EINVAL)
            kernel.send(Opcode.write, unique: 10, node: node, Array(read(1).dropLast(8)))
            #expect(kernel.receive()?.error == EINVAL)
            kernel.send(Opcode.read, unique: 12, node: node, read(512))
            let reply = try #require(kernel.receive())
            #expect(reply.error == 0 && reply.body.isEmpty)
        }
    }

    @Test func oneThatCannotBeDoneIsAnswered() throws {
        try withFile { kernel, _ in
            // The root is a folder.
            kernel.send(Opcode.read, unique: 6, node: 1, read(512))
            #expect(kernel.receive()?.error == EISDIR)
            kernel.send(Opcode.write, unique: 8, node: 1, write([1], says: 1))
            #expect(kernel.receive()?.error == EISDIR)
        }
    }
}
