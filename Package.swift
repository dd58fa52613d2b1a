// swift-tools-version: 6.2
import PackageDescription

// MARK: - Settings shared by every Swift target

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "forebay",
    products: [
        .executable(name: "forebay", targets: ["forebay"]),
        .executable(name: "forebay-server", targets: ["forebay-server"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: [
        // MARK: - C

        .systemLibrary(
            name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
        .systemLibrary(
            name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(
            name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(name: "CLinux"),
        .target(name: "CHash", linkerSettings: [.linkedLibrary("crypto")]),

        // MARK: - Leaves

        .target(name: "Syscalls", dependencies: ["CLinux"], swiftSettings: strict),
        .target(name: "Policy", swiftSettings: strict),
        .target(
            name: "Devices", dependencies: ["CLinux", "Syscalls", "Policy"], swiftSettings: strict),

        // MARK: - Data path

        .target(
            name: "ReadCache", dependencies: ["CLinux", "CHash", "Syscalls", "Policy"],
            swiftSettings: strict),
        .target(
            name: "FlashTier",
            dependencies: ["CLinux", "CHash", "Syscalls", "Policy", "Devices", "ReadCache"],
            swiftSettings: strict),
        .target(
            name: "Journal", dependencies: ["CLinux", "CHash", "Syscalls", "Policy", "Devices"],
            swiftSettings: strict),
        .target(
            name: "Passthrough", dependencies: ["CLinux", "CSQLite", "Syscalls", "Policy"],
            swiftSettings: strict),
        .target(
            name: "DataPath",
            dependencies: [
                "CLinux", "Syscalls", "Policy", "Devices", "ReadCache", "FlashTier", "Journal",
                "Passthrough",
            ],
            swiftSettings: strict),

        // MARK: - Control path and the FUSE side

        .target(
            name: "ControlPath",
            dependencies: [
                "CHash", "CLinux", "Syscalls", "Policy", "Devices", "ReadCache", "FlashTier",
                "Journal", "Passthrough", "DataPath",
            ],
            swiftSettings: strict),
        .target(
            name: "FuseServer",
            dependencies: [
                "CFuse", "CLinux", "Syscalls", "Policy", "ReadCache", "Passthrough", "DataPath",
                "ControlPath",
            ],
            swiftSettings: strict),
        .target(
            name: "Alerts",
            dependencies: [
                "CCurl", "CLinux", "Syscalls", "Policy", "ControlPath",
                .product(name: "TOMLKit", package: "TOMLKit"),
            ],
            swiftSettings: strict),

        // MARK: - Programs

        .executableTarget(
            name: "forebay-server",
            dependencies: [
                "CLinux", "Syscalls", "Policy", "ReadCache", "Passthrough", "DataPath",
                "ControlPath", "FuseServer",
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "forebay",
            dependencies: [
                "CLinux", "Syscalls", "Policy", "Devices", "ReadCache", "FlashTier", "Journal",
                "Passthrough", "ControlPath", "Alerts",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        // MARK: - Tests

        .target(name: "CPosix", path: "Tests/CPosix"),
        .target(
            name: "TestSupport", dependencies: ["CLinux", "Syscalls"], path: "Tests/TestSupport",
            swiftSettings: strict),
        .executableTarget(
            name: "test-datastore", dependencies: ["CFuse", "CLinux", "Syscalls", "TestSupport"],
            path: "Tests/TestDatastore", swiftSettings: strict),
        .testTarget(name: "PolicyTests", dependencies: ["Policy"], swiftSettings: strict),
        .testTarget(
            name: "ReadCacheTests",
            dependencies: ["ReadCache", "Syscalls", "Policy", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "FlashTierTests",
            dependencies: [
                "FlashTier", "Devices", "ReadCache", "Syscalls", "Policy", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "JournalTests",
            dependencies: [
                "Journal", "CLinux", "Devices", "Syscalls", "Policy", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "PassthroughTests",
            dependencies: ["Passthrough", "CLinux", "Syscalls", "Policy", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "DataPathTests",
            dependencies: [
                "DataPath", "Devices", "ReadCache", "FlashTier", "Passthrough", "CLinux",
                "Syscalls",
                "Policy", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ControlPathTests",
            dependencies: [
                "ControlPath", "CLinux", "DataPath", "Devices", "Journal", "Passthrough", "Policy",
                "Syscalls", "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "AlertsTests",
            dependencies: ["Alerts", "CLinux", "Syscalls", "Policy", "TestSupport", "forebay"],
            swiftSettings: strict),
        .testTarget(
            name: "FuseServerTests",
            dependencies: [
                "FuseServer", "CFuse", "DataPath", "Passthrough", "Policy", "Syscalls", "CLinux",
                "TestSupport",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ServerTests",
            dependencies: ["forebay-server", "FuseServer", "Policy", "Syscalls"],
            swiftSettings: strict),
        .testTarget(
            name: "CommandTests", dependencies: ["Syscalls", "TestSupport", "forebay"],
            swiftSettings: strict),
        .testTarget(
            name: "MountTests",
            dependencies: [
                "CLinux", "CPosix", "Devices", "FuseServer", "Policy", "Syscalls", "TestSupport",
                "forebay", "forebay-server", "test-datastore",
            ],
            swiftSettings: strict),
        .testTarget(name: "TidyTests", dependencies: ["Syscalls"], swiftSettings: strict),
    ]
)
