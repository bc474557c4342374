/*
 * Layer 1: POSIX and Linux. Memory comes through the libc's mmap family. Systems other than Linux
 * need to provide POSIX.1-2024 only; tests/check_posix.sh checks that.
 */
#if defined(__linux__)
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#endif

#include "os.h"

#include "atomic.h"
#include "os_deferred.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/random.h> /* getentropy; POSIX declares it in unistd.h */
#endif

#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif
#if !defined(MAP_NORESERVE)
#define MAP_NORESERVE 0
#endif

/* Mappings tried before address space is over-reserved: anywhere, just below that one, and at an
 * aligned place that has room. */
#define ALIGN_ATTEMPTS 3

/* How long jm_os_pause sleeps. */
#define PAUSE_SLEEP_STEP_NS 20000L
#define PAUSE_SLEEP_MAX_NS 1000000L

/* Process state: written before the first runtime exists. The first caller that asks for the page
 * size sets it. */
static struct {
    void (*thread_exit)(void);
    pthread_key_t exit_key;
    _Atomic(size_t) page_size;
} os;

/* A thread that is cancelled inside the library would never release what it holds there. Returns
 * the previous state. */
static int forbid_cancellation(void)
{
    int state;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    return state;
}

static void restore_cancellation(int state)
{
    (void)pthread_setcancelstate(state, &state);
}

void jm_os_complain(const char *line)
{
    /* One call, so that lines of several threads do not mix. */
    struct iovec pieces[] = {{(void *)(uintptr_t)line, strlen(line)}, {"\n", 1}};
    int error = errno;
    int state = forbid_cancellation();
    if (writev(STDERR_FILENO, pieces, 2) < 0) {
        errno = error; /* no way left to report it */
    }
    restore_cancellation(state);
}

/* True if the process has privileges that its starter lacks. */
static bool is_privileged(void)
{
#if defined(__linux__)
    return getauxval(AT_SECURE) != 0;
#else
    return geteuid() != getuid() || getegid() != getgid();
#endif
}

const char *jm_os_environment(const char *name)
{
    return is_privileged() ? NULL : getenv(name);
}

size_t jm_os_page_size(void)
{
    size_t size = jm_load_relaxed(&os.page_size);
    if (JM_UNLIKELY(size == 0)) {
        size = (size_t)sysconf(_SC_PAGESIZE);
        jm_store_relaxed(&os.page_size, size);
    }
    return size;
}

static void *map_at(void *hint, size_t size, int protection, int flags)
{
    void *address = mmap(hint, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return address == MAP_FAILED ? NULL : address;
}

bool jm_os_unmap(const struct jm_os_extent *extent)
{
    return munmap(extent->address, extent->size) == 0;
}

void jm_os_discard(const struct jm_os_extent *extent)
{
    if (!jm_os_unmap(extent)) {
        jm_os_deferred_keep(extent);
    }
}

/* Reserves more than is needed and opens the aligned part. The rest is never trimmed. */
static void *map_within_reservation(size_t size, size_t alignment, struct jm_os_extent *extent)
{
    extent->size = size + alignment;
    extent->address = map_at(NULL, extent->size, PROT_NONE, MAP_NORESERVE);
    if (extent->address == NULL) {
        return NULL;
    }
    void *address = (void *)jm_align_up((uintptr_t)extent->address, alignment);
    if (mprotect(address, size, PROT_READ | PROT_WRITE) != 0) {
        jm_os_discard(extent);
        return NULL;
    }
    return address;
}

/* An aligned address with room for `size` bytes, which another thread may take. NULL: none. */
static void *find_place(size_t size, size_t alignment)
{
    void *address = map_at(NULL, size + alignment, PROT_NONE, MAP_NORESERVE);
    if (address == NULL) {
        return NULL;
    }
    jm_os_discard(&(struct jm_os_extent){address, size + alignment});
    return (void *)jm_align_up((uintptr_t)address, alignment);
}

/* The OS may choose the same gap each time, although it has no aligned place of that size.
 * Over-reserving is the last resort, because an extent larger than the request cannot be resized or
 * serve another block. */
void *jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent)
{
    void *hint = NULL;
    if (!jm_os_deferred_retry(jm_os_unmap)) {
        return NULL;
    }
    for (int attempt = 0; attempt < ALIGN_ATTEMPTS; attempt++) {
        void *address = map_at(hint, size, PROT_READ | PROT_WRITE, 0);
        if (address == NULL) {
            return NULL;
        }
        uintptr_t excess = (uintptr_t)address & (alignment - 1);
        if (excess == 0) {
            *extent = (struct jm_os_extent){address, size};
            return address;
        }
        jm_os_discard(&(struct jm_os_extent){address, size});
        void *below = (void *)((uintptr_t)address - excess);
        hint = attempt == 0 ? below : find_place(size, alignment);
    }
    return map_within_reservation(size, alignment, extent);
}

void *jm_os_reserve(size_t size)
{
    return jm_os_deferred_retry(jm_os_unmap) ? map_at(NULL, size, PROT_NONE, MAP_NORESERVE) : NULL;
}

bool jm_os_commit(void *address, size_t size)
{
    return mprotect(address, size, PROT_READ | PROT_WRITE) == 0;
}

void jm_os_avoid_huge_pages(void *address, size_t size)
{
#if defined(MADV_NOHUGEPAGE)
    (void)madvise(address, size, MADV_NOHUGEPAGE); /* a kernel without huge pages refuses */
#else
    (void)address, (void)size;
#endif
}

void jm_os_prefer_huge_pages(void *address, size_t size)
{
#if defined(MADV_HUGEPAGE)
    (void)madvise(address, size, MADV_HUGEPAGE); /* as above */
#else
    (void)address, (void)size;
#endif
}

void jm_os_split_huge_page(void *page)
{
#if defined(__linux__) && defined(MADV_FREE)
    (void)madvise(page, jm_os_page_size(), MADV_FREE); /* advice on a part splits the whole */
#else
    (void)page;
#endif
}

void jm_os_populate(void *address, size_t size)
{
    jm_os_prefer_huge_pages(address, size);
#if defined(MADV_POPULATE_WRITE)
    (void)madvise(address, size, MADV_POPULATE_WRITE); /* an older kernel refuses */
#else
    (void)address, (void)size;
#endif
}

bool jm_os_purge(void *address, size_t size)
{
    bool is_paged = (((uintptr_t)address | size) & (jm_os_page_size() - 1)) == 0;
#if defined(__linux__)
    return is_paged && madvise(address, size, MADV_DONTNEED) == 0;
#else
    return is_paged && jm_os_decommit(address, size);
#endif
}

#if defined(__linux__)

/* The pages stay readable, as zeros. To protect them would cost another call and a mapping. */
static bool decommit_by_advice(void *address, size_t size)
{
    if (madvise(address, size, MADV_DONTNEED) == 0) {
        return true;
    }
#if defined(MADV_DONTNEED_LOCKED)
    /* EINVAL: the pages are locked. Not tried after other errors: an emulator that does not know
     * this advice ignores it and reports success. */
    if (errno == EINVAL &&
        madvise(address, size, MADV_DONTNEED_LOCKED) == 0) { /* untested: older kernels refuse */
        return true;
    }
#endif
    return false;
}

bool jm_os_decommit(void *address, size_t size)
{
    if (decommit_by_advice(address, size)) {
        return true;
    }
    /* Older kernels do not take back locked pages by advice. */
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    return mmap(address, size, PROT_NONE, flags, -1, 0) == address;
}

/* The smallest range, in bytes, that is worth a mapping of its own. */
#define MAPPING_WORTH ((size_t)64 << 10)

bool jm_os_decommit_part(void *address, size_t size)
{
    return size < MAPPING_WORTH ? decommit_by_advice(address, size) : jm_os_decommit(address, size);
}

bool jm_os_extend(void *address, size_t old_size, size_t new_size)
{
    return mremap(address, old_size, new_size, 0) != MAP_FAILED;
}

/* The kernel chooses the target. At a fixed target it would unmap what is there before it knows
 * whether the move succeeds, and another thread could map something there meanwhile. */
void *jm_os_move(void *address, size_t old_size, size_t new_size)
{
    void *moved = mremap(address, old_size, new_size, MREMAP_MAYMOVE);
    return moved == MAP_FAILED ? NULL : moved;
}

#else

bool jm_os_decommit(void *address, size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    return mmap(address, size, PROT_READ | PROT_WRITE, flags, -1, 0) == address;
}

bool jm_os_decommit_part(void *address, size_t size)
{
    return jm_os_decommit(address, size); /* same attributes as its neighbours */
}

bool jm_os_extend(void *address, size_t old_size, size_t new_size)
{
    (void)address, (void)old_size, (void)new_size;
    return false;
}

void *jm_os_move(void *address, size_t old_size, size_t new_size)
{
    (void)address, (void)old_size, (void)new_size;
    return NULL;
}

#endif

bool jm_os_shrink(void *address, size_t old_size, size_t new_size)
{
    return munmap((char *)address + new_size, old_size - new_size) == 0;
}

void jm_os_random(void *buffer, size_t size)
{
    if (getentropy(buffer, size) == 0) {
        return;
    }
    /* No random source: mixed clocks and addresses are the best that is left. */
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 30) ^ (uint64_t)getpid() << 48;
    seed ^= (uint64_t)(uintptr_t)&seed ^ ((uint64_t)(uintptr_t)&jm_os_random << 16);
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        ((unsigned char *)buffer)[i] = (unsigned char)(seed >> 56);
    }
}

void jm_os_pause(unsigned attempt)
{
    if (attempt < JM_PAUSE_SPINS) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
        return;
    }
    if (attempt < JM_PAUSE_AWAKE) {
        (void)sched_yield();
        return;
    }
    unsigned steps = attempt - JM_PAUSE_AWAKE;
    const unsigned most = PAUSE_SLEEP_MAX_NS / PAUSE_SLEEP_STEP_NS;
    long sleep = steps < most ? (long)(steps + 1) * PAUSE_SLEEP_STEP_NS : PAUSE_SLEEP_MAX_NS;
    int state = forbid_cancellation();
    (void)nanosleep(&(struct timespec){0, sleep}, NULL);
    restore_cancellation(state);
}

bool jm_os_on_stack(uintptr_t first, uintptr_t second)
{
#if defined(__linux__)
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return false;
    }
    void *lowest = NULL;
    size_t size = 0;
    (void)pthread_attr_getstack(&attributes, &lowest, &size); /* on failure the size stays 0 */
    (void)pthread_attr_destroy(&attributes);
    uintptr_t low = (uintptr_t)lowest;
    return first - low < size && second - low < size;
#else
    (void)first, (void)second;
    return false;
#endif
}

bool jm_os_watch_forks(void (*before)(void), void (*after_in_parent)(void),
                       void (*after_in_child)(void))
{
    return pthread_atfork(before, after_in_parent, after_in_child) == 0;
}

static void run_thread_exit(void *unused)
{
    (void)unused;
    os.thread_exit();
}

bool jm_os_init(void (*thread_exit)(void))
{
    os.thread_exit = thread_exit;
    return pthread_key_create(&os.exit_key, run_thread_exit) == 0;
}

bool jm_os_watch_thread(void)
{
    return pthread_setspecific(os.exit_key, &os) == 0;
}
