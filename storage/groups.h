/* groups.h: conversations and their members, as read from Postgres. Every change of a group is an entry of its log and goes through
 * storage/outbox.h; only direct conversations are made here. */
#ifndef STORAGE_GROUPS_H
#define STORAGE_GROUPS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/json.h"
#include "core/tenant.h"

enum perm { PERM_SEND = 1, PERM_EDIT = 2, PERM_MEMBERS = 4, PERM_ROLES = 8, PERM_MODERATE = 16 };

struct conversation {
    struct conv_id id;
    const char *kind; /* direct, group, broadcast */
    const char *name;
    const char *external_id, *created_by; /* NULL = none */
    json_t *metadata;
    bool frozen;
    int member_count;
    int64_t version, created_ms, updated_ms;
    int64_t last_seq, members_seq, last_ms;
};
/* Shape `Group` (kinds group and broadcast) or `Conversation` (direct: id, kind, user_ids added by the caller, member_count, created_at, updated_at, last_seq). */
json_t *conversation_json(struct arena *a, const struct conversation *c);

struct member {
    struct user_id user;
    const char *role;
    int perms;
    int64_t joined_ms, joined_seq, left_seq /* 0 = still a member */, muted_until_ms, delivered_seq, read_seq;
};
json_t *member_json(struct arena *a, const struct member *m); /* shape `Member` */

int groups_get(const struct tenant *t, struct arena *a, const struct conv_id *id, struct conversation *c_r, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1; deleted: 0 */

struct groups_query {
    const struct user_id *member; /* NULL = any */
    const char *external_id;      /* NULL = any */
    int64_t updated_after_ms;
    int64_t after_ms; /* keyset (created_at, id), newest first */
    struct conv_id after_id;
    int limit;
};
int groups_list(const struct tenant *t, struct arena *a, const struct groups_query *q, struct conversation **c_r, int *count_r,
                struct err *e) __attribute__((warn_unused_result));

/* Members by user id, those who left excluded. role NULL = any; after "" = from the start. */
int groups_members(const struct tenant *t, struct arena *a, const struct conv_id *id, const char *role, const char *after, int limit,
                   struct member **m_r, int *count_r, struct err *e) __attribute__((warn_unused_result));
/* One member, also one who left. 1 0 -1. */
int groups_member(const struct tenant *t, struct arena *a, const struct conv_id *id, const struct user_id *user, struct member *m_r,
                  struct err *e) __attribute__((warn_unused_result));

/* The id of the direct conversation of two users (order-free, may be equal): HMAC by the app's id key. No I/O. */
struct conv_id groups_direct_id(const struct tenant *t, const struct user_id *a, const struct user_id *b);
/* Makes it when needed. Both users must exist and not be deactivated: else -1 ERR_NOT_FOUND. made_r: it is new. */
int groups_direct(const struct tenant *t, struct arena *a, const struct user_id *u1, const struct user_id *u2, struct conversation *c_r,
                  bool *made_r, struct err *e) __attribute__((warn_unused_result));

/* The conversations of a user, newest activity first (heads.last_at, id), up to limit. Everything the list and a connecting client need, in one
 * statement of index probes. */
struct membership {
    struct conversation conversation;
    struct member me;       /* delivered_seq: of `device` when known, see marks.h; read_seq: the user's */
    const char *other_user; /* direct: the other one's id (own id in a conversation with oneself), else NULL */
    int64_t unread;     /* messages above read_seq not sent by the user, among the newest 2,000 entries, capped at 1000; only with_last */
    struct entry *last; /* the newest visible message among the newest 1,000 entries, or NULL; only with_last (storage/entries.h) */
};
struct memberships_query {
    struct user_id user;
    const char *device; /* NULL: the user's own watermark */
    const char *kind;   /* NULL = any */
    int64_t updated_after_ms;
    bool with_last;
    bool with_left;   /* also conversations left, whose left_seq is above the watermark */
    int64_t after_ms; /* keyset, 0 = from the start */
    struct conv_id after_id;
    int limit; /* <= 1000 */
};
int groups_memberships(const struct tenant *t, struct arena *a, const struct memberships_query *q, struct membership **m_r, int *count_r,
                       struct err *e) __attribute__((warn_unused_result));

/* Roles of the app: the built-in owner, admin, moderator, member, readonly and its own. JSON shape {name, permissions:[…], built_in}. */
int groups_roles(const struct tenant *t, struct arena *a, json_t **roles_r, struct err *e) __attribute__((warn_unused_result));
int groups_role_put(const struct tenant *t, struct arena *a, const char *name, const json_t *permissions, bool *made_r, struct err *e)
    __attribute__((warn_unused_result)); /* members' perms follow */
int groups_role_delete(const struct tenant *t, struct arena *a, const char *name, struct err *e)
    __attribute__((warn_unused_result)); /* 1 0 -1 (ERR_ALREADY_EXISTS "in use") */

#endif
