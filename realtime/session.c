#include "realtime/session.h"

#include "realtime/fanout.h"
#include "realtime/catchup.h"
#include "realtime/keeper.h"
#include "realtime/members.h"
#include "realtime/online.h"
#include "realtime/op.h"
#include "realtime/overload.h"
#include "realtime/pages.h"
#include "realtime/peers.h"
#include "realtime/spec.h"
#include "realtime/watch.h"
#include "realtime/watermark.h"
#include "realtime/writer.h"

#include <stddef.h>

static int count;

/* ---- saying things ---- */

void session_emit(struct session *s, enum rt_event ev, const char *payload, size_t len)
{
    if (s->state == SESSION_READY && (event_where(ev) & s->where) != 0) {
        spec_emit(s->conn, ev, payload, len);
    }
}

void session_emit_all(struct hub_user *u, enum rt_event ev, const char *payload, size_t len)
{
    for (struct session *s = u->sessions; s != NULL; s = s->next_of_user) {
        session_emit(s, ev, payload, len);
    }
}

bool session_chats(const struct hub_user *u)
{
    const struct session *s = u->sessions;
    while (s != NULL && s->where != EVENT_ROOT) {
        s = s->next_of_user;
    }
    return s != NULL;
}

struct session *session_new(struct conn *c)
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        fputs("out of memory: session\n", stderr);
        abort();
    }
    count++;
    s->connecting = true;
    overload_connecting(1);
    s->conn = c;
    s->where = strcmp(conn_namespace(c), "/game") == 0 ? EVENT_GAME : EVENT_ROOT;
    conn_set_user(c, s);
    return s;
}

void session_connected(struct session *s)
{
    if (s->connecting) {
        s->connecting = false;
        overload_connecting(-1);
    }
}

void session_disconnect(struct session *s, const char *reason)
{
    s->state = SESSION_ENDING;
    conn_disconnect(s->conn, reason);
}

/* ---- what the client says about what it got ---- */

void session_acked(struct conn *c, int64_t ack_id, const json_t *args)
{
    (void)args;
    struct session *s = conn_user(c);
    struct conv_id conv;
    int64_t seq;
    if (s == NULL || s->state != SESSION_READY ||
        (fanout_ack_find(ack_id, &conv, &seq) != 1 && pages_ack_find(s, ack_id, &conv, &seq) != 1)) {
        return;
    }
    struct seat *seat = hub_seat_find(s, &conv);
    if (seat != NULL) {
        watermark_acked(seat, seq);
    }
    pages_go(s);
}

void session_proven(struct conn *c)
{
    struct session *s = conn_user(c);
    if (s != NULL && s->state == SESSION_READY) {
        watermark_proven(s);
    }
}

/* ---- the end of a session ---- */

int session_count(void)
{
    return count;
}

static void leave_conversations(struct session *s)
{
    struct conv_id gone[256];
    int n = 0;
    while (s->seats != NULL) {
        struct conv_id id = s->seats->member->conv->id;
        if (members_unseat(s->seats)) {
            gone[n++] = id;
        }
        if (n == 256) {
            peers_detach(&s->user->app->id, gone, n);
            n = 0;
        }
    }
    if (n > 0) {
        peers_detach(&s->user->app->id, gone, n);
    }
}

void session_closed(struct conn *c, const char *reason)
{
    struct session *s = conn_user(c);
    (void)reason;
    if (s == NULL) {
        return;
    }
    count--;
    session_connected(s);
    conn_set_user(c, NULL);
    s->state = SESSION_ENDING;
    loop_timer_stop(&s->life);
    op_drop_waiting(s);
    watch_remove_all(s);
    if (s->user != NULL) {
        struct hub_user *u = s->user;
        pages_free(s); /* first: seats that are behind need not be sought in it then */
        leave_conversations(s);
        hub_session_remove(s);
        if (u->sessions == NULL) {
            online_gone(u);
        } else if (!node.draining) {
            online_touch(u);
        }
    }
    free(s->token);
    free(s);
}

/* ---- life of the event side ---- */

int session_start(struct err *e)
{
    if (spec_load(e) != 0 || writer_start(e) != 0) {
        return -1;
    }
    peers_start();
    keeper_start();
    online_start();
    overload_start();
    return 0;
}

bool session_ready(struct buf *verbose)
{
    return keeper_ready(verbose);
}

bool session_failed(void)
{
    return keeper_failed();
}
