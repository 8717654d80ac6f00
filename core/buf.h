/* buf.h: growable bytes on the heap, for what outlives or is outside an arena (frames, bodies under construction).
 * A zeroed struct is an empty buffer. Out of memory ends the process. `data` is NUL-terminated whenever it is not NULL. */
#ifndef CORE_BUF_H
#define CORE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t len;
    size_t cap;
};

void buf_reserve(struct buf *b, size_t more);           /* room for `more` further bytes and a NUL */
void buf_add(struct buf *b, const void *p, size_t len); /* p may be NULL when len is 0 */
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addu(struct buf *b, uint64_t n); /* decimal */
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_json_string(struct buf *b, const char *s, size_t len); /* quoted and escaped by RFC 8259; s is valid UTF-8 */
void buf_clear(struct buf *b);                                      /* length 0, memory kept */
void buf_free(struct buf *b);                                       /* memory released, struct zeroed */
char *buf_steal(struct buf *b, size_t *len_r);                      /* the caller frees the bytes; the struct is zeroed. Never NULL */

#endif
