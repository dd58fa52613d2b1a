#pragma once
// Linux calls that the Swift overlay of the C library hides (they need _GNU_SOURCE, are variadic,
// or have no wrapper in the C library). Every function forwards to one call and returns what it
// returns: -1 with errno set when it failed. No logic lives here.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
// The C library's own Swift module leaves extended attributes out.
#include <sys/xattr.h>

/// What statx(2) tells of a file; times in seconds and nanoseconds, `blocks` in 512-byte units.
struct CLinux_attributes {
    uint64_t inode;
    uint64_t size;
    uint64_t blocks;
    uint64_t device;
    uint64_t special_device;
    uint32_t mode;
    uint32_t links;
    uint32_t uid;
    uint32_t gid;
    uint32_t block_size;
    uint32_t mask;
    int64_t accessed_seconds;
    int64_t modified_seconds;
    int64_t changed_seconds;
    int64_t born_seconds;
    uint32_t accessed_nanoseconds;
    uint32_t modified_nanoseconds;
    uint32_t changed_nanoseconds;
    uint32_t born_nanoseconds;
};

int CLinux_statx(int directory, const char *path, int flags, struct CLinux_attributes *attributes);
/// statx(2) with STATX_DIOALIGN: what direct I/O of a file asks of memory and of offsets, in bytes.
/// Both are 0 when the kernel (before 6.1) or the file system does not tell.
int CLinux_direct_alignment(int file, uint32_t *memory, uint32_t *offset);

/// A file handle needs a variable-length struct, which Swift cannot allocate in place.
/// `bytes` holds at least 128 bytes; `*length` comes back with the handle's length.
int CLinux_name_to_handle(int directory, const char *path, int flags, uint8_t *bytes,
                          uint32_t *length, int32_t *type, int32_t *mount_id);
int CLinux_open_by_handle(int mount, const uint8_t *bytes, uint32_t length, int32_t type,
                          int flags);

ssize_t CLinux_getdents(int directory, void *buffer, size_t size);
ssize_t CLinux_pwrite(int file, const void *bytes, size_t count, int64_t offset, int flags);
ssize_t CLinux_pread(int file, void *bytes, size_t count, int64_t offset);
int CLinux_renameat(int from, const char *name, int to, const char *new_name, unsigned flags);
int CLinux_fallocate(int file, int mode, int64_t offset, int64_t length);
ssize_t CLinux_copy_range(int from, int64_t *from_offset, int to, int64_t *to_offset, size_t count);
int64_t CLinux_seek(int file, int64_t offset, int whence);
int CLinux_syncfs(int file);
int CLinux_memfd(const char *name);
int CLinux_pidfd_open(int pid);
int CLinux_pidfd_signal(int pidfd, int signal);
void CLinux_name_thread(const char *name);
/// setpriority(2) for the calling thread, and for those that it makes later; root may raise it.
int CLinux_set_nice(int value);
/// SCHED_BATCH (sched(7)) for the calling thread, and for those that it makes later: one that is
/// woken does not take the processor from who woke it.
int CLinux_set_batch(void);
/// prctl(PR_SET_IO_FLUSHER): memory reclaim of this process must not wait for the file system that
/// it serves.
int CLinux_set_io_flusher(void);
int CLinux_open(const char *path, int flags, unsigned mode);
int CLinux_openat(int directory, const char *path, int flags, unsigned mode);
unsigned CLinux_device_major(uint64_t device);
unsigned CLinux_device_minor(uint64_t device);
int CLinux_drop_page_cache(int file, int64_t offset, int64_t length);
/// cachestat(2), Linux 6.5: how many pages of a whole file the page cache holds.
int CLinux_cached_pages(int file, uint64_t *pages);

// Constants that are macros with casts or hidden without _GNU_SOURCE.
extern const int CLinux_O_PATH, CLinux_O_TMPFILE, CLinux_O_DIRECT;
extern const int CLinux_AT_EMPTY_PATH;
extern const int CLinux_AT_STATX_FORCE_SYNC, CLinux_AT_STATX_DONT_SYNC;
extern const int CLinux_RWF_DSYNC, CLinux_RWF_SYNC;

/// One word of the calling thread's own: what the request that it works on may wait for. Swift has
/// no thread-local storage without a call to pthread_getspecific.
int CLinux_thread_word(void);
void CLinux_set_thread_word(int value);
/// A pointer of the calling thread's own: the request that it works on.
void *CLinux_thread_pointer(void);
void CLinux_set_thread_pointer(void *pointer);

/// getsockopt(SO_PEERCRED): the user of the process at the other end of a UNIX socket.
int CLinux_peer_user(int socket, uint32_t *uid);

/// A number of the calling thread's own, given out in the order of the first call: an index into
/// tables that have a place for each thread.
unsigned CLinux_thread_index(void);
int CLinux_dup(int file);
ssize_t CLinux_read_link(int file, char *buffer, size_t size);
int CLinux_link(int file, int directory, const char *name);
int CLinux_set_times(int file, const int64_t *seconds, const int64_t *nanoseconds);
int CLinux_change_owner(int file, uint32_t uid, uint32_t gid);
int CLinux_change_mode(int file, uint32_t mode);
extern const int64_t CLinux_UTIME_NOW, CLinux_UTIME_OMIT;
/// f_type and f_flags of fstatfs(2).
int CLinux_file_system(int file, uint64_t *type, uint64_t *flags);
ssize_t CLinux_getxattr(const char *path, const char *name, void *value, size_t size);
ssize_t CLinux_listxattr(const char *path, char *names, size_t size);
int CLinux_setxattr(const char *path, const char *name, const void *value, size_t size, int flags);
int CLinux_removexattr(const char *path, const char *name);

int CLinux_mount(const char *source, const char *target, const char *type, unsigned long flags,
                 const char *data);
int CLinux_unmount(const char *target, int flags);
/// fcntl(F_DUPFD_CLOEXEC): a copy whose number is at least `least`.
int CLinux_dup_above(int file, int least);
extern const int CLinux_MNT_DETACH;

/// ioctl(BLKSSZGET): bytes that a block device writes at once.
int CLinux_logical_block_size(int file, int *size);

/// sendmsg(2) of `count` bytes with descriptors beside them (SCM_RIGHTS of unix(7)), at most 8.
ssize_t CLinux_send_descriptors(int socket, const void *address, unsigned address_size,
                                const void *bytes, size_t count, const int *descriptors,
                                int descriptor_count);
/// prctl(PR_SET_PDEATHSIG): the signal that this process gets when its parent dies.
int CLinux_signal_at_parents_death(int signal);

/// A guard: a lock in memory that processes share, which a thread holds for as long as it lives.
/// The kernel passes it on when the thread ends (pthread_mutexattr_setrobust(3)), before it frees
/// what the process has. These answer 0 or an error number.
#define CLinux_GUARD_SIZE 64
int CLinux_guard_make(void *guard);
int CLinux_guard_hold(void *guard, unsigned milliseconds);
int CLinux_guard_release(void *guard);
/// Waits until the thread that holds a guard ends, and answers 1; 0 at once when nobody holds it.
int CLinux_guard_await_death(void *guard);
