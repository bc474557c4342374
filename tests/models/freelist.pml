/*
 * src/registry.c: the list of slots that are free, a stack whose head counts its changes.
 *
 * No slot has two takers, and none is lost.
 *
 * mutant NO_CHANGES: the head does not count its changes
 * mutant LINKED_LATE: relaxed: the head names a slot before its link is seen
 * mutant HEAD_STORED: the head is stored instead of swapped
 */
#define SLOTS 3
#define USERS 3

byte next[SLOTS]; /* index + 1 */
byte head, changes;
byte takers[SLOTS];

/* Swaps the head if it is as it was seen; leaves `swapped`. */
inline swap_head(to)
{
    atomic {
        if
#ifdef NO_CHANGES
        :: head == seen_head -> head = to; swapped = true
#else
#ifdef HEAD_STORED
        :: true -> head = to; changes++; swapped = true
#else
        :: head == seen_head && changes == seen_changes ->
           head = to;
           changes++;
           swapped = true
#endif
#endif
        :: else -> swapped = false
        fi
    }
}

inline load_head()
{
    d_step {
        seen_head = head;
        seen_changes = changes
    }
}

proctype user(byte lives)
{
    byte seen_head, seen_changes, link, slot, life;
    bool swapped;
    do
    :: life == lives -> break
    :: else ->
       life++;
       do
       :: load_head();
          assert(seen_head != 0); /* there are as many slots as users */
          link = next[seen_head - 1];
          swap_head(link);
          if
          :: swapped -> break
          :: else
          fi
       od;
       slot = seen_head - 1;
       takers[slot]++;
       assert(takers[slot] == 1);
       takers[slot]--;
       do
       :: load_head();
#ifdef LINKED_LATE
          swap_head(slot + 1);
          if
          :: swapped -> next[slot] = seen_head; break
          :: else
          fi
#else
          next[slot] = seen_head;
          swap_head(slot + 1);
          if
          :: swapped -> break
          :: else
          fi
#endif
       od
    od
}

init {
    byte i, found;
    atomic {
        for (i : 1 .. SLOTS) {
            next[i - 1] = (i == SLOTS -> 0 : i + 1)
        }
        head = 1;
        run user(2);
        run user(2);
        run user(1)
    }
    _nr_pr == 1;
    i = head;
    do
    :: i == 0 || found > SLOTS -> break
    :: else -> found++; i = next[i - 1]
    od;
    assert(found == SLOTS)
}
