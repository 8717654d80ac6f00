/* runs.h: which entries of a conversation a connection has acknowledged: the end of the unbroken run from the start, and what was acknowledged beyond it. Pure. */
#ifndef REALTIME_RUNS_H
#define REALTIME_RUNS_H

#include <stdbool.h>
#include <stdint.h>

#define RUNS_MAX 64 /* stretches beyond the unbroken run; further acknowledgements are forgotten: the entries will come again */

struct run {
    int64_t from, to;
};
struct runs {
    int64_t upto;      /* everything up to here is acknowledged */
    struct run *beyond; /* ascending, not touching each other */
    int count, room;
};

bool runs_add(struct runs *r, int64_t seq);   /* one entry; true: upto has grown */
bool runs_raise(struct runs *r, int64_t seq); /* everything up to seq; true: upto has grown */
void runs_free(struct runs *r);

#endif
