import CFuse
import CLinux
import Glibc
import Syscalls

/// Operations on open files.
func addFileOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.open = { request, node, info in
        perform(request, .open) { (fileSystem, request) throws(Errno) in
            guard let info else { throw .invalid }
            // The kernel gives the offsets of appends, and wants no direct I/O of the folder.
            let flags = info.pointee.flags & (O_ACCMODE | O_TRUNC)
            let file = try fileSystem.nodes.open(node, flags: flags)
            info.pointee.fh = UInt64(file.raw)
            info.pointee.direct_io = 1
            if fuse_reply_open(request, info) == 0 { _ = file.release() }
        }
    }
    operations.read = { request, _, size, offset, info in
        perform(request, .read) { (fileSystem, request) throws(Errno) in
            try fileSystem.read(request, try descriptor(info), size, offset)
        }
    }
    operations.write = { request, _, bytes, size, offset, info in
        perform(request, .write) { (fileSystem, request) throws(Errno) in
            let flags = info?.pointee.flags ?? 0
            let file = try descriptor(info)
            try fileSystem.write(
                request, file,
                UnsafeRawBufferPointer(
                    start: bytes, count: size), offset, flags)
        }
    }
    operations.flush = { request, _, _ in
        perform(request, .flush) { (_, request) throws(Errno) in fuse_reply_err(request, 0) }
    }
    operations.release = { request, _, info in
        perform(request, .release) { (_, request) throws(Errno) in
            close(try descriptor(info))
            fuse_reply_err(request, 0)
        }
    }
    operations.fsync = { request, _, dataOnly, info in
        perform(request, .fsync) { (fileSystem, request) throws(Errno) in
            let file = try descriptor(info)
            try call { dataOnly != 0 ? fdatasync(file) : fsync(file) }
            try fileSystem.faults.unflushed.flushed(file)
            fuse_reply_err(request, 0)
        }
    }
    addRangeOperations(&operations)
}

private func addRangeOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.fallocate = { request, _, mode, offset, length, info in
        perform(request, .fallocate) { (_, request) throws(Errno) in
            let file = try descriptor(info)
            try call { CLinux_fallocate(file, mode, Int64(offset), Int64(length)) }
            fuse_reply_err(request, 0)
        }
    }
    operations.lseek = { request, _, offset, whence, info in
        perform(request, .lseek) { (_, request) throws(Errno) in
            let file = try descriptor(info)
            let found = try call { CLinux_seek(file, Int64(offset), whence) }
            fuse_reply_lseek(request, off_t(found))
        }
    }
    operations.copy_file_range = { request, _, from, source, _, to, target, length, _ in
        perform(request, .copyFileRange) { (_, request) throws(Errno) in
            let (input, output) = (try descriptor(source), try descriptor(target))
            var (fromOffset, toOffset) = (Int64(from), Int64(to))
            let count = try call {
                CLinux_copy_range(input, &fromOffset, output, &toOffset, length)
            }
            fuse_reply_write(request, count)
        }
    }
}

extension FileSystem {
    fileprivate func read(
        _ request: fuse_req_t, _ file: Int32, _ size: Int, _ offset: off_t
    ) throws(Errno) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 64)
        defer { buffer.deallocate() }
        var done = 0
        // Short reads mean the end of the file to the kernel.
        while done < size {
            let space = buffer.baseAddress.map { $0 + done }
            let count = try call {
                CLinux_pread(file, space, size - done, Int64(offset) + Int64(done))
            }
            if count == 0 { break }
            done += count
        }
        faults.transfer(read: done)
        fuse_reply_buf(request, buffer.baseAddress?.assumingMemoryBound(to: CChar.self), done)
    }

    fileprivate func write(
        _ request: fuse_req_t, _ file: Int32, _ bytes: UnsafeRawBufferPointer, _ offset: off_t,
        _ flags: Int32
    ) throws(Errno) {
        // O_SYNC has the bit of O_DSYNC in it.
        let isStable = flags & O_DSYNC != 0
        faults.transfer(written: bytes.count, isStable: isStable)
        let writeFlags =
            flags & O_SYNC == O_SYNC ? CLinux_RWF_SYNC : isStable ? CLinux_RWF_DSYNC : 0
        let count = try faults.unflushed.write(file, bytes, Int64(offset), isStable: isStable) {
            () throws(Errno) in
            try call {
                CLinux_pwrite(file, bytes.baseAddress, bytes.count, Int64(offset), writeFlags)
            }
        }
        fuse_reply_write(request, count)
    }
}
