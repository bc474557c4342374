#include "diagnose.h"

#include <string.h>

#include "line.h"
#include "os.h"

#define VARIABLE "JSRTMEM_DIAGNOSTICS"

_Atomic(unsigned) jm_diagnostics;

static const struct {
    const char *name;
    enum jm_diagnostic kind;
} kinds[] = {
    {"misuse", JM_DIAGNOSE_MISUSE},
    {"refusals", JM_DIAGNOSE_REFUSALS},
    {"stats", JM_DIAGNOSE_STATS},
};

/* The kind that the first `length` characters name; 0: none. */
static unsigned kind_of(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, name, length) == 0) {
            return (unsigned)kinds[i].kind;
        }
    }
    return 0;
}

/* Names with commas between them, or nothing. False: something else. */
static bool parse(const char *text, unsigned *flags)
{
    *flags = 0;
    if (*text == '\0') {
        return true;
    }
    for (;;) {
        size_t length = strcspn(text, ",");
        unsigned kind = kind_of(text, length);
        if (kind == 0) {
            return false;
        }
        *flags |= kind;
        if (text[length] == '\0') {
            return true;
        }
        text += length + 1;
    }
}

void jm_diagnose_init(void)
{
    const char *text = jm_os_environment(VARIABLE);
    unsigned flags;
    if (text == NULL) {
        return;
    }
    if (!parse(text, &flags)) {
        jm_line_bad_value(VARIABLE, text,
                          "a list of misuse, refusals and stats with commas between",
                          "all are off");
        return;
    }
    jm_store_relaxed(&jm_diagnostics, flags);
}

void jm_diagnose_misuse(const char *call, const void *pointer, const char *what)
{
    struct jm_line line = jm_line_begin();
    jm_line_text(&line, "misuse: ");
    jm_line_text(&line, call);
    jm_line_text(&line, " of ");
    jm_line_address(&line, (uintptr_t)pointer);
    jm_line_text(&line, ", ");
    jm_line_text(&line, what);
    jm_line_end(&line);
}

void jm_diagnose_refusal(enum jm_verdict verdict, uintptr_t runtime, size_t requested, size_t usage,
                         size_t limit)
{
    static const char *const reasons[] = {
        [JM_REFUSED_LIMIT] = "limit",
        [JM_REFUSED_HOST] = "host",
        [JM_REFUSED_OS] = "OS",
        [JM_REFUSED_SIZE] = "size",
        [JM_REFUSED_THREAD] = "thread",
        [JM_REFUSED_CALLBACK] = "callback",
        [JM_REFUSED_ARGUMENT] = "argument",
    };
    struct jm_line line = jm_line_begin();
    jm_line_text(&line, "refused: ");
    jm_line_text(&line, reasons[verdict]);
    jm_line_text(&line, ": runtime ");
    if (runtime == 0) {
        jm_line_field(&line, "none, requested", requested);
    } else {
        jm_line_address(&line, runtime);
        jm_line_field(&line, ", requested", requested);
        jm_line_field(&line, ", usage", usage);
        jm_line_limit(&line, ", limit", limit);
    }
    jm_line_end(&line);
}
