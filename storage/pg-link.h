/* pg-link.h: the links of a thread: opened on use, one per login. For pg.c and pg_call.c. */
#ifndef STORAGE_PG_LINK_H
#define STORAGE_PG_LINK_H

#include "core/err.h"
#include "storage/pg-private.h"

#include <libpq-fe.h>

enum pg_login { PG_LOGIN_PROGRAM, PG_LOGIN_WRITER, PG_LOGIN_PING, PG_LOGIN_COUNT };
enum pg_prelude { PG_PRELUDE_APP, PG_PRELUDE_PLATFORM, PG_PRELUDE_COUNT };

struct pg_link {
    PGconn *conn; /* NULL: closed */
    bool prepared[PG_STATEMENT_COUNT];
    bool prelude_prepared[PG_PRELUDE_COUNT];
    int64_t retry_at_ms; /* monotonic; no attempt to connect before */
};

/* This thread's link, open and in pipeline mode; NULL and ERR_STORAGE_UNAVAILABLE. One that the server has closed meanwhile is opened anew. */
struct pg_link *pg_link_get(enum pg_login login, int timeout_ms, struct err *e);
void pg_link_drop(struct pg_link *l);

/* Waits until the socket is readable (or writable too) or the deadline (monotonic ms) has passed. 1 ready, 0 late, -1 failed. */
int pg_link_wait(PGconn *conn, short events, int64_t deadline_ms);

#endif
