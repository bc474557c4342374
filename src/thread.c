#include "thread.h"

#include <string.h>

#include "guard.h"
#include "os.h"

/* Bits of a thread id that count threads; the bits above, up to JM_THREAD_ID_BITS, count forks. */
#define THREAD_COUNT_BITS 44
#define FORKS_MAX (UINT64_MAX >> (64 - JM_THREAD_ID_BITS) >> THREAD_COUNT_BITS)

JM_LOCAL struct jm_thread_record jm_thread_local JM_TLS_MODEL;

/* Process state: the source of ids. `forks` and `survivor` change only in a forked child. */
static struct {
    _Atomic(uint64_t) count;
    _Atomic(uint64_t) forks;
    _Atomic(jm_thread_id) survivor; /* the thread that forked this process; 0 in the first one */
} threads;

bool jm_thread_register(void)
{
    uint64_t forks = jm_load_relaxed(&threads.forks);
    if (forks > FORKS_MAX) { /* untested: half a million processes, */
        return false;        /* untested: each forked by the one before */
    }
    uint64_t count = atomic_fetch_add_explicit(&threads.count, 1, memory_order_relaxed) + 1;
    jm_thread.id = forks << THREAD_COUNT_BITS | count;
    if (jm_thread.frames == NULL) {
        jm_thread.frames = jm_thread.inline_frames;
        jm_thread.frame_capacity = JM_INLINE_FRAMES;
    }
    if (!jm_os_watch_thread()) {
        jm_thread.id = 0;
        return false;
    }
    return true;
}

bool jm_thread_is_gone(jm_thread_id id)
{
    return id >> THREAD_COUNT_BITS != jm_load_relaxed(&threads.forks) &&
           id != jm_load_relaxed(&threads.survivor);
}

uint16_t jm_thread_forks(void)
{
    return (uint16_t)jm_load_relaxed(&threads.forks);
}

void jm_thread_forked(void)
{
    jm_add_owned(&threads.forks, 1);
    jm_store_relaxed(&threads.survivor, jm_thread.id);
}

/* Gives back the frames' mapping, if they are not inline. */
static void discard_frames(void)
{
    if (jm_thread.frame_capacity > JM_INLINE_FRAMES) {
        size_t bytes = jm_thread.frame_capacity * sizeof(struct jm_frame);
        jm_guard_discard(jm_thread.frames, jm_align_up(bytes, jm_os_page_size()));
    }
}

bool jm_thread_grow_frames(void)
{
    size_t old_size = jm_thread.frame_capacity * sizeof(struct jm_frame);
    size_t size = jm_align_up(2 * old_size, jm_os_page_size());
    struct jm_frame *frames = jm_guard_map(size);
    if (frames == NULL) {
        return false;
    }
    memcpy(frames, jm_thread.frames, jm_thread.frame_count * sizeof(struct jm_frame));
    discard_frames();
    jm_thread.frames = frames;
    jm_thread.frame_capacity = size / sizeof(struct jm_frame);
    return true;
}

void jm_thread_reset(void)
{
    discard_frames();
    jm_thread.frames = NULL;
    jm_thread.frame_count = jm_thread.frame_capacity = 0;
    jm_thread.id = 0;
}

void jm_lock_contended(struct jm_lock *lock)
{
    for (unsigned attempt = 0;; attempt++) {
        /* Read first: each attempt to swap would take the cache line from the owner. */
        jm_thread_id owner = jm_load_relaxed(&lock->owner);
        if ((owner == 0 || jm_thread_is_gone(owner)) &&
            jm_cas_acquire(&lock->owner, &owner, jm_thread.id)) { /* untested: two race */
            return;
        }
        jm_os_pause(attempt);
    }
}
