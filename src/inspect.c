#include "inspect.h"

#if defined(JM_ASAN)

/* LeakSanitizer's own lock is inherited by a forked child as it is. This lock keeps threads out of
 * it during a fork. */
static struct jm_lock roots;

void jm_inspect_add_root(const void *address, size_t size)
{
    jm_lock_take(&roots);
    __lsan_register_root_region(address, size);
    jm_lock_drop(&roots);
}

void jm_inspect_remove_root(const void *address, size_t size)
{
    jm_lock_take(&roots);
    __lsan_unregister_root_region(address, size);
    jm_lock_drop(&roots);
}

void jm_inspect_for_locks(jm_lock_step *step)
{
    step(&roots);
}

#endif

#if defined(JM_VALGRIND)

#include <valgrind/memcheck.h>

_Atomic(bool) jm_inspect_memcheck;

/* Only memcheck answers this request. Valgrind's profilers are to see the program unchanged. */
void jm_inspect_init(void)
{
    unsigned char byte = 0;
    unsigned char bits;
    jm_store_relaxed(&jm_inspect_memcheck, VALGRIND_GET_VBITS(&byte, &bits, 1) == 1);
}

void jm_inspect_tell_begin(void)
{
    VALGRIND_DISABLE_ERROR_REPORTING;
}

void jm_inspect_tell_end(void)
{
    VALGRIND_ENABLE_ERROR_REPORTING;
}

void jm_inspect_tell_create(const void *pool)
{
    VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
}

void jm_inspect_tell_destroy(const void *pool)
{
    VALGRIND_DESTROY_MEMPOOL(pool);
}

void jm_inspect_tell_supply(const void *address, size_t size)
{
    (void)VALGRIND_MAKE_MEM_NOACCESS(address, size);
}

void jm_inspect_tell_take(const void *pool, const void *object, size_t size)
{
    if (object != NULL) {
        VALGRIND_MEMPOOL_ALLOC(pool, object, size);
    }
}

void jm_inspect_tell_give(const void *pool, const void *object)
{
    VALGRIND_MEMPOOL_FREE(pool, object);
}

void jm_inspect_tell_zero(const void *object, size_t size)
{
    if (object != NULL) {
        (void)VALGRIND_MAKE_MEM_DEFINED(object, size);
    }
}

void jm_inspect_tell_change(const void *pool, const void *from, const void *to, size_t old,
                            size_t size)
{
    const char *object = to;
    VALGRIND_MEMPOOL_CHANGE(pool, from, to, size);
    if (size > old) {
        (void)VALGRIND_MAKE_MEM_UNDEFINED(object + old, size - old);
    } else {
        (void)VALGRIND_MAKE_MEM_NOACCESS(object + size, old - size);
    }
}

/* Bisects: addressable bytes come first. The answer 3 means that a byte is not addressable. */
size_t jm_inspect_size(const void *object, size_t usable)
{
    size_t low = 0;
    size_t high = jm_inspect_watched ? usable : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        unsigned char bits;
        if (VALGRIND_GET_VBITS((const char *)object + middle, &bits, 1) == 3) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

#else

void jm_inspect_init(void)
{
}

size_t jm_inspect_size(const void *object, size_t usable)
{
    (void)object, (void)usable;
    return 0;
}

#endif
