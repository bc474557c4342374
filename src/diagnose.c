#include "diagnose.h"

#include "line.h"

_Atomic(unsigned) jm_diagnostics;

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
