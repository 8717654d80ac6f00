#include "core/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define ARENA_CHUNK 4096
#define ARENA_ALIGN 16

struct chunk {
    struct chunk *next;
    size_t used, size;
    max_align_t data[];
};

struct deferred {
    struct deferred *next;
    void (*fn)(void *);
    void *p;
};

struct arena {
    const char *name;
    struct chunk *chunks; /* the newest first; allocation happens there */
    struct deferred *deferred;
    size_t bytes;
};

static void out_of_memory(const char *what)
{
    fprintf(stderr, "out of memory: %s\n", what);
    abort();
}

struct arena *arena_new(const char *name)
{
    struct arena *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        out_of_memory(name);
    }
    a->name = name;
    return a;
}

static struct chunk *chunk_add(struct arena *a, size_t size)
{
    struct chunk *c = calloc(1, sizeof(*c) + size);
    if (c == NULL) {
        out_of_memory(a->name);
    }
    c->size = size;
    a->bytes += sizeof(*c) + size;
    return c;
}

void arena_free(struct arena **ap)
{
    struct arena *a = *ap;
    if (a == NULL) {
        return;
    }
    *ap = NULL;
    while (a->deferred != NULL) {
        struct deferred *d = a->deferred;
        a->deferred = d->next;
        d->fn(d->p);
    }
    for (struct chunk *c = a->chunks; c != NULL;) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
    free(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX / 2) {
        out_of_memory(a->name);
    }
    size = size == 0 ? ARENA_ALIGN : (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct chunk *top = a->chunks;
    if (top == NULL || top->size - top->used < size) {
        bool large = size > ARENA_CHUNK / 4;
        struct chunk *c = chunk_add(a, large ? size : ARENA_CHUNK);
        if (large && top != NULL) { /* its own chunk, behind the one that still has room */
            c->used = size;
            c->next = top->next;
            top->next = c;
            return c->data;
        }
        c->next = top;
        a->chunks = top = c;
    }
    void *p = (char *)top->data + top->used;
    top->used += size;
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        out_of_memory(a->name);
    }
    return arena_alloc(a, total);
}

char *arena_dup(struct arena *a, const void *p, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    if (len > 0) {
        memcpy(copy, p, len);
    }
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_dup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (len < 0) {
        out_of_memory(a->name);
    }
    char *s = arena_alloc(a, (size_t)len + 1);
    vsnprintf(s, (size_t)len + 1, fmt, again);
    va_end(again);
    return s;
}

void arena_defer(struct arena *a, void (*fn)(void *), void *p)
{
    struct deferred *d = arena_alloc(a, sizeof(*d));
    d->fn = fn;
    d->p = p;
    d->next = a->deferred;
    a->deferred = d;
}

size_t arena_bytes(const struct arena *a)
{
    return a->bytes;
}
