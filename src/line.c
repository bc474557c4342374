#include "line.h"

#include <stdlib.h>

#include "os.h"

/* Characters of a bad value that are shown. */
#define VALUE_SHOWN 40

struct jm_line jm_line_begin(void)
{
    struct jm_line line = {.length = 0};
    jm_line_text(&line, "libjsrtmem: ");
    return line;
}

static void append(struct jm_line *line, char character)
{
    if (line->length < sizeof line->text - 1) {
        line->text[line->length++] = character;
    }
}

void jm_line_text(struct jm_line *line, const char *text)
{
    while (*text != '\0') {
        append(line, *text++);
    }
}

static void append_number(struct jm_line *line, uint64_t number, unsigned base)
{
    char digits[20]; /* enough for 2^64 */
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    while (count > 0) {
        append(line, digits[--count]);
    }
}

void jm_line_address(struct jm_line *line, uintptr_t address)
{
    jm_line_text(line, "0x");
    append_number(line, address, 16);
}

void jm_line_field(struct jm_line *line, const char *name, uint64_t number)
{
    jm_line_text(line, name);
    append(line, ' ');
    append_number(line, number, 10);
}

void jm_line_limit(struct jm_line *line, const char *name, size_t limit)
{
    if (limit == SIZE_MAX) {
        jm_line_text(line, name);
        jm_line_text(line, " none");
    } else {
        jm_line_field(line, name, limit);
    }
}

void jm_line_end(struct jm_line *line)
{
    line->text[line->length] = '\0';
    jm_os_complain(line->text);
}

_Noreturn void jm_check_failed(const char *what, const char *file, int number)
{
    struct jm_line line = jm_line_begin();
    jm_line_text(&line, file);
    append(&line, ':');
    append_number(&line, (uint64_t)number, 10);
    jm_line_text(&line, ": check failed: ");
    jm_line_text(&line, what);
    jm_line_end(&line);
    abort();
}

/* Appends printable ASCII only: the value stays in its line, without control codes for a
 * terminal. */
static void append_value(struct jm_line *line, const char *value)
{
    size_t shown = 0;
    for (; *value != '\0' && shown < VALUE_SHOWN; value++, shown++) {
        if (*value >= ' ' && *value <= '~') {
            append(line, *value);
        } else {
            append(line, '?');
        }
    }
    jm_line_text(line, *value == '\0' ? "" : "...");
}

void jm_line_bad_value(const char *variable, const char *value, const char *wanted,
                       const char *instead)
{
    struct jm_line line = jm_line_begin();
    jm_line_text(&line, variable);
    jm_line_text(&line, "=\"");
    append_value(&line, value);
    jm_line_text(&line, "\" is not ");
    jm_line_text(&line, wanted);
    jm_line_text(&line, ", and ignored: ");
    jm_line_text(&line, instead);
    jm_line_end(&line);
}
