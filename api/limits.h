/* limits.h: rate limits of this process: token buckets by name in a table of fixed size. Thread-safe. */
#ifndef API_LIMITS_H
#define API_LIMITS_H

#include "core/config.h"
#include "core/rate.h"

#include <stdbool.h>
#include <stdint.h>

void limits_start(const struct config *c);
struct rate_limit limits_per_key(void);
struct rate_limit limits_per_user(void);

/* Takes `cost` tokens from the bucket (kind, who). False: not there; *retry_after_ms_r says when. left_r: whole tokens left (both may be NULL). A table that is
 * full forgets the bucket unused longest. */
bool limits_take(const char *kind, const char *who, const struct rate_limit *limit, uint32_t cost, int64_t *retry_after_ms_r,
                 uint32_t *left_r);

/* Counts a refused credential of an address. False: the address has had more than its share in a minute. */
bool limits_auth_failed(const char *ip, int64_t *retry_after_ms_r);

#endif
