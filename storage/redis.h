/* redis.h: Redis for threads that may block: one link per thread, opened on first use, opened again with backoff after a failure; commands time out
 * after one second. Redis is a cache and a bus: every caller can go on without it. Inside storage/ only (the declarations that need hiredis are in redis-private.h). */
#ifndef STORAGE_REDIS_H
#define STORAGE_REDIS_H

#include "core/config.h"
#include "core/err.h"

void redis_start(const struct config *c);
int redis_ping(struct err *e) __attribute__((warn_unused_result)); /* for /readyz */
void redis_thread_end(void);                                       /* closes this thread's link (thread exit does it too) */

/* Marks the calling thread as one that must not block (asserted); pg_forbid_on_this_thread() calls it. */
void redis_forbid_on_this_thread(void);

#endif
