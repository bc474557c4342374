/*
 * src/remote.c: frees from threads that do not use the heap, against the user who takes them in.
 *
 *      freeing thread   map[object]: live -> queued   segment |= its bit   heap = marked
 *      heap's user      heap -> unmarked              segment -> 0         queued objects -> free
 *
 * A mark that is found set is left as it is. A thread whose object was taken in by others' marks makes its
 * own late, in whatever block and heap are there then: one that makes both for nothing comes along.
 *
 * Each object that a thread was told to have freed is taken in once, by a drain that is going on or by the
 * next one: nothing is left behind. Of two frees of one object one succeeds.
 *
 * mutant SEGMENT_FIRST: the segment is marked before the object
 * mutant HEAP_FIRST: the heap is marked before the segment
 * mutant SEGMENT_SEEN_EARLY: relaxed: the segment's mark is read before the object is seen as queued
 * mutant HEAP_SEEN_EARLY: relaxed: the heap's mark is read before the segment is seen as marked
 * mutant MARKED_TWICE: the object is marked by a load and a store
 * mutant HEAP_CLEARED_LAST: the user clears the heap's mark when it has drained
 * mutant SEGMENT_CLEARED_LAST: the user clears a segment's mark when it has drained it
 * mutant SEGMENT_STORED: the user reads the segments and stores 0, instead of exchanging
 */
#define OBJECTS 3 /* two in the first segment, one in the second */
#define SEGMENT_OF(object) (1 << ((object) / 2))

mtype = { live, queued, free };
mtype map[OBJECTS];
byte segments; /* of the one block */
bool heap;
byte told[OBJECTS]; /* successful frees of an object */
byte taken[OBJECTS];
byte at_work;

inline free_object(object)
{
#ifdef SEGMENT_FIRST
    segments = segments | SEGMENT_OF(object);
#endif
#ifdef SEGMENT_SEEN_EARLY
    seen = segments;
#endif
#ifdef MARKED_TWICE
    state = map[object];
    if
    :: state == live -> map[object] = queued; won = true
    :: else -> won = false
    fi;
#else
    atomic {
        if
        :: map[object] == live -> map[object] = queued; won = true
        :: else -> won = false
        fi
    };
#endif
    if
    :: won ->
       told[object]++;
#ifdef HEAP_FIRST
       heap = true;
#endif
#ifdef HEAP_SEEN_EARLY
       seen_heap = heap;
#endif
#ifndef SEGMENT_FIRST
#ifndef SEGMENT_SEEN_EARLY
       seen = segments;
#endif
       if
       :: (seen & SEGMENT_OF(object)) == 0 -> segments = segments | SEGMENT_OF(object)
       :: else
       fi;
#endif
#ifndef HEAP_FIRST
#ifndef HEAP_SEEN_EARLY
       seen_heap = heap;
#endif
       if
       :: !seen_heap -> heap = true
       :: else
       fi
#else
       skip
#endif
    :: else
    fi
}

proctype freer(byte first; byte second)
{
    byte seen;
    bool won, seen_heap;
    mtype state;
    free_object(first);
    free_object(second);
    at_work--
}

inline drain_segment(segment)
{
    for (object : 0 .. OBJECTS - 1) {
        if
        :: SEGMENT_OF(object) == segment && map[object] == queued ->
           map[object] = free;
           taken[object]++
        :: else
        fi
    }
}

inline drain()
{
    if
    :: heap ->
#ifndef HEAP_CLEARED_LAST
       heap = false;
#endif
       mine = 0;
       if
       :: segments != 0 ->
#ifdef SEGMENT_CLEARED_LAST
          mine = segments
#else
#ifdef SEGMENT_STORED
          mine = segments;
          segments = 0
#else
          atomic { mine = segments; segments = 0 }
#endif
#endif
       :: else
       fi;
       if
       :: (mine & 1) != 0 -> drain_segment(1)
       :: else
       fi;
       if
       :: (mine & 2) != 0 -> drain_segment(2)
       :: else
       fi;
#ifdef SEGMENT_CLEARED_LAST
       segments = segments & ~mine;
#endif
#ifdef HEAP_CLEARED_LAST
       heap = false
#else
       skip
#endif
    :: else
    fi
}

/* Its object was another heap's, and has been taken in long ago. */
proctype latecomer()
{
    segments = segments | 1;
    d_step {
        heap = true;
        at_work--
    }
}

/* Drains while others free, and once when they are done: that takes in whatever was queued. */
active proctype heap_user()
{
    byte object, mine, round;
    atomic {
        for (object : 0 .. OBJECTS - 1) {
            map[object] = live
        }
        at_work = 4;
        run latecomer();
        run freer(0, 2);
        run freer(1, 0);
        run freer(2, 1)
    };
    for (round : 1 .. 2) {
        drain()
    }
    at_work == 0;
    drain();
    for (object : 0 .. OBJECTS - 1) {
        assert(told[object] == 1 && taken[object] == 1 && map[object] == free)
    }
}
