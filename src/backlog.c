#include "backlog.h"

#include <limits.h>

#include "chain.h"

/* The most refused blocks that one look offers to the OS again, and the most looks that are skipped
 * after it took none. */
#define TRIES_MAX 64
#define PAUSE_MAX 1023

/* Process state, under the lock of the reserve. */
static struct {
    struct jm_block *being_read; /* wait for their readers */
    uint32_t looked_in;          /* the epoch in which those were last looked at */
    struct jm_block *refused;    /* wait for the OS, but for those in `round` */
    struct jm_block *round;      /* wait for the OS, to be offered again in this round */
    uint32_t pause, paused;      /* looks to skip, and skipped so far */
    _Atomic(bool) waits;         /* true if any block waits */
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
    jm_store_relaxed(&backlog.waits, backlog.being_read != NULL || has_refused());
}

void jm_backlog_await_readers(struct jm_block *block)
{
    jm_chain_push(&backlog.being_read, block);
    note();
}

void jm_backlog_await_os(struct jm_block *block)
{
    jm_chain_push(&backlog.refused, block);
    note();
}

/* Gives a block to the OS or, if it refuses, to `refused`. Returns the bytes that the OS took. */
static size_t give_to_os(struct jm_block *block)
{
    size_t bytes = block->charge;
    if (jm_chain_give_one_to_os(block)) {
        return bytes;
    }
    jm_chain_push(&backlog.refused, block);
    return 0;
}

/* Gives the blocks that nobody reads any more. */
static size_t give_unread_to_os(void)
{
    size_t bytes = 0;
    uint32_t epoch = backlog.being_read == NULL ? backlog.looked_in : jm_pagemap_advance();
    if (epoch == backlog.looked_in) {
        return 0; /* the epoch has not changed */
    }
    backlog.looked_in = epoch;
    struct jm_block *waiting = NULL;
    while (backlog.being_read != NULL) {
        struct jm_block *block = jm_chain_pop(&backlog.being_read);
        if (jm_pagemap_is_over(block->waits_since, epoch)) {
            bytes += give_to_os(block);
        } else {
            jm_chain_push(&waiting, block);
        }
    }
    backlog.being_read = waiting;
    return bytes;
}

/*
 * Offers the OS again at most `most` of the blocks that it refused. It refuses blocks if, for
 * example, the process has as many mappings as it may. Each round offers all in the order of
 * addresses, so that each block is at the end of a mapping if possible.
 */
static size_t retry(unsigned most)
{
    size_t bytes = 0;
    if (backlog.round == NULL) {
        backlog.round = jm_chain_sort(backlog.refused);
        backlog.refused = NULL;
    }
    for (; most > 0 && backlog.round != NULL; most--) {
        bytes += give_to_os(jm_chain_pop(&backlog.round));
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
    bytes += give_unread_to_os();
    note();
    return bytes;
}

size_t jm_backlog_look_at_all(void)
{
    size_t bytes = give_unread_to_os();
    (void)jm_chain_move(&backlog.round, &backlog.refused, SIZE_MAX);
    bytes += retry(UINT_MAX);
    note();
    return bytes;
}
