/*
 * Layer 2: space for the headers of blocks that are mappings of their own. It lies apart from the
 * memory of the blocks, which tenants write to, in pieces of address space that are committed step
 * by step and never given back:
 *
 *      | closed | headers | never used | closed | closed |
 *                         next         open     end
 *
 * The first piece is a part of the region. If there is no region, or that piece is used up, others
 * are reserved.
 *
 * Any thread may call; this file has a lock of its own.
 */
#ifndef JM_HEADER_H
#define JM_HEADER_H

#include "block.h"

/* Returns a header, zero but for `arena`, which is as the last user left it. NULL: the OS
 * refused. */
struct jm_block *jm_header_take(void);

/* Takes a header back. pre: nobody reads it. */
void jm_header_give(struct jm_block *block);

/* Bytes opened for headers. */
size_t jm_header_metadata(void);

void jm_header_for_locks(jm_lock_step *step);

#endif
