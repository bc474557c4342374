/*
 * src/registry.h, registry.c: readers of a slot against its dispose and its next user.
 *
 * A handle is a slot and a tag. A reader finds the slot by its tag, reads a field, and asks after that
 * whether the tag is still the one it wanted: then what it read belongs to its handle.
 *
 * Each user of the slot writes its own mark into the field; a reader that got an answer must have got
 * the mark of the user whose handle it had. How the slot goes from one user to the next is in
 * freelist.pml.
 *
 * mutant NO_RECHECK: the reader does not look at the tag again
 * mutant RECHECK_EARLY: no acquire fence: the second look at the tag comes before the field
 * mutant RETRACT_LATE: no release fence: the next user's writes overtake the tag that is even
 * mutant PUBLISH_EARLY: relaxed publish: the tag is odd before the field is new
 * mutant SAME_TAG: generations are not counted
 * mutant GIVE_EARLY: the slot is given before it is retracted
 */
#define USERS 3
#define READERS 2

byte tag;   /* odd: live */
byte field; /* the mark of the user who wrote it last */
bool given = true;

/* What a handle says: handed from users to readers by any way that orders memory. */
byte handle_tag, handle_mark;

inline publish()
{
    tag = tag | 1;
    d_step {
        handle_tag = tag;
        handle_mark = self
    }
}

/* Makes the slot live and, at some time, dead. */
proctype user(byte self)
{
    atomic { given -> given = false }
#ifdef PUBLISH_EARLY
    publish();
    field = self;
#else
    field = self;
    publish();
#endif
#ifdef GIVE_EARLY
    given = true;
    tag = tag + 1
#else
#ifdef RETRACT_LATE
    field = 255;
#endif
#ifdef SAME_TAG
    tag = tag - 1;
#else
    tag = tag + 1;
#endif
    given = true
#endif
}

proctype reader()
{
    byte wanted, mark, value, early;
    d_step {
        wanted = handle_tag;
        mark = handle_mark
    }
    if
    :: wanted != 0 && tag == wanted ->
#ifdef RECHECK_EARLY
       early = tag;
       value = field;
#else
       value = field;
       early = tag;
#endif
       if
#ifdef NO_RECHECK
       :: true -> assert(value == mark)
#else
       :: early == wanted -> assert(value == mark)
       :: else
#endif
       fi
    :: else
    fi
}

init {
    byte i;
    atomic {
        for (i : 1 .. USERS) {
            run user(i)
        }
        for (i : 1 .. READERS) {
            run reader()
        }
    }
}
