/*
 * src/quota.h, quota.c, block.c: what one runtime is charged, while its limit changes, its peak is
 * reset, its host answers either way, the OS refuses or not, and threads take turns in using it.
 *
 *      usage == granted - freed as the events say        at every event
 *      usage <= limit  that a setter has returned from   at every charge
 *      usage <= peak                                     when nobody is at work
 *
 * Two threads use the runtime, each for the length of an operation; two others set the limit, or one
 * resets the peak.
 *
 * mutant NO_LOOK_AT_CHARGE: the limit is not looked at again when the host has answered
 * mutant NO_WAIT: who sets the limit does not wait until what it allowed before is charged
 * mutant RAISE_NO_WAIT: nor does who sets a higher one than another setter, who waits still
 * mutant ENDS_EARLY: the end of a charge is seen before the charge
 * mutant LOOK_NO_FENCE: the last look may come before it is seen that a charge has begun
 * mutant WAIT_NO_FENCE: whether one has begun may be looked at before the lower limit is seen
 * mutant CHARGE_REFUSED: what the host refused is charged
 * mutant CHARGE_UNSUPPLIED: what the OS refused after the last look is charged
 * mutant FREE_TOLD_EARLY: the host is told of a release before the usage is lower
 * mutant NOT_TAKEN: a thread uses the runtime although another one does
 * mutant RELEASED_EARLY: relaxed end of an operation: the next user sees the usage as it was before
 * mutant CHARGE_NO_FENCE: the user may have read the peak before its charge is seen
 * mutant RESET_NO_FENCE: the second look at the usage may come before the reset is seen
 * mutant RESET_ONCE: the peak is reset without a second look at the usage
 */
#define OPERATIONS 2
#define NO_LIMIT 9

byte owner; /* 0: nobody */
byte usage, peak;
byte limit = NO_LIMIT;
byte mirror;        /* granted - freed, as the events say */
byte in_force = NO_LIMIT;
byte charging;      /* odd from the last look to the charge */
byte working;

inline look(answer)
{
    answer = usage <= limit && 1 <= limit - usage
}

/* The peak is shown once the charge is sure. Only the user of the runtime does so. What it reads without a fence
 * may be as it was before the charge. */
inline confirm()
{
#ifndef CHARGE_NO_FENCE
    if
    :: usage <= seen_peak -> seen_peak = peak
    :: else
    fi;
#endif
    if
    :: usage > seen_peak -> peak = usage
    :: else
    fi
}

/* The last look. Whoever lowers the limit sees that a charge has begun, or this sees the lower limit. */
inline begin_charge()
{
#ifdef LOOK_NO_FENCE
    look(allowed);
    charging++
#else
    charging++;
#ifndef NO_LOOK_AT_CHARGE
    look(allowed)
#else
    skip
#endif
#endif
}

inline acquire()
{
    look(allowed);
    if
    :: allowed ->
       assert(usage == mirror); /* the host reads it inside Allocate */
       if
       :: answer = true
       :: answer = false
       fi;
#ifndef CHARGE_REFUSED
       if
       :: !answer -> goto refused
       :: else
       fi;
#endif
       begin_charge();
       if
       :: allowed ->
#ifdef ENDS_EARLY
          charging++;
#endif
          if
          :: charge(); /* supplied before, or now; the host counts the block: it said yes */
             mirror = mirror + answer
          :: skip; /* the OS refuses */
#ifdef CHARGE_UNSUPPLIED
             charge()
#endif
          fi
       :: else
       fi;
#ifndef ENDS_EARLY
       charging++;
#endif
       confirm()
    :: else
    fi;
refused:
    assert(usage == mirror) /* the host reads it inside Failure, or between operations */
}

/* The usage has one writer at a time, so it is written without a locked instruction. */
inline charge()
{
    read = usage;
    seen_peak = peak;
    d_step {
        usage = read + 1;
        assert(usage <= in_force)
    }
}

inline release()
{
#ifdef FREE_TOLD_EARLY
    mirror--;
    assert(usage == mirror);
    read = usage;
    usage = read - 1
#else
    read = usage;
    usage = read - 1;
    mirror--;
    assert(usage == mirror)
#endif
}

proctype user(byte self)
{
    byte count, read, seen_peak, stale;
    bool allowed, answer;
    do
    :: count == OPERATIONS -> break
    :: else ->
       count++;
       atomic {
#ifdef NOT_TAKEN
           owner = self
#else
           owner == 0 -> owner = self
#endif
       }
       stale = usage;
       if
       :: usage > 0 -> release()
       :: acquire()
       fi;
#ifdef RELEASED_EARLY
       /* The last store of the operation is seen by the next user after the store that lets it in. */
       if
       :: usage != stale ->
          read = usage;
          usage = stale;
          owner = 0;
          usage = read
       :: else -> owner = 0
       fi
#else
       owner = 0
#endif
    od;
    working--
}

/* A limit is in force once its setter has returned, if it is still the last one. */
proctype setter()
{
    byte to, seen, before;
    if
    :: to = 0
    :: to = 1
    :: to = NO_LIMIT
    fi;
#ifdef WAIT_NO_FENCE
    seen = charging;
#endif
    d_step {
        before = limit;
        limit = to;
        in_force = (to > in_force -> to : in_force)
    }
#ifndef WAIT_NO_FENCE
    seen = charging;
#endif
#ifdef RAISE_NO_WAIT
    if
    :: to >= before -> seen = 0
    :: else
    fi;
#endif
#ifndef NO_WAIT
    (seen % 2 == 0 || charging != seen);
#endif
    d_step {
        if
        :: limit == to -> in_force = to
        :: else
        fi
    };
    working--
}

/* Two resets, each with a second look, for the usage may have grown meanwhile. */
proctype resetter()
{
    byte first, seen_usage, seen_peak, round;
    do
    :: round == 2 -> break
    :: else ->
       round++;
       first = usage;
#ifdef RESET_NO_FENCE
       seen_usage = usage;
#endif
       peak = first;
#ifndef RESET_ONCE
       seen_peak = peak;
#ifndef RESET_NO_FENCE
       seen_usage = usage;
#endif
       do
       :: seen_usage <= seen_peak -> break
       :: else ->
          atomic {
              if
              :: peak == seen_peak -> peak = seen_usage; break
              :: else -> seen_peak = peak
              fi
          };
          seen_usage = usage
       od
#endif
    od;
    working--
}

init {
    working = 3;
    atomic {
        run user(1);
        run user(2);
        if
        :: run resetter()
        :: working = 4;
           run setter();
           run setter()
        fi
    };
    working == 0;
    assert(usage == mirror && usage <= peak)
}
