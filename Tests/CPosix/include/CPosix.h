#pragma once
// Calls that the tests make and that the Swift overlay of the C library hides. Every function
// forwards to one call and returns what it returns: -1 with errno set when it failed.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

extern const int CPosix_SEEK_DATA, CPosix_SEEK_HOLE;
extern const int CPosix_UTIME_NOW, CPosix_UTIME_OMIT;
extern const int CPosix_RENAME_NOREPLACE, CPosix_RENAME_EXCHANGE;
extern const int CPosix_AT_EMPTY_PATH, CPosix_AT_SYMLINK_FOLLOW;
extern const int CPosix_XATTR_CREATE, CPosix_XATTR_REPLACE;
extern const int CPosix_FALLOC_KEEP_SIZE, CPosix_FALLOC_PUNCH_HOLE, CPosix_FALLOC_ZERO_RANGE;
extern const int CPosix_FALLOC_COLLAPSE_RANGE, CPosix_FALLOC_INSERT_RANGE;
extern const int CPosix_MS_BIND, CPosix_MNT_DETACH;

/// Runs `body` on a thread of its own with these credentials, umask and working directory of its
/// own: the raw calls change the calling thread only, where the C library's change the process.
/// A user other than 0 loses all capabilities. Returns 0 or an error number.
int CPosix_run_as(uid_t user, gid_t group, const gid_t *groups, size_t group_count, mode_t mask,
                  void (*body)(void *), void *context);
int CPosix_chdir(const char *path);

uint64_t CPosix_makedev(unsigned major, unsigned minor);
int CPosix_setxattr(const char *path, const char *name, const void *value, size_t size, int flags);
ssize_t CPosix_getxattr(const char *path, const char *name, void *value, size_t size);
ssize_t CPosix_lgetxattr(const char *path, const char *name, void *value, size_t size);
int CPosix_lsetxattr(const char *path, const char *name, const void *value, size_t size,
                     int flags);
int CPosix_fsetxattr(int file, const char *name, const void *value, size_t size, int flags);
ssize_t CPosix_fgetxattr(int file, const char *name, void *value, size_t size);
ssize_t CPosix_listxattr(const char *path, char *names, size_t size);
int CPosix_removexattr(const char *path, const char *name);
/// The times' nanoseconds may be CPosix_UTIME_NOW or CPosix_UTIME_OMIT. A null `path` means the
/// file `directory` itself (futimens(3)).
int CPosix_utimens(int directory, const char *path, int64_t accessed_seconds,
                   int64_t accessed_nanoseconds, int64_t modified_seconds,
                   int64_t modified_nanoseconds, int flags);
ssize_t CPosix_splice(int from, int64_t *from_offset, int to, int64_t *to_offset, size_t count);
ssize_t CPosix_sendfile(int to, int from, int64_t *offset, size_t count);
ssize_t CPosix_pwritev(int file, const void *first, size_t first_count, const void *second,
                       size_t second_count, int64_t offset, int flags);
ssize_t CPosix_preadv(int file, void *first, size_t first_count, void *second,
                      size_t second_count, int64_t offset);
int CPosix_statfs(const char *path, uint64_t *blocks, uint64_t *files, uint64_t *name_length,
                  uint64_t *type);
/// One advisory lock of fcntl(2), F_SETLK; `kind` is F_RDLCK, F_WRLCK or F_UNLCK; `whole_file`
/// uses the open file's own lock (F_OFD_SETLK) instead of the process's.
int CPosix_lock(int file, int kind, int64_t start, int64_t length, int of_open_file);
int CPosix_faccessat(int directory, const char *path, int mode, int flags);
/// posix_spawn(3) of one program without arguments, waited for. Answers the program's exit status,
/// or -1 with errno when it could not be executed.
int CPosix_execute(const char *path);
/// Truncates or extends `path` under RLIMIT_FSIZE in a forked child that ignores SIGXFSZ, or writes
/// `count` bytes at `offset` when `count` is not 0. Answers the child's errno, 0 for success, and
/// in `*written` what the write returned; without `ignore_signal` a child that SIGXFSZ kills
/// answers -SIGXFSZ.
int CPosix_limited(const char *path, uint64_t limit, int64_t offset, size_t count,
                   int ignore_signal, int64_t *written);
/// recvmsg(2) of one message with the descriptors beside it (SCM_RIGHTS), at most `*count`; how many
/// came is in `*count` afterwards.
ssize_t CPosix_receive_descriptors(int socket, void *bytes, size_t size, int *descriptors,
                                   int *count);
