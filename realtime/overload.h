/* overload.h: whether this node takes new sessions: not when it drains, not when those that it has would suffer. Asked before anything of a newcomer is parsed.
 *
 * Overload begins when one of these reaches its setting and ends when all are below three quarters: connects under way (CONNECTS_WAITING), jobs that wait for
 * workers (OVERLOAD_WORK), entries that wait for storage (OVERLOAD_WRITES), the loop's lag (OVERLOAD_LAG_MS). */
#ifndef REALTIME_OVERLOAD_H
#define REALTIME_OVERLOAD_H

void overload_start(void);
void overload_stop(void);
void overload_connecting(int n); /* +1: a connect has begun; -1: it has ended */

/* NULL: welcome. Else why not, for logs and metrics ("server shutting down", "overload"); counted. Cheap. */
const char *overload_refuses(void);

#endif
