/*
 * record.c - see record.h; replay.c describes the trace.
 *
 * Each object is preceded by a header with its slot: a free needs no search.
 *
 * SPDX-License-Identifier: MIT
 * Copyright (c) The libjsrtmem authors
 */

#include "record.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 16 /* bytes; keeps objects aligned */
#define LINE 96   /* columns */

static struct {
    FILE *ops; /* a temporary file: the trace's first line needs the counts */
    uint32_t *empty;
    uint32_t empties;
    uint32_t slots;
    uint32_t capacity;
    uint32_t count;
    int column;
} record;

static void stop(const char *message, const char *what)
{
    fprintf(stderr, "record: %s: %s\n", what, message);
    exit(EXIT_FAILURE);
}

static void put(const char *token)
{
    const int length = (int)strlen(token);

    if (record.ops == NULL) {
        record.ops = tmpfile();
        if (record.ops == NULL) {
            stop("cannot be made", "temporary file");
        }
    }
    if (record.column + length + 1 > LINE) {
        fputc('\n', record.ops);
        record.column = 0;
    } else if (record.column != 0) {
        fputc(' ', record.ops);
        record.column++;
    }
    fputs(token, record.ops);
    record.column += length;
    record.count++;
}

static uint32_t *slot_of(void *ptr)
{
    return (uint32_t *)(void *)((char *)ptr - HEADER);
}

void *record_alloc(size_t size)
{
    char *base = malloc(size + HEADER);
    char token[32];

    if (base == NULL) {
        return NULL;
    }
    if (record.empties == 0 && record.slots == record.capacity) {
        record.capacity = record.capacity != 0 ? record.capacity * 2 : 1024;
        record.empty = realloc(record.empty, record.capacity * sizeof(*record.empty));
        if (record.empty == NULL) {
            stop("no memory", "slots");
        }
    }
    *(uint32_t *)(void *)base =
        record.empties != 0 ? record.empty[--record.empties] : record.slots++;
    snprintf(token, sizeof(token), "+%zu", size);
    put(token);
    return base + HEADER;
}

void *record_realloc(void *ptr, size_t size)
{
    char *base;
    char token[48];

    if (ptr == NULL) {
        return record_alloc(size);
    }
    if (size == 0) {
        record_free(ptr);
        return NULL;
    }
    snprintf(token, sizeof(token), "=%u:%zu", *slot_of(ptr), size);
    base = realloc((char *)ptr - HEADER, size + HEADER);
    if (base == NULL) {
        return NULL;
    }
    put(token);
    return base + HEADER;
}

void record_free(void *ptr)
{
    char token[32];

    if (ptr == NULL) {
        return;
    }
    snprintf(token, sizeof(token), "-%u", *slot_of(ptr));
    put(token);
    record.empty[record.empties++] = *slot_of(ptr);
    free(slot_of(ptr));
}

char *record_script(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text;
    long size = -1;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) {
        stop("cannot be read", path);
    }
    rewind(file);
    text = malloc((size_t)size + 1);
    if (text == NULL || fread(text, 1, (size_t)size, file) != (size_t)size) {
        stop("cannot be read", path);
    }
    fclose(file);
    text[size] = '\0';
    *length = (size_t)size;
    return text;
}

void record_write(const char *path)
{
    FILE *file = fopen(path, "w");
    char buffer[65536];
    size_t n;

    if (file == NULL || record.ops == NULL) {
        stop("cannot be written", path);
    }
    if (record.empties != record.slots) {
        stop("objects are still live", path);
    }
    fprintf(file, "jsrtmem-trace 1 %u %u\n", record.count, record.slots);
    rewind(record.ops);
    while ((n = fread(buffer, 1, sizeof(buffer), record.ops)) != 0) {
        fwrite(buffer, 1, n, file);
    }
    fputc('\n', file);
    if (fclose(file) != 0) {
        stop("cannot be written", path);
    }
}
