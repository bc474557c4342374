#include "hook.h"

#include "os.h"

/* Reads the pair. False: it is being written. */
JM_INLINE bool try_read(const struct jm_hook *hook, struct jm_pair *pair)
{
    uint32_t version = jm_load_acquire(&hook->version);
    pair->function = jm_load_relaxed(&hook->function);
    pair->state = jm_load_relaxed(&hook->state);
    atomic_thread_fence(memory_order_acquire);
    return version % 2 == 0 && jm_load_relaxed(&hook->version) == version;
}

static JM_COLD void read_contended(const struct jm_hook *hook, struct jm_pair *pair)
{
    unsigned attempt = 0;
    do {
        jm_os_pause(attempt++);
    } while (!try_read(hook, pair));
}

/* The phase ends first: if a fork comes in between, an odd phase in the child always has a thread
 * that is known to be gone. */
static void end_phase(struct jm_hook *hook, uint32_t phase)
{
    jm_store_release(&hook->phase, phase + 1);
    jm_store_release(&hook->call.thread, 0);
}

bool jm_hook_begin(struct jm_hook *hook, struct jm_pair *pair, uintptr_t mark)
{
    JM_ASSERT(jm_load_relaxed(&hook->call.thread) == 0);
    uint32_t phase = jm_load_relaxed(&hook->phase) + 1;
    jm_store_relaxed(&hook->call.thread, jm_thread.id);
    jm_store_release(&hook->phase, phase);     /* publishes the thread, for a fork */
    atomic_thread_fence(memory_order_seq_cst); /* begin the phase before reading the pair */
    if (JM_UNLIKELY(!try_read(hook, pair))) {
        read_contended(hook, pair);
    }
    pair->phase = phase;
    if (pair->function == NULL) {
        end_phase(hook, phase);
        return false;
    }
    hook->call.mark = mark;
    hook->call.outer = jm_thread.calls;
    jm_thread.calls = &hook->call;
    return true;
}

void jm_hook_end_innermost(void)
{
    struct jm_hook *hook = JM_CONTAINER(jm_thread.calls, struct jm_hook, call);
    jm_thread.calls = hook->call.outer;
    end_phase(hook, jm_load_relaxed(&hook->phase));
}

void (*jm_hook_abandon)(void) = jm_hook_end_innermost;

bool jm_hook_end(struct jm_hook *hook, const struct jm_pair *pair)
{
    if (!jm_hook_is_mine(hook) || jm_load_relaxed(&hook->phase) != pair->phase) {
        return false;
    }
    while (jm_thread.calls != &hook->call &&
           jm_os_on_stack(jm_thread.calls->mark, hook->call.mark)) {
        jm_hook_abandon();
    }
    struct jm_call **place = &jm_thread.calls;
    while (*place != &hook->call) { /* calls that wait in other coroutines of this thread */
        place = &(*place)->outer;
    }
    *place = hook->call.outer;
    end_phase(hook, jm_load_relaxed(&hook->phase));
    return true;
}

void jm_hook_forget(struct jm_hook *hook)
{
    jm_store_relaxed(&hook->call.thread, 0);
    jm_store_relaxed(&hook->phase, (jm_load_relaxed(&hook->phase) + 1) & ~1u);
    jm_store_relaxed(&hook->version, (jm_load_relaxed(&hook->version) + 1) & ~1u);
}

bool jm_hook_was_left(const struct jm_hook *hook, uintptr_t here)
{
    return here > hook->call.mark && jm_os_on_stack(here, hook->call.mark);
}

void jm_hook_reset(struct jm_hook *hook)
{
    jm_store_relaxed(&hook->function, NULL);
    jm_store_relaxed(&hook->state, NULL);
    jm_store_relaxed(&hook->version, 0);
}

bool jm_hook_set(struct jm_hook *hook, jm_hook_function function, void *state)
{
    uint32_t version = jm_load_relaxed(&hook->version);
    jm_store_relaxed(&hook->version, version + 1);
    atomic_thread_fence(memory_order_release);
    jm_store_relaxed(&hook->function, function);
    jm_store_relaxed(&hook->state, state);
    jm_store_release(&hook->version, version + 2 == 0 ? 2 : version + 2);
    return version != 0;
}

void jm_hook_quiesce(const struct jm_hook *hook, const _Atomic(uint32_t) *tag, uint32_t live_tag)
{
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t phase = jm_load_seq_cst(&hook->phase);
    for (unsigned attempt = 0; phase % 2 == 1 && jm_load_acquire(&hook->phase) == phase &&
                               jm_load_acquire(tag) == live_tag;
         attempt++) {
        jm_thread_id thread = jm_load_relaxed(&hook->call.thread);
        if (thread != 0 && jm_thread_is_gone(thread)) { /* untested: 0 if the phase just ended */
            return;
        }
        jm_os_pause(attempt);
    }
}
