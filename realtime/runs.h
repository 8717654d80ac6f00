/* runs.h: which entries of a conversation a connection has acknowledged: the end of the unbroken run, and what is known beyond it. Pure.
 *
 * Entries that clients are not asked to acknowledge are *noted*: they count as acknowledged as soon as anything behind them is. */
#ifndef REALTIME_RUNS_H
#define REALTIME_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#define RUNS_MAX 64 /* stretches beyond the unbroken run; what does not fit is forgotten: those entries will come again */

struct run {
    int64_t from, to;
};
struct runs {
    int64_t upto;       /* everything up to here is acknowledged */
    int64_t top;        /* the highest acknowledged */
    struct run *beyond; /* acknowledged or noted, above upto, ascending, not touching each other */
    int count, room;
};

void runs_note(struct runs *r, int64_t seq);
bool runs_add(struct runs *r, int64_t seq);   /* one entry is acknowledged; true: upto has grown */
bool runs_raise(struct runs *r, int64_t seq); /* everything up to seq is; true: upto has grown */
void runs_free(struct runs *r);

#endif
