/* session.h: one user's connection, from its token to its end; and the event side of the gateway as main.c sees it. Loop thread only. */
#ifndef REALTIME_SESSION_H
#define REALTIME_SESSION_H

#include "core/buf.h"
#include "core/err.h"
#include "core/rate.h"
#include "realtime/conn.h"
#include "realtime/hub.h"
#include "realtime/loop.h"

#include <stdbool.h>

/* Before the gateway listens: specification, bus, writer, keeper of the lease. -1 ends the start. */
int session_start(struct err *e) __attribute__((warn_unused_result));
/* drain.c: node.draining is set. Tells the clients and closes their transports one after the other, each when its events have their acks; finishes what is on its
 * way into storage, gives presence and lease back, then calls done. Where it stands at the end of its time, main.c goes on: session_closed() may follow. */
void session_stop(void (*done)(void));
/* Whether this node can serve. verbose (may be NULL): appends one line "name ok" or "name why" for each of postgres, schema and redis. Does no I/O. */
bool session_ready(struct buf *verbose);
/* Another process closed this one's lease: the process must end (exit code 75) and come back under a new node id. SIGTERM has been raised. */
bool session_failed(void);

enum session_state {
    SESSION_VERIFYING, /* the token is on a worker */
    SESSION_LOADING,   /* known, its conversations are being read */
    SESSION_READY,
    SESSION_ENDING /* refused, disconnected or closed: nothing is sent any more */
};

struct op;      /* an event in flight: op.h */
struct pages;   /* what was missed and is being sent: catchup.c */
struct watcher; /* whose presence it wants: online.c */

struct session {
    struct conn *conn;
    enum event_where where; /* its namespace: in /game there are no conversations */
    enum session_state state;
    struct hub_user *user;        /* from SESSION_LOADING on */
    struct session *next_of_user; /* the newer one */
    struct device_id device;
    char *token; /* to be verified again when something was revoked */
    int64_t exp_ms;
    struct loop_timer life; /* runs to token.expiring, then to the end of the leeway; when draining, to its leave */
    bool warned;            /* token.expiring has been said */
    struct seat *seats;
    bool again;      /* memberships changed while they were being read */
    bool rechecking; /* waits to have its token verified again */
    bool connecting; /* counts as a connect under way */
    bool acks;       /* has acknowledged something: no transport proof any more */
    bool leaving;    /* drain: its transport is being closed, new events are refused */
    int in_flight;   /* events without an answer yet */
    struct rate_bucket events, refreshes, refused;
    struct pages *pages;
    struct watcher *watching;
    struct op *turn, *queue; /* op_run_in_turn(): the one that runs, and those that wait */
};

struct session *session_new(struct conn *c);
int session_count(void);
void session_connected(struct session *s); /* it is no connect under way any more, whatever became of it */

/* Emits, unless it is ending. */
void session_emit(struct session *s, enum rt_event ev, const char *payload, size_t len);
void session_disconnect(struct session *s, const char *reason); /* the client does not come back by itself */
/* All connections of a user that are ready. */
void session_emit_all(struct hub_user *u, enum rt_event ev, const char *payload, size_t len);

/* dispatch.c: an event of it was refused for its rate; one whose client does not slow down is closed. */
void session_refused(struct session *s);

/* Whether the user has a connection of the namespace "/": only those are in conversations. */
bool session_chats(const struct hub_user *u);

/* Verifies tokens again: of one user, of an app (user NULL), of everybody (app NULL). Sessions whose token is not valid any more are disconnected. */
void session_recheck(const struct app_id *app, const struct user_id *user);
/* How often something was revoked so far: what was verified while it grew is to be verified again. */
uint64_t session_revocations(void);

/* ev_token.c: begins, or begins anew after a refresh, to count the life of the session's token: token.expiring when it nears its end, DISCONNECT behind the leeway. */
void session_live(struct session *s);

/* switches.c: what is known of the app now, if it is newer; sessions hear features.changed, and those of /game end when games are switched off. */
void session_set_tenant(struct hub_app *app, const struct tenant *t);
json_t *session_features(const struct tenant *t); /* names; a new reference */

#endif
