/* outbox.h: durable append, the only way into a log. Blocking; one link as parley_writer per thread.
 *
 * The outcome of a row is known (outbox_append returned 0 and status says which) or unknown (-1: nothing may be acked; the same rows, sent again with
 * the same mids, cannot be stored twice). */
#ifndef STORAGE_OUTBOX_H
#define STORAGE_OUTBOX_H

#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"
#include "storage/entries.h"

/* The numbers are those of append_entries(). */
enum append_status {
    APPEND_WRITTEN = 0,
    APPEND_DUPLICATE = 1,
    APPEND_NOT_FOUND = 2,
    APPEND_NOT_A_MEMBER = 3,
    APPEND_MUTED = 4,
    APPEND_FROZEN = 5,
    APPEND_ROLE = 6,
    APPEND_LATER = 7,
    APPEND_LAST_OWNER = 8,
    APPEND_MEMBER_LIMIT = 9,
    APPEND_UNKNOWN_USER = 10,
    APPEND_UNKNOWN_ROLE = 11,
    APPEND_UNCHANGED = 12,
    APPEND_VERSION = 13,
    APPEND_EXISTS = 14 /* external_id taken */,
    APPEND_BAD_ROW = 15 /* the row itself cannot be stored */
};

struct append {
    struct app_id app;  /* from the tenant: outbox_row() */
    struct entry entry; /* in: conv, kind, mid, sender, client_msg_id, body; out: seq, created_ms (WRITTEN, DUPLICATE) */
    bool trusted;       /* an API key acts: no membership needed */
    int member_limit;
    int64_t expected_version;  /* of the conversation; 0 = any */
    enum append_status status; /* out */
};

/* Prepares a row: app, mid, limits from the tenant. client_msg_id "" = a random mid; else mid = HMAC(id key, conversation | sender | client_msg_id). */
void outbox_row(const struct tenant *t, struct append *row, const struct conv_id *conv, enum entry_kind kind, const struct user_id *sender,
                const char *client_msg_id, const char *body, size_t body_len);

/* Appends n rows (apps may be mixed) in one commit, any order of conversations; within one conversation in the order given. At most 1,000 rows; a control entry
 * must be the last of its conversation. Rows whose head is busy come back as APPEND_LATER unless `wait`. 0: every row has its status. -1: ERR_STORAGE_UNAVAILABLE
 * (certainly nothing was stored) or ERR_UNCERTAIN. Bad rows (SQLSTATE 21, 22, 23) are isolated by halving and get BAD_ROW or EXISTS. */
int outbox_append(struct append **rows, int n, bool wait, struct err *e) __attribute__((warn_unused_result));

/* 0 for WRITTEN, DUPLICATE and UNCHANGED; else -1 and the error that the caller is told. */
int append_result(enum append_status s, struct err *e) __attribute__((warn_unused_result));

#endif
