/* hub.h: who is on this node: apps, users, conversations, and which connection sits in which conversation. Memory only, no I/O; loop thread only.
 *
 * A *seat* is one connection in one conversation. A *member* is a user with at least one seat in a conversation. A conversation is here exactly as long as
 * it has a seat; whoever adds the first or removes the last one attaches or detaches it on the bus.
 *
 * Entries go to a seat in ascending seq, each once. A seat that is not `behind` stands at its conversation's last_seq; one that is behind has got everything up
 * to `sent`, is passed over by live delivery and fed by catchup.c until it stands there too. */
#ifndef REALTIME_HUB_H
#define REALTIME_HUB_H

#include "core/rate.h"
#include "core/tenant.h"
#include "realtime/loop.h"
#include "realtime/runs.h"
#include "storage/entries.h"

#include <stdbool.h>

struct session;

struct hub_app {
    struct app_id id;
    struct tenant *tenant; /* the newest known state; one reference */
    int refs;              /* users, and whoever else holds it */
    int64_t uncommitted;   /* bytes on their way into logs */
    struct rate_bucket sends, events;
    int session_count;
};

struct hub_user {
    struct hub_app *app;
    char *name;
    struct session *sessions; /* the oldest first */
    int session_count;
    struct hub_member *members;
    int member_count;
    struct rate_bucket sends, events;
    struct loop_timer grace; /* runs while there is no session */
    bool claimed;            /* presence knows this node */
    bool leaving;            /* its claim is being given back */
    bool reloading;          /* its conversations will be compared with storage: reload.c */
    char id[]; /* the text of its user_id: as long as it is, since most are short and there is one of it for each connection */
};

struct hub_member {
    struct hub_user *user;
    struct hub_conv *conv;
    struct hub_member *prev_of_user, *next_of_user;
    struct seat *seats;
    int64_t joined_seq, left_seq;    /* left_seq 0 = a member now */
    int64_t delivered_seq, read_seq; /* the user's marks as far as they are known here */
};

/* A live entry that came before its predecessor. */
struct early {
    struct early *next;
    struct entry entry; /* body: behind the struct */
};

struct hub_conv {
    struct hub_app *app;
    struct conv_id id;
    int64_t last_seq;    /* every entry up to here has been delivered to the seats that are not behind */
    int64_t members_seq; /* the last change of members that is known here */
    struct seat **seats;
    uint32_t seat_count, seat_room;
    int member_count;    /* of the whole conversation, about */
    struct early *early; /* ascending */
    int early_count;
    bool reading;    /* catchup.c is reading what follows last_seq */
    bool read_again; /* it may have begun too early for what is known to be there */
    bool waiting;    /* the timer runs: for the missing frame, or for storage */
    struct loop_timer gap;
    struct rate_bucket sends;
};

struct seat {
    struct session *session;
    struct hub_member *member;
    struct seat *next_of_member, *prev_of_session, *next_of_session;
    uint32_t at; /* its place in conv->seats */
    bool behind;
    uint32_t mark_at, mark_turn; /* watermark.c: where its gathered mark is, if gathered in this turn */
    int64_t sent;                /* the last entry it has got while behind; afterwards a lower bound: nothing up to here is sent */
    struct seat *next_behind;
    struct runs delivered;
    struct proof *proof; /* NULL: nothing waits for one */
};

/* As long as delivery is proven by the transport: the newest entry sent to a seat, and an older one that waits for its proof, with their conn_queued(). */
struct proof {
    int64_t newest_seq, older_seq;
    uint64_t newest_no, older_no;
};
void seat_note_proof(struct seat *seat, int64_t seq, uint64_t no);
/* Everything up to `no` has arrived: the last entry of which that is known now, or 0. */
int64_t seat_take_proof(struct seat *seat, uint64_t no);

/* Apps. hub_app_get makes one of the tenant or gives the one there (one reference). */
struct hub_app *hub_app_get(const struct tenant *t);
struct hub_app *hub_app_find(const struct app_id *id);
void hub_app_ref(struct hub_app *a);
void hub_app_unref(struct hub_app *a);
void hub_app_set_tenant(struct hub_app *a, const struct tenant *t); /* takes a reference of its own */
struct hub_app *hub_app_next(size_t *at);

/* Users. A user stays until hub_user_free(), which wants neither sessions nor members. */
struct hub_user *hub_user_get(const struct tenant *t, const struct user_id *id);
struct hub_user *hub_user_find(const struct app_id *app, const struct user_id *id);
void hub_user_free(struct hub_user *u);
struct user_id hub_user_id(const struct hub_user *u);
struct hub_user *hub_user_next(size_t *at);
size_t hub_user_slots(void); /* for walks in slices: *at runs up to this */
void hub_session_add(struct hub_user *u, struct session *s);
void hub_session_remove(struct session *s);

struct hub_conv *hub_conv_find(const struct app_id *app, const struct conv_id *id);
struct hub_conv *hub_conv_next(size_t *at);
size_t hub_conv_count(void);

/* NULL: not here. The member may have left (left_seq) while a seat still catches up. */
struct hub_member *hub_member_find(const struct hub_user *u, const struct hub_conv *c);
/* By ids; NULL unless the user is a member now, as far as this node knows. */
struct hub_member *hub_member_of(const struct hub_user *u, const struct conv_id *id);

/* What a seat starts with. */
struct seat_start {
    int64_t joined_seq, left_seq;
    int64_t delivered_seq, read_seq; /* marks; the seat gets what is above the larger of joined_seq and delivered_seq */
    int64_t last_seq;                /* of the conversation: where it stands if this is its first seat here */
    int64_t members_seq;             /* of the conversation: its last change of members */
    int member_count;
};
/* Members have changed here since `start` was read: it must not be used, but read again. */
bool hub_start_is_old(const struct hub_app *app, const struct conv_id *id, const struct seat_start *start);
/* Adds s to a conversation; NULL when it sits there already: then only what is above joined_seq is still sent. *fresh_r: it is the conversation's first seat. */
struct seat *hub_seat_add(struct session *s, const struct conv_id *id, const struct seat_start *start, bool *fresh_r);
struct seat *hub_seat_find(const struct session *s, const struct conv_id *id);
/* True: it was the last one and the conversation has gone. */
bool hub_seat_remove(struct seat *seat);

int64_t seat_sent(const struct seat *seat);  /* the last seq it has got */
int64_t seat_limit(const struct seat *seat); /* how far it may get now: the conversation's last_seq, or where its member left */

/* Keeps a copy of an entry that is early; false: too many wait, or it waits already. */
bool hub_early_add(struct hub_conv *c, const struct entry *en);
/* Takes the next waiting one if it follows last_seq (free() it), dropping older ones. NULL: none. */
struct early *hub_early_take(struct hub_conv *c);

#endif
