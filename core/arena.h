/* arena.h: memory with one lifetime.
 *
 * One arena serves one REST request, one realtime event or one batch. Nothing allocated from it is freed by hand; arena_free() releases
 * everything and runs the deferred clean-ups, last registered first. An arena belongs to one thread at a time and may be handed, whole,
 * to another. Allocation never fails: out of memory ends the process with a message. */
#ifndef CORE_ARENA_H
#define CORE_ARENA_H

#include <stddef.h>

struct arena;

/* A new, empty arena. `name` (a literal, kept by reference) shows in diagnostics. Never NULL. */
struct arena *arena_new(const char *name);

/* Runs the deferred clean-ups, frees all memory and sets *a to NULL. Does nothing when *a is NULL. */
void arena_free(struct arena **a);

/* Zeroed memory for `size` bytes, aligned for any type. Never NULL; size 0 gives a valid unique pointer. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((malloc, returns_nonnull));

/* Zeroed memory for `count` objects of `size` bytes; an overflowing product ends the process. */
void *arena_array(struct arena *a, size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Copies. arena_dup adds a NUL behind the `len` bytes, so that text of known length becomes a string. */
char *arena_strdup(struct arena *a, const char *s) __attribute__((returns_nonnull));
char *arena_dup(struct arena *a, const void *p, size_t len) __attribute__((returns_nonnull));

/* printf into the arena. */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3), returns_nonnull));

/* Calls fn(p) when the arena is freed: ties a PGresult, json_t or curl handle to the arena's life. */
void arena_defer(struct arena *a, void (*fn)(void *), void *p);

/* Bytes taken from the system so far; used for bounds and metrics. */
size_t arena_bytes(const struct arena *a);

#endif
