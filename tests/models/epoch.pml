/*
 * src/pagemap.h, pagemap.c: readers of other threads' blocks, against those who give blocks back.
 *
 * A reader counts itself for the epoch in which it begins, and looks a block up after that. A block is
 * unregistered, and gone two epochs later. An epoch ends when the readers of the one before have left.
 *
 * No reader finds a block gone, or in the hands of another, while it reads. Once no reader is left,
 * what was unregistered can be given back.
 *
 * mutant NO_RECHECK: a reader does not look whether the epoch ended while it counted itself
 * mutant ONE_EPOCH: a block is gone one epoch after it was unregistered
 * mutant OTHER_PARITY: an epoch ends when its own readers, not those before, have left
 * mutant LOOKED_UP_EARLY: relaxed: the block is looked up before the reader is seen counted
 * mutant UNREGISTERED_LATE: the epoch is read before the block is unregistered
 * mutant LEFT_EARLY: a reader leaves before its last read
 * mutant ONE_STRIPE: only one stripe of readers is looked at
 * mutant COUNTED_LATE: a reader looks whether the epoch ended before it counts itself
 * Where no reader at all is seen after a block was unregistered, it is gone at once.
 *
 * mutant SEEN_IN_ANOTHER: the readers were looked at in an epoch before the one that is ended
 * mutant QUIET_EARLY: it is seen that there is no reader before the block is unregistered
 * mutant QUIET_ONE_EPOCH: only the readers of the current epoch's parity are looked at
 */
#define GIVERS 2
#define STRIPES 2

byte epoch;
byte readers[STRIPES * 2]; /* stripe * 2 + epoch % 2 */
bool registered[GIVERS];   /* one unit and one block for each giver */
byte life[GIVERS];         /* of the block: goes up when it is given back */

inline has_readers(at, found)
{
#ifdef OTHER_PARITY
    found = readers[at % 2] != 0;
    if
    :: !found -> found = readers[2 + at % 2] != 0
    :: else
    fi
#else
    found = readers[(at + 1) % 2] != 0;
#ifndef ONE_STRIPE
    if
    :: !found -> found = readers[2 + (at + 1) % 2] != 0
    :: else
    fi
#endif
#endif
}

/* jm_pagemap_is_quiet: the counters are read one by one. */
inline is_quiet(quiet)
{
#ifdef QUIET_ONE_EPOCH
    quiet = readers[epoch % 2] == 0;
    if
    :: quiet -> quiet = readers[2 + epoch % 2] == 0
    :: else
    fi
#else
    quiet = readers[0] == 0;
    if
    :: quiet -> quiet = readers[1] == 0
    :: else
    fi;
    if
    :: quiet -> quiet = readers[2] == 0
    :: else
    fi;
    if
    :: quiet -> quiet = readers[3] == 0
    :: else
    fi
#endif
}

/* One step of jm_pagemap_advance. */
inline advance()
{
    at = epoch;
    has_readers(at, found);
    if
    :: !found ->
#ifdef SEEN_IN_ANOTHER
       at = epoch;
#endif
       atomic {
           if
           :: epoch == at -> epoch = at + 1
           :: else
           fi
       }
    :: else
    fi
}

#ifdef ONE_EPOCH
#define IS_OVER(since) (epoch >= since + 1)
#else
#define IS_OVER(since) (epoch >= since + 2)
#endif

proctype reader()
{
    byte mine, seen_life, unit, stripe;
    bool found;
    if
    :: stripe = 0
    :: stripe = 1
    fi;
    if
    :: unit = 0
    :: unit = 1
    fi;
#ifdef LOOKED_UP_EARLY
    atomic { found = registered[unit]; seen_life = life[unit] }
#endif
    do
    :: mine = epoch;
#ifdef COUNTED_LATE
       if
       :: epoch == mine -> readers[stripe * 2 + mine % 2]++; break
       :: else
       fi
#else
       readers[stripe * 2 + mine % 2]++;
#ifdef NO_RECHECK
       break
#else
       if
       :: epoch == mine -> break
       :: else -> readers[stripe * 2 + mine % 2]--
       fi
#endif
#endif
    od;
#ifndef LOOKED_UP_EARLY
    atomic { found = registered[unit]; seen_life = life[unit] }
#endif
#ifdef LEFT_EARLY
    readers[stripe * 2 + mine % 2]--;
    assert(!found || life[unit] == seen_life)
#else
    assert(!found || life[unit] == seen_life);
    readers[stripe * 2 + mine % 2]--
#endif
}

/* Gives its block back, more than once as another's. */
proctype giver(byte unit; byte rounds)
{
    byte since, at;
    bool found, quiet;
    do
    :: rounds == 0 -> break
    :: else ->
       rounds--;
#ifdef UNREGISTERED_LATE
       since = epoch;
       registered[unit] = false;
       quiet = false;
#else
#ifdef QUIET_EARLY
       is_quiet(quiet);
       registered[unit] = false;
#else
       registered[unit] = false;
       if
       :: is_quiet(quiet)
       :: quiet = false /* another reader, who is not modelled, came in between */
       fi;
#endif
       since = epoch;
#endif
       do
       :: quiet || IS_OVER(since) -> break
       :: else -> advance()
       od;
       life[unit]++;
       registered[unit] = true
    od
}

init {
    byte i;
    atomic {
        for (i : 0 .. GIVERS - 1) {
            registered[i] = true;
            run giver(i, 2 - i)
        }
        run reader()
    };
    /* Givers do not wait for ever: all processes end. */
    _nr_pr == 1
}
