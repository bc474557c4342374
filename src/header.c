#include "header.h"

#include <string.h>

#include "chain.h"
#include "guard.h"

/* Bytes between the guards of a piece outside of the region. A multiple of every page size. */
#define PIECE_SIZE ((size_t)256 << 10)

/* Bytes opened at once; a page, if that is larger. */
#define STEP_MIN ((size_t)16 << 10)

/* Process state, under the lock. */
static struct {
    struct jm_lock lock;
    struct jm_block *free;    /* a chain */
    char *next, *open, *end;  /* of the latest piece, see header.h */
    _Atomic(size_t) metadata; /* written under the lock */
} headers;

static bool add_piece(void)
{
    size_t size = JM_REGION_HEADERS_SIZE;
    char *start = headers.end == NULL ? jm_region_headers() : NULL;
    if (start == NULL) {
        size = PIECE_SIZE;
        start = jm_guard_reserve(PIECE_SIZE);
    }
    if (start == NULL) {
        return false;
    }
    headers.next = headers.open = start;
    headers.end = start + size;
    return true;
}

static bool open_more(void)
{
    const size_t step = jm_align_up(STEP_MIN, jm_os_page_size());
    if (headers.open == headers.end && !add_piece()) {
        return false;
    }
    if (!jm_os_commit(headers.open, step)) {
        return false;
    }
    headers.open += step;
    jm_add_owned(&headers.metadata, step);
    return true;
}

/* pre: the lock is held. */
static struct jm_block *take(void)
{
    if (headers.free != NULL) {
        return jm_chain_pop(&headers.free);
    }
    if (headers.next == headers.open && !open_more()) {
        return NULL;
    }
    char *place = headers.next;
    headers.next += JM_HEAD_SIZE;
    return (struct jm_block *)(void *)place;
}

struct jm_block *jm_header_take(void)
{
    jm_lock_take(&headers.lock);
    struct jm_block *block = take();
    jm_lock_drop(&headers.lock);
    if (block != NULL) {
        memset(block, 0, offsetof(struct jm_block, arena));
    }
    return block;
}

void jm_header_give(struct jm_block *block)
{
    jm_lock_take(&headers.lock);
    jm_chain_push(&headers.free, block);
    jm_lock_drop(&headers.lock);
}

size_t jm_header_metadata(void)
{
    return jm_load_relaxed(&headers.metadata);
}

void jm_header_for_locks(jm_lock_step *step)
{
    step(&headers.lock);
}
