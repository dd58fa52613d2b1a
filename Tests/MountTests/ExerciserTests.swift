import CLinux
import Glibc
import Syscalls
import TestSupport
import Testing

extension PosixTests {
    /// Files under every kind of access at once, for as long as it takes to find what goes wrong
    /// rarely. FOREBAY_TEST_SEED repeats a run, FOREBAY_TEST_LONG=1 makes it ten times longer.
    @Suite struct ExerciserTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        private var isLong: Bool { getenv("FOREBAY_TEST_LONG") != nil }

        /// Four files, each in a thread of its own, with everything that can be done to a file.
        @Test func ownFiles() throws {
            var seeds = SplitMix64.announced()
            let all = (0..<4).map { _ in seeds.next() }
            let count = isLong ? 10_000 : 800
            let (path, place) = (folder.path, Place.current)
            try concurrently(4) { number in
                try Place.$current.withValue(place) {
                    let kind = Exerciser.Kind(
                        unaligned: place?.isForebay == true, range: 0..<150 * 4096)
                    var exerciser = try Exerciser(
                        "\(path)/file-\(number)", kind: kind, seed: all[number])
                    try exerciser.run(count)
                }
            }
        }

        /// Four threads on parts of one file that meet inside of blocks.
        @Test func sharedFile() throws {
            var seeds = SplitMix64.announced()
            let all = (0..<4).map { _ in seeds.next() }
            let size = 100_003
            let path = try folder.file("file", pattern(4 * size))
            let count = isLong ? 10_000 : 800
            try concurrently(4) { number in
                let kind = Exerciser.Kind(
                    mixed: false, resizing: false, unaligned: false,
                    range: number * size..<(number + 1) * size)
                var exerciser = try Exerciser(path, kind: kind, seed: all[number])
                try exerciser.run(count)
            }
        }

        /// The same with O_DIRECT and maps: the kernel promises nothing where they meet in a page,
        /// so that the parts end with pages.
        @Test func sharedFileMixed() throws {
            var seeds = SplitMix64.announced()
            let all = (0..<4).map { _ in seeds.next() }
            let size = 25 * 4096
            let path = try folder.file("file", pattern(4 * size))
            let count = isLong ? 10_000 : 800
            let place = Place.current
            try concurrently(4) { number in
                let kind = Exerciser.Kind(
                    resizing: false, unaligned: place?.isForebay == true,
                    range: number * size..<(number + 1) * size)
                var exerciser = try Exerciser(path, kind: kind, seed: all[number])
                try exerciser.run(count)
            }
        }
    }
}

extension PosixTests {
    /// fio with verification, by every engine that programs use.
    @Suite struct VerifiedLoadTests {
        let folder: TestFolder
        init() throws { folder = try TestFolder() }

        private func fio(_ arguments: [String]) throws {
            var seeds = SplitMix64.announced()
            let seed = seeds.next() >> 33
            let size = getenv("FOREBAY_TEST_LONG") == nil ? "8M" : "256M"
            let common = [
                "--directory=\(folder.path)", "--size=\(size)", "--rw=randwrite",
                "--bsrange=512-64k", "--verify=crc32c", "--verify_fatal=1", "--randseed=\(seed)",
                "--iodepth=16", "--fallocate=none", "--output-format=terse",
            ]
            // fio leaves files about failed verification in its working directory.
            try ChildProcess.check(
                "sh", ["-c", "cd \"$0\" && exec fio \"$@\"", folder.path] + common + arguments,
                limit: 300)
        }

        @Test(arguments: ["psync", "libaio", "io_uring", "mmap", "pvsync2"])
        func engines(engine: String) throws {
            try fio(["--ioengine=\(engine)", "--numjobs=2", "--name=buffered"])
            guard engine != "mmap" else { return }
            try fio(["--ioengine=\(engine)", "--numjobs=2", "--direct=1", "--name=direct"])
        }

        /// All of them on parts of one file at the same time.
        @Test func enginesOnOneFile() throws {
            _ = try folder.file("shared", pattern(4096))
            try must { truncate(folder("shared"), 32 << 20) }
            // The map first: fio subtracts an offset from its places twice.
            let jobs: [(engine: String, direct: Int)] = [
                ("mmap", 0), ("psync", 0), ("libaio", 1), ("io_uring", 1), ("io_uring", 0),
            ]
            var arguments: [String] = []
            for (number, job) in jobs.enumerated() {
                arguments += [
                    "--name=job\(number)", "--filename=shared", "--offset=\(number * 6)M",
                    "--size=6M", "--ioengine=\(job.engine)", "--direct=\(job.direct)",
                ]
            }
            try fio(arguments)
        }
    }
}
