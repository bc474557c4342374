/*
 * Layer 1: one line of text for standard error, put together without memory of its own and without a
 * formatter of the libc's. What does not fit is left out.
 */
#ifndef JM_LINE_H
#define JM_LINE_H

#include "base.h"

struct jm_line {
    size_t length;
    char text[240];
};

/* A line begins with the library's name. */
struct jm_line jm_line_begin(void);

/* Appends text; a number in hexadecimal behind 0x; `name`, a space and a number in decimal. */
void jm_line_text(struct jm_line *line, const char *text);
void jm_line_address(struct jm_line *line, uintptr_t address);
void jm_line_field(struct jm_line *line, const char *name, uint64_t number);

/* Appends a limit in bytes, as a field; the largest number is none. */
void jm_line_limit(struct jm_line *line, const char *name, size_t limit);

/* Writes it. */
void jm_line_end(struct jm_line *line);

/* Says that the value of an environment variable is not what it should be, and what holds instead. */
void jm_line_bad_value(const char *variable, const char *value, const char *wanted,
                       const char *instead);

#endif
