#define _GNU_SOURCE
#include "CPosix.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

const int CPosix_SEEK_DATA = SEEK_DATA, CPosix_SEEK_HOLE = SEEK_HOLE;
const int CPosix_UTIME_NOW = UTIME_NOW, CPosix_UTIME_OMIT = UTIME_OMIT;
const int CPosix_RENAME_NOREPLACE = RENAME_NOREPLACE, CPosix_RENAME_EXCHANGE = RENAME_EXCHANGE;
const int CPosix_AT_EMPTY_PATH = AT_EMPTY_PATH, CPosix_AT_SYMLINK_FOLLOW = AT_SYMLINK_FOLLOW;
const int CPosix_XATTR_CREATE = XATTR_CREATE, CPosix_XATTR_REPLACE = XATTR_REPLACE;
const int CPosix_FALLOC_KEEP_SIZE = FALLOC_FL_KEEP_SIZE;
const int CPosix_FALLOC_PUNCH_HOLE = FALLOC_FL_PUNCH_HOLE;
const int CPosix_FALLOC_ZERO_RANGE = FALLOC_FL_ZERO_RANGE;
const int CPosix_FALLOC_COLLAPSE_RANGE = FALLOC_FL_COLLAPSE_RANGE;
const int CPosix_FALLOC_INSERT_RANGE = FALLOC_FL_INSERT_RANGE;
const int CPosix_MS_BIND = MS_BIND, CPosix_MNT_DETACH = MNT_DETACH;

struct run {
    uid_t user;
    gid_t group;
    const gid_t *groups;
    size_t group_count;
    mode_t mask;
    void (*body)(void *);
    void *context;
    int error;
};

static void *run(void *argument) {
    struct run *run = argument;
    // The umask and the working directory become the thread's own.
    if (unshare(CLONE_FS) != 0 || syscall(SYS_setgroups, run->group_count, run->groups) != 0 ||
        syscall(SYS_setresgid, run->group, run->group, run->group) != 0 ||
        syscall(SYS_setresuid, run->user, run->user, run->user) != 0) {
        run->error = errno;
        return NULL;
    }
    umask(run->mask);
    run->body(run->context);
    return NULL;
}

int CPosix_run_as(uid_t user, gid_t group, const gid_t *groups, size_t group_count, mode_t mask,
                  void (*body)(void *), void *context) {
    struct run arguments = {user, group, groups, group_count, mask, body, context, 0};
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, &arguments);
    if (error != 0) return error;
    pthread_join(thread, NULL);
    return arguments.error;
}

int CPosix_chdir(const char *path) { return chdir(path); }

uint64_t CPosix_makedev(unsigned major, unsigned minor) { return makedev(major, minor); }

int CPosix_setxattr(const char *path, const char *name, const void *value, size_t size,
                    int flags) {
    return setxattr(path, name, value, size, flags);
}

ssize_t CPosix_getxattr(const char *path, const char *name, void *value, size_t size) {
    return getxattr(path, name, value, size);
}

ssize_t CPosix_lgetxattr(const char *path, const char *name, void *value, size_t size) {
    return lgetxattr(path, name, value, size);
}

int CPosix_lsetxattr(const char *path, const char *name, const void *value, size_t size,
                     int flags) {
    return lsetxattr(path, name, value, size, flags);
}

int CPosix_fsetxattr(int file, const char *name, const void *value, size_t size, int flags) {
    return fsetxattr(file, name, value, size, flags);
}

ssize_t CPosix_fgetxattr(int file, const char *name, void *value, size_t size) {
    return fgetxattr(file, name, value, size);
}

ssize_t CPosix_listxattr(const char *path, char *names, size_t size) {
    return listxattr(path, names, size);
}

int CPosix_removexattr(const char *path, const char *name) { return removexattr(path, name); }

int CPosix_utimens(int directory, const char *path, int64_t accessed_seconds,
                   int64_t accessed_nanoseconds, int64_t modified_seconds,
                   int64_t modified_nanoseconds, int flags) {
    struct timespec times[2] = {{accessed_seconds, accessed_nanoseconds},
                                {modified_seconds, modified_nanoseconds}};
    if (path == NULL) return futimens(directory, times);
    return utimensat(directory, path, times, flags);
}

ssize_t CPosix_splice(int from, int64_t *from_offset, int to, int64_t *to_offset, size_t count) {
    return splice(from, from_offset, to, to_offset, count, 0);
}

ssize_t CPosix_sendfile(int to, int from, int64_t *offset, size_t count) {
    return sendfile(to, from, offset, count);
}

ssize_t CPosix_pwritev(int file, const void *first, size_t first_count, const void *second,
                       size_t second_count, int64_t offset, int flags) {
    struct iovec vectors[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
    return pwritev2(file, vectors, 2, offset, flags);
}

ssize_t CPosix_preadv(int file, void *first, size_t first_count, void *second,
                      size_t second_count, int64_t offset) {
    struct iovec vectors[2] = {{first, first_count}, {second, second_count}};
    return preadv(file, vectors, 2, offset);
}

int CPosix_statfs(const char *path, uint64_t *blocks, uint64_t *files, uint64_t *name_length,
                  uint64_t *type) {
    struct statfs status;
    if (statfs(path, &status) != 0) return -1;
    *blocks = status.f_blocks * (uint64_t)status.f_frsize;
    *files = status.f_files;
    *name_length = (uint64_t)status.f_namelen;
    *type = (uint64_t)status.f_type;
    return 0;
}

int CPosix_lock(int file, int kind, int64_t start, int64_t length, int of_open_file) {
    struct flock lock = {.l_type = (short)kind, .l_whence = SEEK_SET, .l_start = start,
                         .l_len = length};
    return fcntl(file, of_open_file ? F_OFD_SETLK : F_SETLK, &lock);
}

int CPosix_faccessat(int directory, const char *path, int mode, int flags) {
    return faccessat(directory, path, mode, flags);
}

int CPosix_execute(const char *path) {
    char *const arguments[] = {(char *)path, NULL};
    pid_t child;
    int error = posix_spawn(&child, path, NULL, NULL, arguments, environ);
    if (error != 0) {
        errno = error;
        return -1;
    }
    int status;
    if (waitpid(child, &status, 0) < 0) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int CPosix_limited(const char *path, uint64_t limit, int64_t offset, size_t count,
                   int ignore_signal, int64_t *written) {
    // The child of a process with threads may only make calls that are safe in a signal handler;
    // these are. What it found comes back through shared memory.
    int64_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *bytes = calloc(1, count + 1);
    if (shared == MAP_FAILED || bytes == NULL) return ENOMEM;
    pid_t child = fork();
    if (child == 0) {
        struct rlimit size = {limit, limit};
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGXFSZ, ignore_signal ? SIG_IGN : SIG_DFL);
        setrlimit(RLIMIT_FSIZE, &size);
        int file = open(path, O_WRONLY);
        int64_t result = count == 0 ? ftruncate(file, offset) : pwrite(file, bytes, count, offset);
        shared[0] = result;
        shared[1] = result < 0 ? errno : 0;
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    int error = WIFSIGNALED(status) ? -WTERMSIG(status) : (int)shared[1];
    *written = shared[0];
    munmap(shared, 4096);
    free(bytes);
    return error;
}

ssize_t CPosix_receive_descriptors(int socket, void *bytes, size_t size, int *descriptors,
                                   int *count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.space,
        .msg_controllen = sizeof(control.space),
    };
    int capacity = *count;
    *count = 0;
    ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (length < 0) return length;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t number = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < number && *count < capacity; index++) {
            memcpy(&descriptors[*count], CMSG_DATA(header) + index * sizeof(int), sizeof(int));
            *count += 1;
        }
    }
    return length;
}
