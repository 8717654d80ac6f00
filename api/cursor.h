/* cursor.h: opaque places in a list: base64url of version, keyset, hash of the query that made it, and a MAC. */
#ifndef API_CURSOR_H
#define API_CURSOR_H

#include "core/arena.h"
#include "core/err.h"
#include "core/ids.h"

#include <stdint.h>

/* The keyset: time and id of the last row seen. */
struct cursor {
    int64_t ms;
    char id[USER_ID_MAX + 1];
};

void cursor_start(const uint8_t key[32]);

/* `query` is everything that decides the list: app, operation, filters. */
char *cursor_write(struct arena *a, const char *query, const struct cursor *c);

/* -1: ERR_INVALID_CURSOR (not one of ours) or ERR_CURSOR_MISMATCH (made for another query). */
int cursor_read(struct arena *a, const char *query, const char *text, struct cursor *c_r, struct err *e)
    __attribute__((warn_unused_result));

#endif
