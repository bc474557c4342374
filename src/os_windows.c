/*
 * Layer 1: Windows. A mapping is a reservation with a committed part. The rest is addresses only,
 * and costs the system next to nothing.
 *
 *      | committed: `size` bytes | reserved: room to grow in place |
 *      reservation == extent.address
 *
 *      | reserved | committed, aligned | reserved |       if the alignment exceeds the system's
 *      reservation == extent.address                      allocation granularity
 */
#define _WIN32_WINNT 0x0602 /* Windows 8 */
#define _CRT_RAND_S
#define WIN32_LEAN_AND_MEAN

#include "os.h"

#include "atomic.h"
#include "os_deferred.h"
#include "os_local.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

/* Mappings of at least this size get room to double in place. On 32-bit systems addresses are
 * scarce: none does. */
#define ROOM_MIN ((size_t)128 << 10)
#define HAS_ROOM (sizeof(void *) >= 8)

/* How long jm_os_pause sleeps. */
#define PAUSE_SLEEP_MS 1

/* The longest line written. The rest of a longer one is cut off. */
#define LINE_MAX_SIZE 256

/* A value of this length or more counts as malformed. No sensible value of a variable that the
 * library reads is as long. */
#define VALUE_MAX 128

/* Process state: written before the first runtime exists. The first caller that asks for a size
 * sets both. */
static struct {
    void (*thread_exit)(void);
    _Atomic(size_t) page_size, granularity;
    char value[VALUE_MAX];
} os;

/* The thread has requested thread_exit. */
static JM_LOCAL bool watched_local = false;
#define watched JM_OWN(watched_local)

void jm_os_complain(const char *line)
{
    char text[LINE_MAX_SIZE + 2];
    size_t length = strlen(line);
    length = length < LINE_MAX_SIZE ? length : LINE_MAX_SIZE;
    memcpy(text, line, length);
    memcpy(text + length, "\r\n", 2);
    DWORD written;
    if (!WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)length + 2, &written, NULL)) {
        return; /* no way left to report it */
    }
}

/* Reads the system's own copy, which includes variables that a host set without its run-time
 * library. */
const char *jm_os_environment(const char *name)
{
    SetLastError(ERROR_SUCCESS); /* an empty value is no error */
    DWORD length = GetEnvironmentVariableA(name, os.value, VALUE_MAX);
    if (length == 0 && GetLastError() != ERROR_SUCCESS) {
        return NULL;
    }
    return length < VALUE_MAX ? os.value : "(too long)";
}

static void ask_for_sizes(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    jm_store_relaxed(&os.page_size, info.dwPageSize);
    jm_store_relaxed(&os.granularity, info.dwAllocationGranularity);
}

size_t jm_os_page_size(void)
{
    size_t size = jm_load_relaxed(&os.page_size);
    if (JM_UNLIKELY(size == 0)) {
        ask_for_sizes();
        size = jm_load_relaxed(&os.page_size);
    }
    return size;
}

/* The alignment of reservations. Their sizes are in effect multiples of it, too. */
static size_t granularity(void)
{
    if (JM_UNLIKELY(jm_load_relaxed(&os.granularity) == 0)) {
        ask_for_sizes();
    }
    return jm_load_relaxed(&os.granularity);
}

/* ---- Memory ---- */

void *jm_os_reserve(size_t size)
{
    return jm_os_deferred_retry(jm_os_unmap) ? VirtualAlloc(NULL, size, MEM_RESERVE, PAGE_NOACCESS)
                                             : NULL;
}

bool jm_os_commit(void *address, size_t size)
{
    return VirtualAlloc(address, size, MEM_COMMIT, PAGE_READWRITE) != NULL;
}

bool jm_os_decommit_part(void *address, size_t size)
{
    return jm_os_decommit(address, size);
}

bool jm_os_decommit(void *address, size_t size)
{
    return VirtualFree(address, size, MEM_DECOMMIT) != 0;
}

/* Releases the whole reservation, whatever part is committed. */
bool jm_os_unmap(const struct jm_os_extent *extent)
{
    return VirtualFree(extent->address, 0, MEM_RELEASE) != 0;
}

void jm_os_discard(const struct jm_os_extent *extent)
{
    if (!jm_os_unmap(extent)) {
        jm_os_deferred_keep(extent);
    }
}

/* Reserves `size` bytes, with room to double if it may be had. NULL: refused. */
static void *reserve_with_room(size_t size)
{
    void *address = NULL;
    if (HAS_ROOM && size >= ROOM_MIN) {
        address = jm_os_reserve(2 * size);
    }
    if (address == NULL) {
        address = jm_os_reserve(jm_align_up(size, granularity())); /* all of the last step */
    }
    return address;
}

void *jm_os_map(size_t size, size_t alignment, struct jm_os_extent *extent)
{
    if (!jm_os_deferred_retry(jm_os_unmap)) {
        return NULL;
    }
    bool starts_aligned = alignment <= granularity();
    extent->size = starts_aligned ? size : size + alignment;
    extent->address = starts_aligned ? reserve_with_room(size) : jm_os_reserve(extent->size);
    if (extent->address == NULL) {
        return NULL;
    }
    void *address = (void *)jm_align_up((uintptr_t)extent->address, alignment);
    if (!jm_os_commit(address, size)) {
        jm_os_discard(extent);
        return NULL;
    }
    return address;
}

bool jm_os_extend(void *address, size_t old_size, size_t new_size)
{
    MEMORY_BASIC_INFORMATION behind;
    char *end = (char *)address + old_size;
    if (VirtualQuery(end, &behind, sizeof behind) == 0 || behind.AllocationBase != address ||
        behind.State != MEM_RESERVE || behind.RegionSize < new_size - old_size) {
        return false;
    }
    return jm_os_commit(end, new_size - old_size);
}

/* Windows cannot move pages. A copy would hold both places at once: the quota was not asked for
 * that. */
void *jm_os_move(void *address, size_t old_size, size_t new_size)
{
    (void)address, (void)old_size, (void)new_size;
    return NULL;
}

bool jm_os_shrink(void *address, size_t old_size, size_t new_size)
{
    return jm_os_decommit((char *)address + new_size, old_size - new_size);
}

/* Windows uses huge pages on request only. */
void jm_os_avoid_huge_pages(void *address, size_t size)
{
    (void)address, (void)size;
}

void jm_os_prefer_huge_pages(void *address, size_t size)
{
    (void)address, (void)size;
}

void jm_os_split_huge_page(void *page)
{
    (void)page;
}

void jm_os_populate(void *address, size_t size)
{
    (void)address, (void)size; /* no known call does this */
}

/* Windows has no such call. Between a decommit and a commit the pages are inaccessible, and another
 * thread may read them. */
bool jm_os_purge(void *address, size_t size)
{
    (void)address, (void)size;
    return false;
}

/* ---- Chance and time ---- */

void jm_os_random(void *buffer, size_t size)
{
    unsigned char *bytes = buffer;
    LARGE_INTEGER now;
    (void)QueryPerformanceCounter(&now);
    uint64_t seed = (uint64_t)now.QuadPart ^ (uint64_t)GetCurrentProcessId() << 48;
    seed ^= (uint64_t)(uintptr_t)&seed ^ ((uint64_t)(uintptr_t)&jm_os_random << 16);
    for (size_t i = 0; i < size; i++) {
        unsigned chance;
        if (rand_s(&chance) != 0) { /* no generator: clocks and addresses are the best there is */
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            chance = (unsigned)(seed >> 56);
        }
        bytes[i] = (unsigned char)chance;
    }
}

void jm_os_pause(unsigned attempt)
{
    if (attempt < JM_PAUSE_SPINS) {
        YieldProcessor();
    } else if (attempt < JM_PAUSE_AWAKE) {
        (void)SwitchToThread();
    } else {
        Sleep(PAUSE_SLEEP_MS);
    }
}

/* ---- Threads ---- */

/* In a fiber, this is the fiber's stack. */
bool jm_os_on_stack(uintptr_t first, uintptr_t second)
{
    ULONG_PTR low, high;
    GetCurrentThreadStackLimits(&low, &high);
    return first - low < high - low && second - low < high - low;
}

static void NTAPI on_loader_event(void *module, DWORD event, void *unused)
{
    (void)module, (void)unused;
    if (event == DLL_THREAD_DETACH && watched) {
        watched = false;
        os.thread_exit();
    }
}

/*
 * The loader calls the functions between the run-time library's .CRT$XLA and .CRT$XLZ as a thread
 * ends, in programs and DLLs. The thread's copies of JM_LOCAL variables still exist then. The
 * destructor of an FlsAlloc slot would also run for fibers. A fiber may end on another thread, and
 * long before its own thread does.
 */
__attribute__((section(".CRT$XLJ"), used)) static const PIMAGE_TLS_CALLBACK loader_callback =
    on_loader_event;

/* Windows has no fork. */
bool jm_os_watch_forks(void (*before)(void), void (*after_in_parent)(void),
                       void (*after_in_child)(void))
{
    (void)before, (void)after_in_parent, (void)after_in_child;
    return true;
}

bool jm_os_init(void (*thread_exit)(void))
{
    HMODULE self;
    os.thread_exit = thread_exit;
    /* Pins the module: exiting threads run its code, and only it knows what the runtimes hold. */
    return GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                                  GET_MODULE_HANDLE_EX_FLAG_PIN,
                              (const char *)&os, &self) != 0;
}

bool jm_os_watch_thread(void)
{
    watched = true;
    return true;
}
