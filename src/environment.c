#include "environment.h"

#include <string.h>

#include "diagnose.h"
#include "line.h"
#include "os.h"
#include "reserve.h"

#define LIMIT_VARIABLE "JSRTMEM_RESERVE_LIMIT"
#define DIAGNOSTICS_VARIABLE "JSRTMEM_DIAGNOSTICS"

/* Parses digits, optionally followed by one of K, M and G. False: malformed, or above SIZE_MAX. */
static bool parse_size(const char *text, size_t *size)
{
    static const char units[] = "KMG";
    size_t value = 0;
    if (*text < '0' || *text > '9') {
        return false;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        size_t digit = (size_t)(*text - '0');
        if (value > (SIZE_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    const char *unit = *text == '\0' ? NULL : strchr(units, *text);
    if (unit != NULL) {
        unsigned shift = 10 * (unsigned)(unit - units + 1);
        if (value > SIZE_MAX >> shift) {
            return false;
        }
        value <<= shift;
        text++;
    }
    *size = value;
    return *text == '\0';
}

static const struct {
    const char *name;
    enum jm_diagnostic kind;
} kinds[] = {
    {"misuse", JM_DIAGNOSE_MISUSE},
    {"refusals", JM_DIAGNOSE_REFUSALS},
    {"stats", JM_DIAGNOSE_STATS},
};

/* The kind that the first `length` characters of `name` name. 0: none. */
static unsigned kind_of(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, name, length) == 0) {
            return (unsigned)kinds[i].kind;
        }
    }
    return 0;
}

/* Parses a comma-separated list of names, which may be empty. False: malformed. */
static bool parse_kinds(const char *text, unsigned *flags)
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

static void set_diagnostics(const char *text)
{
    unsigned flags;
    if (parse_kinds(text, &flags)) {
        jm_store_relaxed(&jm_diagnostics, flags);
    } else {
        jm_line_bad_value(DIAGNOSTICS_VARIABLE, text,
                          "a list of misuse, refusals and stats with commas between",
                          "all are off");
    }
}

static void set_reserve_limit(const char *text)
{
    size_t limit;
    static_assert(JM_RESERVE_DEFAULT_LIMIT == 33554432, "the message says so");
    if (parse_size(text, &limit)) {
        jm_reserve_set_limit(limit);
    } else if (*text != '\0') {
        jm_line_bad_value(LIMIT_VARIABLE, text,
                          "a possible number of bytes, with or without K, M or G",
                          "the bound is 32M");
    }
}

void jm_environment_read(void)
{
    const char *value = jm_os_environment(DIAGNOSTICS_VARIABLE);
    if (value != NULL) {
        set_diagnostics(value);
    }
    value = jm_os_environment(LIMIT_VARIABLE);
    if (value != NULL) {
        set_reserve_limit(value);
    }
}
