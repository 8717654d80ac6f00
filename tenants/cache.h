/* cache.h: bounded tables of what tenants/ knows, by a 32-byte key.
 *
 * Values are immutable and counted, so that they may be used without the lock; nothing is loaded under the lock. A value that was being loaded while
 * something was dropped is handed to its caller and not kept: it may show the state before the change. Thread-safe. */
#ifndef TENANTS_CACHE_H
#define TENANTS_CACHE_H

#include "core/arena.h"
#include "core/err.h"
#include "core/ids.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define CACHE_KEY_LEN 32
#define CACHE_WAYS 8 /* places a key may be in; the one with the lowest at_ms gives way */

/* The first member of every value. free(value) runs when the last reference goes. */
struct cache_value {
    atomic_int refs;
    void (*free)(void *value);
};

struct cache_slot {
    uint8_t key[CACHE_KEY_LEN];
    struct app_id app;
    int64_t at_ms;    /* when it was loaded */
    int64_t asked_ms; /* when storage was last asked for it */
    struct cache_value *value;
};
struct cache {
    pthread_mutex_t lock;
    struct cache_slot *slots;
    uint32_t sets;
    uint64_t drops;
};
#define CACHE_DEFINE(name, set_count) \
    static struct cache_slot name##_slots[(set_count)*CACHE_WAYS]; \
    static struct cache name = {.lock = PTHREAD_MUTEX_INITIALIZER, .slots = name##_slots, .sets = (set_count)}

/* The key of an app and two strings (NULL = ""). */
void cache_key(uint8_t key_r[CACHE_KEY_LEN], const struct app_id *app, const char *first, const char *second);

/* A zeroed value of `size` bytes with one reference, to be released. Out of memory ends the process. */
void *cache_value_new(size_t size, void (*free_value)(void *));
void cache_release(void *value); /* void * so that arena_defer() takes it; NULL is fine */

/* One more reference, to be released, and its at_ms; or NULL. */
void *cache_find(struct cache *c, const uint8_t key[CACHE_KEY_LEN], int64_t *at_ms_r);
uint64_t cache_stamp(struct cache *c);
/* Keeps value (with a reference of its own) unless something was dropped since the stamp. */
void cache_put(struct cache *c, const uint8_t key[CACHE_KEY_LEN], const struct app_id *app, void *value, int64_t at_ms, uint64_t stamp);
/* Forgets the values of an app (all zero bits: of every app) that `matches` accepts (NULL: all of them). */
void cache_drop(struct cache *c, const struct app_id *app, bool (*matches)(const void *value, const void *arg), const void *arg);

/* Loads a value: 1 and one reference, 0 there is none, -1. */
typedef int cache_loader(void *ctx, struct cache_value **value_r, struct err *e);

struct cache_want {
    uint8_t key[CACHE_KEY_LEN];
    struct app_id app;
    int64_t fresh_ms;
    cache_loader *load;
    void *ctx;
};
/* A value, released with the arena: a kept one that is younger than fresh_ms, else loaded. While storage is away an older one stands in for it and *away_r
 * tells why; otherwise *away_r is zeroed. 1, 0, -1. */
int cache_get(struct cache *c, struct arena *a, const struct cache_want *w, struct cache_value **value_r, struct err *away_r, struct err *e)
    __attribute__((warn_unused_result));

#endif
