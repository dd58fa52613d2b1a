#define _GNU_SOURCE
#include "CLinux.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

const int CLinux_O_PATH = O_PATH, CLinux_O_TMPFILE = O_TMPFILE, CLinux_O_DIRECT = O_DIRECT;
const int CLinux_AT_EMPTY_PATH = AT_EMPTY_PATH;
const int CLinux_AT_STATX_FORCE_SYNC = AT_STATX_FORCE_SYNC;
const int CLinux_AT_STATX_DONT_SYNC = AT_STATX_DONT_SYNC;
const int CLinux_RWF_DSYNC = RWF_DSYNC, CLinux_RWF_SYNC = RWF_SYNC;

int CLinux_statx(int directory, const char *path, int flags, struct CLinux_attributes *a) {
    struct statx s;
    if (statx(directory, path, flags, STATX_BASIC_STATS | STATX_BTIME, &s) < 0) return -1;
    *a = (struct CLinux_attributes){
        .inode = s.stx_ino, .size = s.stx_size, .blocks = s.stx_blocks,
        .device = makedev(s.stx_dev_major, s.stx_dev_minor),
        .special_device = makedev(s.stx_rdev_major, s.stx_rdev_minor),
        .mode = s.stx_mode, .links = s.stx_nlink, .uid = s.stx_uid, .gid = s.stx_gid,
        .block_size = s.stx_blksize, .mask = s.stx_mask,
        .accessed_seconds = s.stx_atime.tv_sec, .accessed_nanoseconds = s.stx_atime.tv_nsec,
        .modified_seconds = s.stx_mtime.tv_sec, .modified_nanoseconds = s.stx_mtime.tv_nsec,
        .changed_seconds = s.stx_ctime.tv_sec, .changed_nanoseconds = s.stx_ctime.tv_nsec,
        .born_seconds = s.stx_btime.tv_sec, .born_nanoseconds = s.stx_btime.tv_nsec,
    };
    return 0;
}

// The kernel's struct statx, as far as it is needed here: the C library's may end before it.
#define CLINUX_STATX_DIOALIGN 0x2000U
struct direct_statx {
    uint32_t mask;
    uint8_t unused[148];
    uint32_t memory_alignment;
    uint32_t offset_alignment;
    uint8_t rest[96];
};
_Static_assert(sizeof(struct direct_statx) == 256, "the kernel's struct statx has 256 bytes");

int CLinux_direct_alignment(int file, uint32_t *memory, uint32_t *offset) {
    struct direct_statx s;
    memset(&s, 0, sizeof s);
    if (syscall(SYS_statx, file, "", AT_EMPTY_PATH, CLINUX_STATX_DIOALIGN, &s) < 0) return -1;
    int is_told = (s.mask & CLINUX_STATX_DIOALIGN) != 0;
    *memory = is_told ? s.memory_alignment : 0;
    *offset = is_told ? s.offset_alignment : 0;
    return 0;
}

union handle_space {
    struct file_handle handle;
    char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

int CLinux_name_to_handle(int directory, const char *path, int flags, uint8_t *bytes,
                          uint32_t *length, int32_t *type, int32_t *mount_id) {
    union handle_space u;
    int mount = 0;
    u.handle.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(directory, path, &u.handle, &mount, flags) < 0) return -1;
    memcpy(bytes, u.handle.f_handle, u.handle.handle_bytes);
    *length = u.handle.handle_bytes;
    *type = u.handle.handle_type;
    *mount_id = mount;
    return 0;
}

int CLinux_open_by_handle(int mount, const uint8_t *bytes, uint32_t length, int32_t type,
                          int flags) {
    union handle_space u;
    if (length > MAX_HANDLE_SZ) { errno = ESTALE; return -1; }
    u.handle.handle_bytes = length;
    u.handle.handle_type = type;
    memcpy(u.handle.f_handle, bytes, length);
    return open_by_handle_at(mount, &u.handle, flags);
}

ssize_t CLinux_getdents(int directory, void *buffer, size_t size) {
    return syscall(SYS_getdents64, directory, buffer, size);
}
ssize_t CLinux_pwrite(int file, const void *bytes, size_t count, int64_t offset, int flags) {
    if (flags == 0) return pwrite(file, bytes, count, offset);
    struct iovec vector = {(void *)bytes, count};
    return pwritev2(file, &vector, 1, offset, flags);
}
ssize_t CLinux_pread(int file, void *bytes, size_t count, int64_t offset) {
    return pread(file, bytes, count, offset);
}
int CLinux_renameat(int from, const char *name, int to, const char *new_name, unsigned flags) {
    return flags ? renameat2(from, name, to, new_name, flags) : renameat(from, name, to, new_name);
}
int CLinux_fallocate(int file, int mode, int64_t offset, int64_t length) {
    return fallocate(file, mode, offset, length);
}
ssize_t CLinux_copy_range(int from, int64_t *from_offset, int to, int64_t *to_offset,
                          size_t count) {
    off64_t source = *from_offset, target = *to_offset;
    ssize_t done = copy_file_range(from, &source, to, &target, count, 0);
    *from_offset = source;
    *to_offset = target;
    return done;
}
int64_t CLinux_seek(int file, int64_t offset, int whence) { return lseek(file, offset, whence); }
int CLinux_syncfs(int file) { return syncfs(file); }
int CLinux_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC); }
int CLinux_pidfd_open(int pid) { return syscall(SYS_pidfd_open, pid, 0); }
int CLinux_pidfd_signal(int pidfd, int number) {
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}
void CLinux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
int CLinux_set_nice(int value) { return setpriority(PRIO_PROCESS, (id_t)gettid(), value); }
int CLinux_set_batch(void) {
    struct sched_param parameters = {0};
    return sched_setscheduler(0, SCHED_BATCH, &parameters);
}
int CLinux_set_io_flusher(void) { return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); }
int CLinux_open(const char *path, int flags, unsigned mode) { return open(path, flags, mode); }
int CLinux_openat(int directory, const char *path, int flags, unsigned mode) {
    return openat(directory, path, flags, mode);
}
unsigned CLinux_device_major(uint64_t device) { return major(device); }
unsigned CLinux_device_minor(uint64_t device) { return minor(device); }
int CLinux_drop_page_cache(int file, int64_t offset, int64_t length) {
    return posix_fadvise(file, offset, length, POSIX_FADV_DONTNEED);
}
int CLinux_cached_pages(int file, uint64_t *pages) {
    // The kernel's structs and number, which the C library's headers may lack.
    const uint64_t whole[2] = {0, 0};
    struct { uint64_t cached, dirty, written_back, evicted, lately_evicted; } counts;
    if (syscall(451, file, whole, &counts, 0) < 0) return -1;
    *pages = counts.cached;
    return 0;
}

static __thread int thread_word;
static __thread void *thread_pointer;
int CLinux_thread_word(void) { return thread_word; }
void CLinux_set_thread_word(int value) { thread_word = value; }
void *CLinux_thread_pointer(void) { return thread_pointer; }
void CLinux_set_thread_pointer(void *pointer) { thread_pointer = pointer; }

int CLinux_peer_user(int socket, uint32_t *uid) {
    struct ucred credentials;
    socklen_t size = sizeof(credentials);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return -1;
    *uid = credentials.uid;
    return 0;
}

static unsigned thread_count;
static __thread unsigned thread_number;
unsigned CLinux_thread_index(void) {
    if (thread_number == 0) thread_number = __atomic_add_fetch(&thread_count, 1, __ATOMIC_RELAXED);
    return thread_number - 1;
}
int CLinux_dup(int file) { return fcntl(file, F_DUPFD_CLOEXEC, 0); }
ssize_t CLinux_read_link(int file, char *buffer, size_t size) {
    return readlinkat(file, "", buffer, size);
}
int CLinux_link(int file, int directory, const char *name) {
    return linkat(file, "", directory, name, AT_EMPTY_PATH);
}
const int64_t CLinux_UTIME_NOW = UTIME_NOW, CLinux_UTIME_OMIT = UTIME_OMIT;
int CLinux_set_times(int file, const int64_t *seconds, const int64_t *nanoseconds) {
    struct timespec times[2] = {{seconds[0], nanoseconds[0]}, {seconds[1], nanoseconds[1]}};
    return utimensat(file, "", times, AT_EMPTY_PATH);
}
int CLinux_change_owner(int file, uint32_t uid, uint32_t gid) {
    return fchownat(file, "", uid, gid, AT_EMPTY_PATH);
}
/// fchmod(2) refuses descriptors opened with O_PATH, so the way leads through /proc.
int CLinux_change_mode(int file, uint32_t mode) {
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return chmod(path, mode);
}
int CLinux_file_system(int file, uint64_t *type, uint64_t *flags) {
    struct statfs status;
    if (fstatfs(file, &status) < 0) return -1;
    *type = (uint64_t)status.f_type & 0xffffffff;
    *flags = status.f_flags;
    return 0;
}
ssize_t CLinux_getxattr(const char *path, const char *name, void *value, size_t size) {
    return getxattr(path, name, value, size);
}
ssize_t CLinux_listxattr(const char *path, char *names, size_t size) {
    return listxattr(path, names, size);
}
int CLinux_setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    return setxattr(path, name, value, size, flags);
}
int CLinux_removexattr(const char *path, const char *name) { return removexattr(path, name); }


int CLinux_mount(const char *source, const char *target, const char *type, unsigned long flags,
                 const char *data) {
    return mount(source, target, type, flags, data);
}
int CLinux_unmount(const char *target, int flags) { return umount2(target, flags); }
int CLinux_dup_above(int file, int least) { return fcntl(file, F_DUPFD_CLOEXEC, least); }
const int CLinux_MNT_DETACH = MNT_DETACH;

int CLinux_logical_block_size(int file, int *size) { return ioctl(file, BLKSSZGET, size); }

ssize_t CLinux_send_descriptors(int socket, const void *address, unsigned address_size,
                                const void *bytes, size_t count, const int *descriptors,
                                int descriptor_count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } control = {0};
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {
        .msg_name = (void *)address, .msg_namelen = address_size, .msg_iov = &vector,
        .msg_iovlen = 1,
    };
    if (descriptor_count < 0 || descriptor_count > 8) {
        errno = EINVAL;
        return -1;
    }
    if (descriptor_count > 0) {
        size_t size = (size_t)descriptor_count * sizeof(int);
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(header), descriptors, size);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}
int CLinux_signal_at_parents_death(int number) { return prctl(PR_SET_PDEATHSIG, number, 0, 0, 0); }

_Static_assert(sizeof(pthread_mutex_t) <= CLinux_GUARD_SIZE, "a guard has room for a mutex");

int CLinux_guard_make(void *guard) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    int code = pthread_mutex_init(guard, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return code;
}

// What a holder that died leaves has no state to repair: the lock is all there is.
static int taken(pthread_mutex_t *mutex, int code) {
    return code == EOWNERDEAD ? pthread_mutex_consistent(mutex) : code;
}

int CLinux_guard_hold(void *guard, unsigned milliseconds) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += milliseconds / 1000;
    time.tv_nsec += milliseconds % 1000 * 1000000L;
    if (time.tv_nsec >= 1000000000L) time.tv_sec++, time.tv_nsec -= 1000000000L;
    return taken(guard, pthread_mutex_clocklock(guard, CLOCK_MONOTONIC, &time));
}

int CLinux_guard_release(void *guard) { return pthread_mutex_unlock(guard); }

int CLinux_guard_await_death(void *guard) {
    int code = pthread_mutex_trylock(guard);
    if (code != EBUSY) {
        if (taken(guard, code) == 0) pthread_mutex_unlock(guard);
        return 0;
    }
    if (taken(guard, pthread_mutex_lock(guard)) == 0) pthread_mutex_unlock(guard);
    return 1;
}
