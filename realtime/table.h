/* table.h: a hash table of pointers: open addressing, linear probing, no tombstones. The caller owns the items and keeps their keys unchanged while they are in.
 * Hashes are seeded, so that clients who choose their ids cannot choose their places. */
#ifndef REALTIME_TABLE_H
#define REALTIME_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot {
    uint64_t hash;
    void *item; /* NULL = free */
};
struct table {
    struct table_slot *slots;
    size_t size, count; /* size is a power of two, or 0 */
    bool (*same)(const void *item, const void *key);
};

/* Hash of len bytes, continued from `more` (0 to begin). */
uint64_t table_hash(const void *p, size_t len, uint64_t more);

void *table_find(const struct table *t, uint64_t hash, const void *key); /* NULL: not there */
void table_put(struct table *t, uint64_t hash, void *item);              /* must not be there yet */
void *table_take(struct table *t, uint64_t hash, const void *key);       /* removes; NULL: was not there */
void table_free(struct table *t);                                        /* the slots, not the items */

/* Walks all items: start with *at = 0; NULL at the end. Nothing may be put or taken meanwhile. */
void *table_next(const struct table *t, size_t *at);

#endif
