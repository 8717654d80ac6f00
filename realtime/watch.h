/* watch.h: who on this node wants to hear of whose presence. Memory only; loop thread only. */
#ifndef REALTIME_WATCH_H
#define REALTIME_WATCH_H

#include "realtime/session.h"

#define WATCH_MAX 1000     /* users that one connection watches */
#define WATCH_SECONDS 3600 /* of a node's watch in Redis; renewed while somebody watches */

/* Watching users of the session's app. ttl_seconds ends it by itself. False: too many; nothing is changed. */
bool watch_add(struct session *s, const struct user_id *users, int n, int ttl_seconds);
/* left_r[i]: nobody here watches users[i] any more. */
void watch_remove(struct session *s, const struct user_id *users, int n, bool *left_r);
void watch_remove_all(struct session *s);
bool watch_is_on(const struct app_id *app, const struct user_id *user); /* somebody here watches the user */

/* A user's presence has changed: payload is presence.updated's. */
void watch_tell(const struct app_id *app, const struct user_id *user, const char *payload, size_t len);

/* Walks the users that are watched here; false at the end. */
bool watch_next(size_t *at, const struct app_id **app_r, const struct user_id **user_r);

#endif
