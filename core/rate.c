#include "core/rate.h"

bool rate_take(struct rate_bucket *b, const struct rate_limit *limit, uint32_t cost, int64_t now_ms, int64_t *retry_after_ms_r)
{
    int64_t passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
    int64_t spent = b->tokens_milli, speed = limit->per_second;
    /* One token per second is one thousandth per millisecond; beyond a full refill the product could overflow and is not needed. */
    bool full = speed > 0 && passed > spent / speed;
    spent = full ? 0 : spent - passed * speed;
    b->at_ms += passed;
    b->tokens_milli = spent;
    int64_t wanted = spent + (int64_t)cost * 1000;
    int64_t room = (int64_t)limit->burst * 1000;
    if (wanted <= room) {
        b->tokens_milli = wanted;
        return true;
    }
    if (retry_after_ms_r != NULL) {
        *retry_after_ms_r = speed == 0 ? RATE_NEVER_MS : (wanted - room + speed - 1) / speed;
    }
    return false;
}
