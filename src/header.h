/*
 * Layer 2: room for the headers of blocks that are mappings of their own. It lies apart from the memory of the
 * blocks, which is the tenants', in stretches of address space that are opened step by step, and stay:
 *
 *      | closed | headers | never used | closed | closed |
 *                         next         open     end
 *
 * The first stretch is a part of the region. Where there is no region, or it is used up, others are reserved.
 *
 * Any thread may call; the room has a lock of its own.
 */
#ifndef JM_HEADER_H
#define JM_HEADER_H

#include "block.h"

/* A header, zero but for the arena's space, which is as its last user left it. NULL: the OS refused. */
struct jm_block *jm_header_take(void);

/* Takes one back. pre: nobody reads it. */
void jm_header_give(struct jm_block *block);

/* Bytes opened for headers. */
size_t jm_header_metadata(void);

void jm_header_before_fork(void);
void jm_header_after_fork(void);

#endif
