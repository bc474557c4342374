#include "chain.h"

#include "header.h"
#include "inspect.h"

size_t jm_chain_move(struct jm_block **from, struct jm_block **to, size_t bytes)
{
    size_t sum = 0;
    while (*from != NULL && sum < bytes) {
        sum += (*from)->charge;
        jm_chain_push(to, jm_chain_pop(from));
    }
    return sum;
}

void jm_chain_move_of(struct jm_block **from, struct jm_block **to, const struct jm_supply *tenant,
                      size_t least)
{
    while (*from != NULL) {
        bool is_meant = jm_block_is_large(*from) || (*from)->charge >= least;
        if (is_meant && jm_block_was_of(*from, tenant)) {
            jm_chain_push(to, jm_chain_pop(from));
        } else {
            from = &(*from)->chain_next;
        }
    }
}

/* Gives a block's own mapping to the OS, and its header back. False: the block is untouched. */
static bool unmap(struct jm_block *block)
{
    const struct jm_os_extent *extent = &block->extent;
    /* Others may get these addresses, so they are opened. The space around an aligned object was
     * never closed, and may be terabytes. */
    bool is_around = jm_block_is_large(block) && !block->resizable;
    jm_inspect_open(is_around ? block->start : extent->address,
                    is_around ? block->charge : extent->size);
    jm_inspect_remove_root(extent->address, extent->size);
    if (!jm_os_unmap(extent)) {
        jm_inspect_add_root(extent->address, extent->size);
        return false;
    }
    jm_header_give(block);
    return true;
}

/* The first block of a chain whose extent does not directly follow the one before, or NULL. `end`
 * is where that one ends. No other mapping follows a stretch: the space behind the region is
 * reserved with it. */
static struct jm_block *find_gap(struct jm_block *block, char **end)
{
    *end = block->extent.address;
    while (block != NULL && block->extent.address == *end) {
        *end += block->extent.size;
        block = block->chain_next;
    }
    return block;
}

/* Frees the stretches of the blocks before `gap`, in such an order that those allocated one after
 * the other will be far apart. */
static void free_stretches(struct jm_block **chain, const struct jm_block *gap)
{
    struct jm_block *rows[JM_REGION_APART] = {NULL};
    for (size_t i = 0; *chain != gap; i++) {
        jm_chain_push(&rows[i % JM_REGION_APART], jm_chain_pop(chain));
    }
    for (size_t row = 0; row < JM_REGION_APART; row++) {
        while (rows[row] != NULL) {
            struct jm_os_extent stretch = jm_chain_pop(&rows[row])->extent;
            jm_region_free(stretch.address, stretch.size); /* its header may be in use again */
        }
    }
}

/* Gives the stretches of a chain's first blocks to the OS, all in one call or else just the first,
 * and takes the blocks off the chain. Returns their bytes; 0: the OS took none. */
static size_t give_stretches_to_os(struct jm_block **chain)
{
    struct jm_block *block = *chain;
    char *start = block->extent.address;
    char *end;
    const struct jm_block *gap = find_gap(block, &end);
    bool done = jm_region_decommit(start, (size_t)(end - start));
    if (!done && gap != block->chain_next) { /* one may be locked, or all too much at once */
        gap = block->chain_next;
        end = start + block->extent.size;
        done = jm_region_decommit(start, block->extent.size);
    }
    if (!done) {
        return 0;
    }
    free_stretches(chain, gap);
    return (size_t)(end - start);
}

size_t jm_chain_give_to_os(struct jm_block **chain)
{
    struct jm_block *block = *chain;
    if (jm_region_holds(block->extent.address)) {
        return give_stretches_to_os(chain);
    }
    struct jm_block *next = block->chain_next;
    size_t bytes = block->charge;
    if (!unmap(block)) {
        return 0;
    }
    *chain = next;
    return bytes;
}

bool jm_chain_give_one_to_os(struct jm_block *block)
{
    block->chain_next = NULL;
    return jm_chain_give_to_os(&block) != 0;
}

/* Merges two chains that are in the order of addresses. */
static struct jm_block *merge(struct jm_block *left, struct jm_block *right)
{
    struct jm_block *merged = NULL;
    struct jm_block **end = &merged;
    while (left != NULL && right != NULL) {
        struct jm_block **lower = left->extent.address < right->extent.address ? &left : &right;
        *end = *lower;
        end = &(*lower)->chain_next;
        *lower = *end;
    }
    *end = left != NULL ? left : right;
    return merged;
}

struct jm_block *jm_chain_sort(struct jm_block *chain)
{
    enum { PILES = 32 };
    struct jm_block *piles[PILES] = {NULL}; /* sorted, of 2^i blocks; or none */
    struct jm_block *sorted = NULL;
    while (chain != NULL) {
        struct jm_block *pile = jm_chain_pop(&chain);
        unsigned i = 0;
        pile->chain_next = NULL;
        for (; piles[i] != NULL; i++) {
            pile = merge(piles[i], pile);
            piles[i] = NULL;
        }
        piles[i] = pile;
    }
    for (unsigned i = 0; i < PILES; i++) {
        sorted = merge(piles[i], sorted);
    }
    return sorted;
}
