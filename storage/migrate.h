/* migrate.h: the schema's migrations: embedded files "migrations/NNNN_words.sql", applied in order and remembered in schema_migrations (version, name,
 * sha256, applied_at). Used by parley-migrate alone. */
#ifndef STORAGE_MIGRATE_H
#define STORAGE_MIGRATE_H

#include "core/config.h"
#include "core/err.h"

#include <stdbool.h>
#include <stdio.h>

enum migrate_mode { MIGRATE_UP, MIGRATE_DRY_RUN, MIGRATE_STATUS };

/* Connects as parley_owner, takes the advisory lock (another migration running: waits), refuses changed, missing or unknown files, and applies what is
 * new, each file in its own transaction. Progress goes to out. 0, or -1 and nothing of the failed file is kept. */
int migrate_run(const struct config *c, enum migrate_mode mode, FILE *out, struct err *e) __attribute__((warn_unused_result));

/* The version the embedded files lead to: what pg_schema_current() compares with. */
int migrate_latest(void);

#endif
