/* rate.h: token bucket. A zeroed bucket is full. Not thread-safe; its owner is. */
#ifndef CORE_RATE_H
#define CORE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_NEVER_MS INT64_C(86400000) /* a day: callers may add to it and print it */

struct rate_limit {
    uint32_t per_second;
    uint32_t burst;
};
struct rate_bucket {
    int64_t tokens_milli; /* spent below the burst, in thousandths */
    int64_t at_ms;
};

/* Takes `cost` tokens at monotonic time now_ms. True when they were there; otherwise nothing is taken and *retry_after_ms_r (may be NULL) says
 * when they will be: RATE_NEVER_MS when nothing refills. A cost above the burst is never there. */
bool rate_take(struct rate_bucket *b, const struct rate_limit *limit, uint32_t cost, int64_t now_ms, int64_t *retry_after_ms_r);

#endif
