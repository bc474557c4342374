/*
 * Layer 2: the backlog: blocks that are to go to the OS but cannot yet, because somebody may read
 * their headers, or the OS refused them. They wait even if the reserve is beyond its bound.
 *
 * Everything here is called under the lock of the reserve, which counts what waits, unless said
 * otherwise.
 */
#ifndef JM_BACKLOG_H
#define JM_BACKLOG_H

#include "block.h"

/* Any thread, without a lock. */
bool jm_backlog_is_empty(void);

/* Takes a block that waits for its readers since epoch `waits_since`; or one that waits for the OS,
 * which refused it. */
void jm_backlog_await_readers(struct jm_block *block);
void jm_backlog_await_os(struct jm_block *block);

/* Gives the blocks without readers to the OS, and now and then offers refused ones again. Returns
 * the bytes that the OS took. */
size_t jm_backlog_look(void);

/* The same, but offers all refused blocks again, at once. */
size_t jm_backlog_look_at_all(void);

#endif
