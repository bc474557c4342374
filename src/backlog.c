#include "backlog.h"

#include <limits.h>

#include "chain.h"

/* For what the OS refused it is asked again so many times in one look; after one in vain, so many looks are left out at
 * most. */
#define TRIES_MAX 64
#define PAUSE_MAX 1023

static struct {
    struct jm_block *read;    /* they wait for their readers, */
    uint32_t looked_in;       /* as they did in this epoch */
    struct jm_block *refused; /* they wait for the OS */
    struct jm_block *round;   /* of those, the ones that are asked for again next */
    uint32_t pause, paused;   /* so many looks at them are left out, and were */
    _Atomic(bool) waits;      /* any block does */
} backlog;

bool jm_backlog_is_empty(void)
{
    return !jm_load_relaxed(&backlog.waits);
}

static bool has_refused(void)
{
    return backlog.refused != NULL || backlog.round != NULL;
}

static void note(void)
{
    jm_store_relaxed(&backlog.waits, backlog.read != NULL || has_refused());
}

void jm_backlog_await_readers(struct jm_block *block)
{
    jm_chain_push(&backlog.read, block);
    note();
}

void jm_backlog_await_os(struct jm_block *block)
{
    jm_chain_push(&backlog.refused, block);
    note();
}

/* Gives a block to the OS, or to what that refused. Returns the bytes that went. */
static size_t give(struct jm_block *block)
{
    size_t bytes = block->charge;
    if (jm_chain_return_one(block)) {
        return bytes;
    }
    jm_chain_push(&backlog.refused, block);
    return 0;
}

/* Gives those that nobody reads any more. */
static size_t give_read(void)
{
    size_t bytes = 0;
    uint32_t epoch = backlog.read == NULL ? backlog.looked_in : jm_pagemap_advance();
    if (epoch == backlog.looked_in) {
        return 0; /* nothing has changed */
    }
    backlog.looked_in = epoch;
    struct jm_block *waiting = NULL;
    while (backlog.read != NULL) {
        struct jm_block *block = jm_chain_pop(&backlog.read);
        if (jm_pagemap_is_over(block->retired, epoch)) {
            bytes += give(block);
        } else {
            jm_chain_push(&waiting, block);
        }
    }
    backlog.read = waiting;
    return bytes;
}

/*
 * Asks the OS so many times again for what it refused, as it does where a process has as many mappings as it may. Round
 * for round all come in the order of addresses, so that each is the end of a mapping where that can be.
 */
static size_t retry(unsigned most)
{
    size_t bytes = 0;
    if (backlog.round == NULL) {
        backlog.round = jm_chain_sort(backlog.refused);
        backlog.refused = NULL;
    }
    for (; most > 0 && backlog.round != NULL; most--) {
        bytes += give(jm_chain_pop(&backlog.round));
    }
    backlog.paused = 0;
    if (bytes != 0 || !has_refused()) {
        backlog.pause = 0;
    } else if (backlog.pause < PAUSE_MAX) {
        backlog.pause = 2 * backlog.pause + 1;
    }
    return bytes;
}

size_t jm_backlog_look(void)
{
    bool is_time = has_refused() && backlog.paused++ >= backlog.pause;
    size_t bytes = is_time ? retry(TRIES_MAX) : 0;
    bytes += give_read();
    note();
    return bytes;
}

size_t jm_backlog_look_at_all(void)
{
    size_t bytes = give_read();
    (void)jm_chain_move(&backlog.round, &backlog.refused, SIZE_MAX);
    bytes += retry(UINT_MAX);
    note();
    return bytes;
}
