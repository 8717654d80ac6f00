/* entries.h: the log of a conversation: reading it, and the one way an entry is written as JSON.
 *
 * A body is the JSON object of what the sender gave ({"type":"text","text":"…"}). entry_encode() puts the log's own fields in front without
 * parsing the body, so that REST, history, sync, live delivery and the bus show the same bytes. */
#ifndef STORAGE_ENTRIES_H
#define STORAGE_ENTRIES_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/err.h"
#include "core/tenant.h"

/* The numbers are stored and known to migrations/0002. */
/* clang-format off */
/*    enum                  number  wire event */
#define ENTRY_KINDS(K) \
    K(MESSAGE,              1,      "message.new") \
    K(GROUP_CREATED,        2,      "group.created") \
    K(GROUP_UPDATED,        3,      "group.updated") \
    K(GROUP_DELETED,        4,      "group.deleted") \
    K(MEMBER_JOINED,        5,      "member.joined") \
    K(MEMBER_LEFT,          6,      "member.left") \
    K(MEMBER_ROLE_CHANGED,  7,      "member.role_changed")
/* clang-format on */

enum entry_kind {
#define K(name, number, wire) ENTRY_##name = number,
    ENTRY_KINDS(K)
#undef K
};
const char *entry_event(enum entry_kind kind); /* the wire event's name; NULL for an unknown number */

struct entry {
    struct conv_id conv;
    int64_t seq;
    int64_t created_ms;
    enum entry_kind kind;
    struct msg_id mid;
    struct user_id sender;                     /* "" = the app itself */
    char client_msg_id[CLIENT_MSG_ID_MAX + 1]; /* "" = none */
    const char *body;                          /* a JSON object's text */
    size_t body_len;
};

/* Appends the payload object: id, conversation_id, seq, sender_id (messages) or actor_id (others; absent for the app itself), client_msg_id when for_sender and
 * present, created_at, then the body's members. */
void entry_encode(struct buf *out, const struct entry *en, bool for_sender);

/* Entries with after < seq <= upto, ascending, at most `limit` and about max_bytes of bodies (at least one). upto INT64_MAX = to the end. */
int entries_after(const struct tenant *t, struct arena *a, const struct conv_id *id, int64_t after, int64_t upto, int limit,
                  size_t max_bytes, struct entry **en_r, int *count_r, struct err *e) __attribute__((warn_unused_result));
/* The `limit` newest entries with after < seq < before, ascending. before INT64_MAX = from the end. */
int entries_before(const struct tenant *t, struct arena *a, const struct conv_id *id, int64_t before, int64_t after, int limit,
                   size_t max_bytes, struct entry **en_r, int *count_r, struct err *e) __attribute__((warn_unused_result));
int entries_get(const struct tenant *t, struct arena *a, const struct conv_id *id, const struct msg_id *mid, struct entry *en_r,
                struct err *e) __attribute__((warn_unused_result)); /* 1 0 -1 */

/* The heads of many conversations of one app, in one statement; last_r[i] = -1 where there is none. */
int entries_heads(const struct tenant *t, struct arena *a, const struct conv_id *ids, int n, int64_t *last_r, struct err *e)
    __attribute__((warn_unused_result));

#endif
