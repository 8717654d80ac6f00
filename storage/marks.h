/* marks.h: delivered and read watermarks and the devices they belong to. */
#ifndef STORAGE_MARKS_H
#define STORAGE_MARKS_H

#include "core/arena.h"
#include "core/err.h"
#include "core/tenant.h"

struct mark {
    struct conv_id conv;
    struct user_id user;
    struct device_id device;
    int64_t delivered_seq; /* 0 = unchanged */
    int64_t read_seq;      /* 0 = unchanged; kept in the user's own row */
};
/* Raises n watermarks of one app (never lowers; cut to the conversation's last_seq) in one statement; also the user's own row. */
int marks_raise(const struct tenant *t, struct arena *a, const struct mark *m, int n, struct err *e) __attribute__((warn_unused_result));

/* Registers a device at connect. A new device of a known user starts at the user's own watermarks (they are copied); the first one of a user
 * has none, so everything since joining is pending. At most 50 devices a user: the one unseen longest is forgotten. */
int marks_device_seen(const struct tenant *t, struct arena *a, const struct user_id *user, const struct device_id *device, struct err *e)
    __attribute__((warn_unused_result));

#endif
