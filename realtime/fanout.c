#include "realtime/fanout.h"

#include "core/metrics.h"
#include "realtime/session.h"
#include "realtime/spec.h"
#include "realtime/watermark.h"

/* ---- ack ids of live entries ---- */

#define REMEMBERED 65536

static struct given {
    struct conv_id conv;
    int64_t ack_id, seq;
} given[REMEMBERED];
static int64_t acks_given;

static int64_t give_ack(const struct conv_id *conv, int64_t seq)
{
    int64_t n = ++acks_given & (FANOUT_ACK_MAX >> 1);
    given[n % REMEMBERED] = (struct given){*conv, n * 2, seq};
    return n * 2;
}

int fanout_ack_find(int64_t ack_id, struct conv_id *conv_r, int64_t *seq_r)
{
    const struct given *g = &given[(ack_id / 2) % REMEMBERED];
    if (ack_id < 0 || ack_id % 2 != 0 || g->seq == 0 || g->ack_id != ack_id) {
        return 0;
    }
    *conv_r = g->conv;
    *seq_r = g->seq;
    return 1;
}

/* ---- entries ---- */

static enum rt_event event_of(enum entry_kind kind)
{
    switch (kind) {
    case ENTRY_MESSAGE:
        return EV_MESSAGE_NEW;
    case ENTRY_GROUP_CREATED:
        return EV_GROUP_CREATED;
    case ENTRY_GROUP_UPDATED:
        return EV_GROUP_UPDATED;
    case ENTRY_GROUP_DELETED:
        return EV_GROUP_DELETED;
    case ENTRY_MEMBER_JOINED:
        return EV_MEMBER_JOINED;
    case ENTRY_MEMBER_LEFT:
        return EV_MEMBER_LEFT;
    case ENTRY_MEMBER_ROLE_CHANGED:
        return EV_MEMBER_ROLE_CHANGED;
    }
    return EV_COUNT; /* of a newer version: skipped */
}

static struct frame *encode(const struct entry *en, bool for_sender, int64_t ack_id)
{
    struct buf payload = {0};
    entry_encode(&payload, en, for_sender);
    struct frame *f = spec_frame(event_of(en->kind), payload.data, payload.len, ack_id);
    buf_free(&payload);
    return f;
}

/* What the proof of delivery will need. */
static void note_sent(struct seat *seat, const struct entry *en)
{
    if (en->kind != ENTRY_MESSAGE) {
        runs_note(&seat->delivered, en->seq);
    }
    if (!seat->session->acks) {
        seat_note_proof(seat, en->seq, conn_queued(seat->session->conn));
    }
}

static bool takes(const struct seat *seat, int64_t seq)
{
    const struct hub_member *m = seat->member;
    return !seat->behind && seq > seat->sent && (m->left_seq == 0 || seq <= m->left_seq) && seat->session->state == SESSION_READY;
}

void fanout_entry(struct hub_conv *c, const struct entry *en, const char *path)
{
    c->last_seq = en->seq;
    if (event_of(en->kind) == EV_COUNT) {
        return;
    }
    int64_t ack_id = en->kind == ENTRY_MESSAGE ? give_ack(&c->id, en->seq) : -1;
    const struct hub_user *sender = en->client_msg_id[0] == '\0' ? NULL : hub_user_find(&c->app->id, &en->sender);
    struct frame *frames[2] = {NULL, NULL};
    int sent = 0;
    for (uint32_t i = 0; i < c->seat_count; i++) {
        struct seat *seat = c->seats[i];
        if (!takes(seat, en->seq)) {
            continue;
        }
        bool own = seat->member->user == sender;
        if (frames[own] == NULL) {
            frames[own] = encode(en, own, ack_id);
        }
        conn_send(seat->session->conn, frames[own]);
        note_sent(seat, en);
        sent++;
    }
    for (int i = 0; i < 2; i++) {
        if (frames[i] != NULL) {
            frame_unref(frames[i]);
        }
    }
    if (sent > 0) {
        metric_add(METRIC_DELIVERED, path, NULL, sent);
    }
}

void fanout_to_seat(struct seat *seat, const struct entry *en, int64_t ack_id)
{
    seat->sent = en->seq;
    if (event_of(en->kind) == EV_COUNT || seat->session->state != SESSION_READY) {
        return;
    }
    struct frame *f = encode(en, strcmp(seat->member->user->id, en->sender.s) == 0, ack_id);
    conn_send(seat->session->conn, f);
    frame_unref(f);
    note_sent(seat, en);
    metric_add(METRIC_DELIVERED, "pending", NULL, 1);
}

void fanout_ephemeral(struct hub_conv *c, enum rt_event ev, const char *payload, size_t len, const struct user_id *except)
{
    const struct hub_user *left_out = except == NULL || except->s[0] == '\0' ? NULL : hub_user_find(&c->app->id, except);
    struct frame *f = NULL;
    for (uint32_t i = 0; i < c->seat_count; i++) {
        struct seat *seat = c->seats[i];
        if (seat->member->user == left_out || seat->member->left_seq != 0 || seat->session->state != SESSION_READY) {
            continue;
        }
        f = f != NULL ? f : spec_frame(ev, payload, len, -1);
        conn_send(seat->session->conn, f);
    }
    if (f != NULL) {
        frame_unref(f);
    }
}
