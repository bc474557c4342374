/*
 * Layer 1: builds one line of text for standard error, without allocating and without the libc's
 * formatting functions. Text that does not fit is cut off.
 */
#ifndef JM_LINE_H
#define JM_LINE_H

#include "base.h"

struct jm_line {
    size_t length;
    char text[240];
};

/* Returns a line that begins with the library's name. */
struct jm_line jm_line_begin(void);

/* Append text; 0x and a hexadecimal number; `name`, a space and a decimal number. */
void jm_line_text(struct jm_line *line, const char *text);
void jm_line_address(struct jm_line *line, uintptr_t address);
void jm_line_field(struct jm_line *line, const char *name, uint64_t number);

/* Appends a limit in bytes as a field. SIZE_MAX is shown as "none". */
void jm_line_limit(struct jm_line *line, const char *name, size_t limit);

/* Writes the line to standard error. */
void jm_line_end(struct jm_line *line);

/* Reports that an environment variable's value is not `wanted` and is ignored, and that `instead`
 * holds. */
void jm_line_bad_value(const char *variable, const char *value, const char *wanted,
                       const char *instead);

#endif
