/* admin.h: the operator's listener of a gateway: GET /livez, /readyz[?verbose] and /metrics over HTTP/1.1, one request a connection. */
#ifndef REALTIME_ADMIN_H
#define REALTIME_ADMIN_H

#include "core/err.h"

int admin_start(struct err *e) __attribute__((warn_unused_result));
void admin_stop(void);

#endif
