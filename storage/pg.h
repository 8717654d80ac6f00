/* pg.h: Postgres for the rest of storage/, in blocking style. Each thread owns one link per login, opened on first use and again after a failure;
 * never called on the gateway's loop thread (asserted).
 *
 * A statement runs as one implicit transaction in one round trip: set_config('parley.app', <app>, true), the statement, Sync (pipeline mode), so
 * that row-level security always has its tenant and no tenant outlives its statement. */
#ifndef STORAGE_PG_H
#define STORAGE_PG_H

#include "core/arena.h"
#include "core/config.h"
#include "core/err.h"
#include "core/tenant.h"

/* Once, before other threads: remembers how to connect. `program` is 'A', 'R' or 'V' and decides the role; node is the application_name. */
void pg_start(const struct config *c, char program, const char *node);

/* 0 when Postgres answers and is writable, within timeout_ms; for /readyz. */
int pg_ping(int timeout_ms, struct err *e) __attribute__((warn_unused_result));

/* 0 when the schema is at the version this program was built with. */
int pg_schema_current(struct err *e) __attribute__((warn_unused_result));

/* Closes this thread's links (thread exit does it too). */
void pg_thread_end(void);

/* Marks the calling thread as one that must not block: pg_ and redis_ calls on it are programming errors. */
void pg_forbid_on_this_thread(void);

#endif
