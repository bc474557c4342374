/*
 * Layer 2: chains of blocks that no tenant has, or wants any more, or that may be empty, and their way back to the OS.
 *
 * A chain is linked by `behind`: a reader that stands on a block may still follow its `next`, and its tenant links it
 * by that. It belongs to whoever calls.
 */
#ifndef JM_CHAIN_H
#define JM_CHAIN_H

#include "block.h"

static inline void jm_chain_push(struct jm_block **chain, struct jm_block *block)
{
    block->behind = *chain;
    *chain = block;
}

/* pre: there is one. */
static inline struct jm_block *jm_chain_pop(struct jm_block **chain)
{
    struct jm_block *block = *chain;
    *chain = block->behind;
    return block;
}

/* Moves first blocks to another chain, until they have `bytes` or none is left. Returns what they have. */
size_t jm_chain_move(struct jm_block **from, struct jm_block **to, size_t bytes);

/* Moves the large blocks that a tenant had, and the small ones that it had of `least` bytes and more. */
void jm_chain_move_of(struct jm_block **from, struct jm_block **to, const struct jm_supply *tenant,
                      size_t least);

/* The same blocks in the order of addresses. */
struct jm_block *jm_chain_sort(struct jm_block *chain);

/* Gives the first block of a chain to the OS, together with those behind it that follow it in the region, and takes
 * them off. pre: nobody reads them; where there are several, they have no holes. post: what was given, which is what
 * they were charged where there are no holes; 0: the OS refused, and what they held may be lost. */
size_t jm_chain_return(struct jm_block **chain);

/* The same for one block. False: the OS refused. */
bool jm_chain_return_one(struct jm_block *block);

#endif
