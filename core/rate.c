#include "core/rate.h"

bool rate_take(struct rate_bucket *b, const struct rate_limit *limit, uint32_t cost, int64_t now_ms, int64_t *retry_after_ms_r)
{
    int64_t passed = b->at_ms == 0 || now_ms < b->at_ms ? 0 : now_ms - b->at_ms;
    int64_t spent = b->tokens_milli;
    /* One token per second is one thousandth per millisecond; spans beyond a full refill need no product. */
    int64_t refill = passed > spent ? spent : passed * (int64_t)limit->per_second;
    spent = refill >= spent ? 0 : spent - refill;
    b->at_ms = now_ms;
    b->tokens_milli = spent;
    int64_t wanted = spent + (int64_t)cost * 1000;
    int64_t room = (int64_t)limit->burst * 1000;
    if (wanted <= room) {
        b->tokens_milli = wanted;
        return true;
    }
    if (retry_after_ms_r != 0) {
        int64_t per_ms = limit->per_second == 0 ? 1 : limit->per_second;
        *retry_after_ms_r = (wanted - room + per_ms - 1) / per_ms;
    }
    return false;
}
