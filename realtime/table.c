#include "realtime/table.h"

#include "core/crypto.h"

#include <assert.h>

#define SMALLEST 16

static uint64_t seed(void)
{
    static uint64_t s;
    if (s == 0) {
        crypto_random(&s, sizeof(s));
        s |= 1;
    }
    return s;
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93U;
    h ^= h >> 29;
    h *= 0xa0761d6478bd642fU;
    return h ^ (h >> 32);
}

uint64_t table_hash(const void *p, size_t len, uint64_t more)
{
    const unsigned char *bytes = p;
    uint64_t h = mix(more ^ seed() ^ len);
    for (; len >= 8; len -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        h = mix(h ^ word);
    }
    if (len > 0) {
        uint64_t word = 0;
        memcpy(&word, bytes, len);
        h = mix(h ^ word);
    }
    return h;
}

/* The slot that holds the item, or the free one where the search ends. */
static size_t place(const struct table *t, uint64_t hash, const void *key)
{
    size_t i = hash & (t->size - 1);
    while (t->slots[i].item != NULL && (t->slots[i].hash != hash || !t->same(t->slots[i].item, key))) {
        i = (i + 1) & (t->size - 1);
    }
    return i;
}

void *table_find(const struct table *t, uint64_t hash, const void *key)
{
    return t->count == 0 ? NULL : t->slots[place(t, hash, key)].item;
}

static void insert(struct table *t, uint64_t hash, void *item)
{
    size_t i = hash & (t->size - 1);
    while (t->slots[i].item != NULL) {
        i = (i + 1) & (t->size - 1);
    }
    t->slots[i] = (struct table_slot){hash, item};
}

static void grow(struct table *t)
{
    struct table old = *t;
    t->size = old.size == 0 ? SMALLEST : old.size * 2;
    t->slots = calloc(t->size, sizeof(*t->slots));
    if (t->slots == NULL) {
        fputs("out of memory: table\n", stderr);
        abort();
    }
    for (size_t i = 0; i < old.size; i++) {
        if (old.slots[i].item != NULL) {
            insert(t, old.slots[i].hash, old.slots[i].item);
        }
    }
    free(old.slots);
}

void table_put(struct table *t, uint64_t hash, void *item)
{
    assert(item != NULL);
    if ((t->count + 1) * 4 > t->size * 3) {
        grow(t);
    }
    insert(t, hash, item);
    t->count++;
}

void *table_take(struct table *t, uint64_t hash, const void *key)
{
    if (t->count == 0) {
        return NULL;
    }
    size_t hole = place(t, hash, key), mask = t->size - 1;
    void *item = t->slots[hole].item;
    if (item == NULL) {
        return NULL;
    }
    /* Items behind the hole move up when their own place is not behind it. */
    for (size_t i = (hole + 1) & mask; t->slots[i].item != NULL; i = (i + 1) & mask) {
        size_t home = t->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole].item = NULL;
    t->count--;
    return item;
}

void table_free(struct table *t)
{
    free(t->slots);
    t->slots = NULL;
    t->size = t->count = 0;
}

void *table_next(const struct table *t, size_t *at)
{
    while (*at < t->size) {
        void *item = t->slots[(*at)++].item;
        if (item != NULL) {
            return item;
        }
    }
    return NULL;
}
