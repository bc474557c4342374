/*
 * Layer 2: the backlog, the blocks that are to go to the OS and cannot yet: somebody may read their headers, or the OS
 * refused them. They wait past any bound.
 *
 * Everything here is called under the lock of the reserve, which counts what waits, unless said otherwise.
 */
#ifndef JM_BACKLOG_H
#define JM_BACKLOG_H

#include "block.h"

/* Any thread may ask, without a lock. */
bool jm_backlog_is_empty(void);

/* Takes a block that waits for its readers, since the epoch in `retired`; and one that waits for the OS, which refused it. */
void jm_backlog_await_readers(struct jm_block *block);
void jm_backlog_await_os(struct jm_block *block);

/* Gives the blocks without readers to the OS, and now and then asks again for what that refused. Returns the bytes that went. */
size_t jm_backlog_look(void);

/* The same at once for all that the OS refused. */
size_t jm_backlog_look_at_all(void);

#endif
