/*
 * Preloaded into forebay-server (LD_PRELOAD), counts what costs: calls of malloc(3) and its kin, locks,
 * futex(2) by those that use it themselves, wakes of other threads, and Swift's changes of reference
 * counts. The counts of each process are 8-byte numbers in the file $CALL_COUNTS/PID, in the order of the
 * enumeration, current at every moment.
 *
 * The Swift runtime is inside the program, out of reach of a preloaded library; but it has hooks for
 * instruments. $CALL_COUNTS_HOOKS is five hexadecimal offsets in the program: of the flag that turns the
 * hooks on, of the pointer to the adapter for retains, of what that is for, of the adapter for releases,
 * which is a function and is made to jump, and of what that is for. The runtime's own adapters take
 * immortal objects for others. x86-64 only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ALLOCATIONS, LOCKS, FUTEXES, WAKES, RETAINS, RELEASES, KINDS };

/* What the C library calls its own: no search for it at run time, which would allocate. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static uint64_t before_start[KINDS];
static uint64_t *counts = before_start;

static void one_more(int kind) { __atomic_fetch_add(counts + kind, 1, __ATOMIC_RELAXED); }

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

static void *(*real_retain)(void *);
static void (*real_release)(void *);

static void *retain(void *object)
{
    one_more(RETAINS);
    return real_retain(object);
}

static void release(void *object)
{
    one_more(RELEASES);
    real_release(object);
}

static int note_base(struct dl_phdr_info *info, size_t size, void *base)
{
    (void)size;
    *(uintptr_t *)base = info->dlpi_addr;
    return 1; /* The first is the program. */
}

/* Makes a function jump to another one: movabs to %rax, jmp *%rax. */
static int divert(unsigned char *function, void (*target)(void *))
{
    uintptr_t page = (uintptr_t)function & ~(uintptr_t)4095;
    if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        return -1;
    memcpy(function, "\x48\xb8", 2);
    memcpy(function + 2, &target, 8);
    memcpy(function + 10, "\xff\xe0", 2);
    return mprotect((void *)page, 8192, PROT_READ | PROT_EXEC);
}

static void hook(const char *text)
{
    unsigned long at[5];
    uintptr_t base = 0;
    if (sscanf(text, "%lx %lx %lx %lx %lx", at, at + 1, at + 2, at + 3, at + 4) != 5)
        return;
    dl_iterate_phdr(note_base, &base);
    real_retain = (void *(*)(void *))(base + at[2]);
    real_release = (void (*)(void *))(base + at[4]);
    if (divert((unsigned char *)(base + at[3]), release) != 0)
        return;
    *(void **)(base + at[1]) = retain;
    *(volatile char *)(base + at[0]) = 1;
}

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("CALL_COUNTS"), *hooks = getenv("CALL_COUNTS_HOOKS");
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    const char *name = strrchr(path, '/');
    if (!folder || !name || strcmp(name, "/forebay-server") != 0)
        return;
    if (snprintf(path, sizeof path, "%s/%d", folder, getpid()) >= (int)sizeof path)
        return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return;
    if (ftruncate(file, 4096) == 0) {
        void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (page != MAP_FAILED)
            counts = page;
    }
    close(file);
    if (hooks)
        hook(hooks);
}

void *malloc(size_t size)
{
    one_more(ALLOCATIONS);
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    one_more(ALLOCATIONS);
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
    one_more(ALLOCATIONS);
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    one_more(ALLOCATIONS);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size)
{
    void *memory = memalign(alignment, size);
    if (!memory)
        return ENOMEM;
    *result = memory;
    return 0;
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    static int (*real)(pthread_mutex_t *);
    if (!real)
        real = next("pthread_mutex_lock");
    one_more(LOCKS);
    return real(mutex);
}

int sem_post(sem_t *semaphore)
{
    static int (*real)(sem_t *);
    if (!real)
        real = next("sem_post");
    one_more(WAKES);
    return real(semaphore);
}

/* Swift's Mutex calls futex(2) by this, when somebody else has the lock. */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    long a[6];
    va_list list;
    va_start(list, number);
    for (int index = 0; index < 6; index++)
        a[index] = va_arg(list, long);
    va_end(list);
    if (!real)
        real = next("syscall");
    if (number == SYS_futex)
        one_more(FUTEXES);
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
