/*
 * Layer 2: chains of blocks that have no tenant, that their tenant does not want any more, or that
 * may be empty; and their way back to the OS.
 *
 * A chain is linked by `chain_next`, not `next`: a reader that has come to a block may still follow
 * its `next`, and the block's tenant may still have it in a list. The caller owns the chain.
 */
#ifndef JM_CHAIN_H
#define JM_CHAIN_H

#include "block.h"

static inline void jm_chain_push(struct jm_block **chain, struct jm_block *block)
{
    block->chain_next = *chain;
    *chain = block;
}

/* pre: the chain is not empty. */
static inline struct jm_block *jm_chain_pop(struct jm_block **chain)
{
    struct jm_block *block = *chain;
    *chain = block->chain_next;
    return block;
}

/* Moves blocks from the front of a chain to another one until their charges reach `bytes` or none
 * is left. Returns the sum. */
size_t jm_chain_move(struct jm_block **from, struct jm_block **to, size_t bytes);

/* Moves the large blocks that a tenant had, and its small ones of at least `least` bytes. */
void jm_chain_move_of(struct jm_block **from, struct jm_block **to, const struct jm_supply *tenant,
                      size_t least);

/* Returns the same blocks in the order of addresses. */
struct jm_block *jm_chain_sort(struct jm_block *chain);

/* Gives the first block of a chain to the OS, together with those behind it whose memory directly
 * follows it in the region, and takes them off the chain. pre: nobody reads them; if they are
 * several, they have no holes. post: the bytes given, which equal the charge unless there are
 * holes. 0: the OS refused, and the content may be lost. */
size_t jm_chain_give_to_os(struct jm_block **chain);

/* The same for one block. False: the OS refused. */
bool jm_chain_give_one_to_os(struct jm_block *block);

#endif
