/* groupmap.h: the group map: group → members, roles, version, in Redis, filled from Postgres on a miss. A stale map can refuse, never admit: the commit
 * checks again. A script refuses to write an older version over a newer one. */
#ifndef STORAGE_GROUPMAP_H
#define STORAGE_GROUPMAP_H

#include "core/arena.h"
#include "core/err.h"
#include "core/tenant.h"

struct groupmap_member {
    int perms; /* enum perm, storage/groups.h */
    int64_t joined_seq, muted_until_ms;
    char role[33];
};
/* 1 member, 0 not a member (or no such conversation), -1 ERR_STORAGE_UNAVAILABLE. Redis first; Postgres when Redis does not know the group or is away. */
int groupmap_member(const struct tenant *t, struct arena *a, const struct conv_id *conv, const struct user_id *user,
                    struct groupmap_member *m_r, struct err *e) __attribute__((warn_unused_result));

/* Up to limit current member ids, for presence and typing decisions. From Redis, else Postgres. */
int groupmap_members(const struct tenant *t, struct arena *a, const struct conv_id *conv, struct user_id **users_r, int *count_r,
                     struct err *e) __attribute__((warn_unused_result));

/* After a member change committed at `version`: drops a map older than that (the next reader fills it again). Failures are logged, never returned. */
void groupmap_changed(const struct tenant *t, const struct conv_id *conv, int64_t version);

#endif
