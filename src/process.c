#include "process.h"

#include "environment.h"
#include "header.h"
#include "inspect.h"
#include "os.h"
#include "os_deferred.h"
#include "reserve.h"
#include "runtime.h"

/* Process state. Until the library is prepared, a fork holds it as a first call does: no thread
 * prepares it meanwhile. */
enum { INIT_NONE, INIT_BUSY, INIT_DONE };
static _Atomic(unsigned) init_state;

/* Waits while another thread prepares the library. False if it is prepared. True if the caller is
 * to prepare it and call end_init. */
static bool begin_init(void)
{
    for (unsigned attempt = 0; jm_load_acquire(&init_state) != INIT_DONE; attempt++) {
        unsigned none = INIT_NONE;
        if (jm_cas_acquire(&init_state, &none, INIT_BUSY)) {
            return true;
        }
        jm_os_pause(attempt);
    }
    return false;
}

static void end_init(bool done)
{
    jm_store_release(&init_state, done ? INIT_DONE : INIT_NONE);
}

/* True after before_fork if the library was not prepared. */
static bool holds_init(void)
{
    return jm_load_relaxed(&init_state) == INIT_BUSY;
}

/* Takes or drops all locks, in the order in which they nest: the holder of one takes only those
 * below. */
static void for_locks(jm_lock_step *step)
{
    jm_runtime_for_locks(step);
    jm_registry_for_locks(step);
    jm_reserve_for_locks(step);
    jm_header_for_locks(step);
    jm_region_for_locks(step);
    jm_pagemap_for_locks(step);
    jm_inspect_for_locks(step);
    jm_os_deferred_for_locks(step);
}

/* A thread that cannot be registered takes none: its child takes over what others hold. */
static void before_fork(void)
{
    if (!begin_init() && jm_thread_ready()) {
        for_locks(jm_lock_take);
    }
}

static void after_fork_in_parent(void)
{
    if (holds_init()) {
        end_init(false);
    } else if (jm_runtime_holds_locks()) {
        for_locks(jm_lock_drop);
    }
}

static void after_fork_in_child(void)
{
    if (holds_init()) {
        end_init(false);
    } else {
        jm_thread_forked();
        jm_pagemap_forked();
        for_locks(jm_lock_drop);
    }
}

#define FIRST_OF_ALL 101 /* the first priority that is not reserved */
static bool watches_forks;

/* Registers the fork handlers when the library is loaded, or else at the first call. Handlers
 * registered first are called last before a fork and first after it, so host handlers registered
 * later never find the locks held. */
__attribute__((constructor(FIRST_OF_ALL))) static void watch_forks(void)
{
    watches_forks =
        watches_forks || jm_os_watch_forks(before_fork, after_fork_in_parent, after_fork_in_child);
}

static bool init_once(void)
{
    watch_forks();
    if (!watches_forks || !jm_os_init(jm_runtime_thread_exit)) {
        return false;
    }
    jm_hook_abandon = jm_runtime_abandon_innermost;
    jm_inspect_init();
    jm_registry_init();
    jm_region_init();
    jm_environment_read();
    return true;
}

bool jm_process_init(void)
{
    if (JM_LIKELY(jm_load_acquire(&init_state) == INIT_DONE) || !begin_init()) {
        return true;
    }
    bool done = init_once();
    end_init(done);
    return done;
}
