/*
 * rows.c - the lines of the table, in their order.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "driver.h"

#include <string.h>

const struct row rows[] = {
    /* ns per pair of alloc and free, unless the title says otherwise */
    {"W1k", "W1k", "64 B alloc + free, 100 live", "ns", true, true},
    {"W1b", "W1b", "256 of 64 B, then freed in order", "ns", true, true},
    {"W1u", "W1u", "as W1k, not entered", "ns", false, true},
    {"W1a", "W1a", "as W1k, each object aligned to 64", "ns", true, false},
    {"W1c", "W1c", "as W1k, each object of 4 KiB, zeroed (calloc)", "ns", true, false},
    {"W2c", "W2c", "random churn, 500 live, 16..1024 B", "ns", true, true},
    {"W2r", "W2r", "random churn, 10,000 live, 16..1024 B", "ns", true, true},
    {"W2l", "W2l", "last in, first out, 16..1024 B", "ns", true, true},
    {"W3", "W3", "random churn, 500 live, 16 B..256 KiB", "ns", true, true},
    {"W4e", "W4e", "create and dispose, nothing set, nothing allocated", "ns", true, false},
    {"W4f", "W4f", "create, set limit and hooks, enter, leave, dispose", "ns", false, false},
    {"W4s", "W4s", "a request: create, set limit and hooks, 20 objects, dispose", "ns", true, true},
    {"W4", "W4", "a request: the same with 1,000 objects", "ns", true, true},
    {"W4l", "W4l", "a request: W4s and 300 KiB, all written", "ns", true, false},
    {"W5-1k", "W5-1k", "1,000 tenants of 20 objects, a pair in each in turn", "ns", true, true},
    {"W5-1k-fill", "W5-1k", "W5, 1,000: to create and fill a tenant", "ns", false, false},
    {"W5-1k-dispose", "W5-1k", "W5, 1,000: to dispose a tenant", "ns", false, false},
    {"W5-10k", "W5-10k", "10,000 tenants of 20 objects, a pair in each in turn", "ns", true, false},
    {"W5-10k-fill", "W5-10k", "W5, 10,000: to create and fill a tenant", "ns", false, false},
    {"W5-10k-dispose", "W5-10k", "W5, 10,000: to dispose a tenant", "ns", false, false},
    {"W6", "W6", "one thread allocates, another frees", "ns", true, true},
    {"W6l", "W6l", "the same with 1 MiB objects, at most 8 under way", "ns", true, false},
    {"W6l-peak", "W6l", "W6l: peak resident", "MiB", false, false},
    {"W7", "W7", "two threads, each W2c in a tenant of its own", "ns", true, false},
    {"W7-scaling", "W7", "W7: two threads against one", "x", false, false},
    {"W7-machine", "W7", "W7: two processes against one (the machine itself)", "x", false, false},
    {"W7s", "W7s", "two threads, each W4s: a tenant per request of 20 objects", "ns", true, true},
    {"W7s-scaling", "W7s", "W7s: two threads against one", "x", false, true},
    {"W7r", "W7r", "two threads, each W4: a tenant per request of 1,000 objects", "ns", true,
     false},
    {"W7r-scaling", "W7r", "W7r: two threads against one", "x", false, false},
    {"W8", "W8", "1 MiB alloc, each page written, free", "ns", true, false},
    {"W8l", "W8l", "8 MiB alloc, each page written, free", "ns", true, false},
    {"W8v", "W8v", "ten of 300..1,024 KiB live, one by one anew, each page written", "ns", true,
     false},
    {"W8t", "W8t", "eight tenants, each with ten as in W8v, one or another at work", "ns", true,
     true},
    {"W8t-peak", "W8t", "W8t: peak resident", "MiB", false, false},
    {"W8a", "W8a", "64 of 256 KiB live, aligned to that, any anew, each page written", "ns", true,
     false},
    {"W9v", "W9v", "a vector doubles, 16 B..128 KiB, a step", "ns", true, true},
    {"W9m", "W9m", "eight vectors double in turn, a step", "ns", true, false},
    {"W9s", "W9s", "a string grows by 16 B to 4 KiB, a step", "ns", true, true},
    {"W9r", "W9r", "10,000 of 16 B..16 KiB resized at random, a step", "ns", true, false},
    {"W10-lua", "W10-lua", "replay of a Lua run, a call", "ns", true, true},
    {"W10-duktape", "W10-duktape", "replay of a Duktape run, a call", "ns", true, false},
    {"W10-shipped", "W10-shipped", "replay of the shipped trace, a call", "ns", true, false},
    {"W11", "W11", "full at 64 MiB: an object comes, the oldest go until it fits", "ns", true,
     true},
    {"W11-live", "W11", "W11: live bytes against the limit", "x", false, false},
    {"W11s", "W11s", "full at 1 MiB: likewise", "ns", true, false},
    {"W11s-live", "W11s", "W11s: live bytes against the limit", "x", false, false},
    {"W11m", "W11m", "full at 64 MiB, of 8 to 30 KiB: likewise", "ns", true, false},
    {"W11m-live", "W11m", "W11m: live bytes against the limit", "x", false, false},
    {"W11c", "W11c", "W11, as far as the host's callback allows", "ns", true, false},
    {"W11c-live", "W11c", "W11c: live bytes against what it allows", "x", false, false},
    {"W11g", "W11g", "up to 64 MiB, the limit raised by 64 KiB where it refuses, and down", "ns",
     true, false},
    {"W12", "W12", "60 of 200 kB come and go beside 64 MiB of 64 B, a pair", "ns", true, false},
    {"W13", "W13", "half of 64 MiB of 16..256 B goes for 1..8 KiB, and back: the longest call",
     "us", false, true},
    {"usage", "usage", "read the usage, own thread", "ns", false, false},
    {"usage-other", "usage", "read the usage, another thread, owner at work", "ns", false, true},
    {"usage-owner", "usage", "the owner while it is read, against not", "x", false, false},
    {"idle", "idle", "create an idle tenant beside the others", "ns", false, true},
    {"idle-dispose", "idle", "dispose an idle tenant", "ns", false, false},
    {"idle-count", "idle", "idle tenants at once", "", false, false},
    {"idle-rss", "idle", "resident, an idle tenant", "B", false, true},
    {"W5-1k-rss", "W5-1k", "resident, a tenant of W5, 1,000 (4.8 KiB asked for)", "KiB", false,
     true},
    {"W5-10k-rss", "W5-10k", "resident, a tenant of W5, 10,000", "KiB", false, false},
    {"W2r-held", "W2r", "W2r: held from the OS against live bytes", "x", false, true},
    {"W2r-peak", "W2r", "W2r: peak resident", "MiB", false, false},
    {"W3-held", "W3", "W3: held from the OS against live bytes", "x", false, false},
    {"W3-peak", "W3", "W3: peak resident", "MiB", false, false},
    {"W9r-held", "W9r", "W9r: held from the OS against live bytes", "x", false, false},
    {"W9r-peak", "W9r", "W9r: peak resident", "MiB", false, false},
    {"W10-lua-held", "W10-lua", "Lua: held at the peak against live bytes", "x", false, false},
    {"W10-lua-peak", "W10-lua", "Lua: peak resident", "MiB", false, false},
    {"W10-duktape-held", "W10-duktape", "Duktape: held at the peak against live bytes", "x", false,
     false},
    {"W10-duktape-peak", "W10-duktape", "Duktape: peak resident", "MiB", false, false},
    {"W10-shipped-held", "W10-shipped", "shipped: held at the peak against live bytes", "x", false,
     false},
    {"W10-shipped-peak", "W10-shipped", "shipped: peak resident", "MiB", false, false},
    {"give-full", "give", "100 MB of W2's sizes: held against live bytes", "x", false, false},
    {"give", "give", "90 % freed, each by chance, collected: held against live", "x", false, false},
    {"give-rss", "give", "  resident against live", "x", false, false},
    {"give-pages", "give", "  pages with a live object against live", "x", false, false},
    {"give-ms", "give", "  the collect took", "ms", false, false},
    {"give-again", "give", "  what was freed is allocated again, an object", "ns", false, false},
    {"give-all", "give", "all freed, collected: held", "KiB", false, false},
    {"give-all-rss", "give", "  resident", "KiB", false, false},
    {"give-groups", "give-groups", "90 % freed, 1,000 at once, collected: held against live", "x",
     false, true},
    {"give-groups-rss", "give-groups", "  resident against live", "x", false, false},
    {"give-groups-pages", "give-groups", "  pages with a live object against live", "x", false,
     false},
    {"give-groups-ms", "give-groups", "  the collect took", "ms", false, false},
    {"give-groups-again", "give-groups", "  what was freed is allocated again, an object", "ns",
     false, false},
    {"edge", "edge", "taken and given back, a million pairs on a block's edge", "", false, false},
};

const size_t row_count = sizeof(rows) / sizeof(*rows);

_Static_assert(sizeof(rows) / sizeof(*rows) <= ROWS_MAX, "results have a place for each row");

size_t row_find(const char *id)
{
    size_t i;

    for (i = 0; i < row_count; i++) {
        if (strcmp(rows[i].id, id) == 0) {
            break;
        }
    }
    return i;
}
