#include "realtime/spec.h"

#include "core/embed.h"
#include "core/log.h"
#include "core/schema.h"

static const char *const names[EV_COUNT] = {
#define IN(name, wire, where, feature, rate, ack, handler) [EV_##name] = wire,
#define OUT(name, wire, where, feature, delivery) [EV_##name] = wire,
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
};

static const enum event_where places[EV_COUNT] = {
#define IN(name, wire, where, feature, rate, ack, handler) [EV_##name] = EVENT_##where,
#define OUT(name, wire, where, feature, delivery) [EV_##name] = EVENT_##where,
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
};

enum answer { OUTWARD, ACK, NOACK };
static const enum answer answers[EV_COUNT] = {
#define IN(name, wire, where, feature, rate, ack, handler) [EV_##name] = ack,
#define OUT(name, wire, where, feature, delivery) [EV_##name] = OUTWARD,
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
};

#define ERROR_ACK "ack.error" /* the message of every failed event */

static struct arena *arena; /* the document's */
static const json_t *document, *payloads[EV_COUNT], *acks[EV_COUNT], *error_ack;
static bool check_replies;

const char *event_name(enum rt_event ev)
{
    return names[ev];
}

enum event_where event_where(enum rt_event ev)
{
    return places[ev];
}

static int find(const char *name, bool inward, enum rt_event *ev_r)
{
    for (int i = 0; i < EV_COUNT; i++) {
        if ((answers[i] != OUTWARD) == inward && strcmp(names[i], name) == 0) {
            *ev_r = (enum rt_event)i;
            return 1;
        }
    }
    return 0;
}

int event_find(const char *name, enum rt_event *ev_r)
{
    return find(name, true, ev_r);
}

int event_of_name(const char *name, enum rt_event *ev_r)
{
    return find(name, false, ev_r);
}

/* ---- reading the document ---- */

/* Puts the schema of one message where its name says. */
static int place(const char *name, const json_t *payload, struct err *e)
{
    char event[64];
    enum rt_event ev;
    size_t len = strlen(name);
    bool is_ack = len > 4 && len < sizeof(event) && strcmp(name + len - 4, ".ack") == 0;
    if (strcmp(name, ERROR_ACK) == 0) {
        error_ack = payload;
        return 0;
    }
    snprintf(event, sizeof(event), "%.*s", (int)(is_ack ? len - 4 : len), name);
    if (event_find(event, &ev) != 1 && (is_ack || event_of_name(event, &ev) != 1)) {
        return err_set(e, ERR_INTERNAL, "openapi/realtime.yaml: message %s is no row of RT_EVENTS.", name);
    }
    const json_t **slot = is_ack ? &acks[ev] : &payloads[ev];
    if (*slot != NULL) {
        return err_set(e, ERR_INTERNAL, "openapi/realtime.yaml: message %s stands twice.", name);
    }
    *slot = payload;
    return 0;
}

static int read_messages(struct err *e)
{
    const char *key;
    json_t *message;
    json_t *messages = json_object_get(json_object_get(document, "components"), "messages");
    json_object_foreach (messages, key, message) {
        const char *name = json_str(message, "name", "");
        const json_t *payload = json_object_get(message, "payload");
        if (payload == NULL || schema_lint(document, payload, e) != 0) {
            return payload != NULL ? -1 : err_set(e, ERR_INTERNAL, "openapi/realtime.yaml: message %s has no payload.", key);
        }
        if (place(name, payload, e) != 0) {
            return -1;
        }
    }
    return 0;
}

int spec_load(struct err *e)
{
    const struct embed *file = embed_find("openapi/realtime.yaml");
    if (file == NULL) {
        return err_set(e, ERR_INTERNAL, "openapi/realtime.yaml is not part of this program.");
    }
    arena = arena_new("realtime.yaml");
    document = json_read_yaml(arena, file->data, file->len, e);
    if (document == NULL || read_messages(e) != 0) {
        return -1;
    }
    for (int i = 0; i < EV_COUNT; i++) {
        if (payloads[i] == NULL || (answers[i] == ACK && acks[i] == NULL)) {
            return err_set(e, ERR_INTERNAL, "openapi/realtime.yaml lacks the message or the ack of %s.", names[i]);
        }
    }
    const char *wanted = getenv("PARLEY_TEST_CHECK_REPLIES");
    check_replies = wanted != NULL && strcmp(wanted, "1") == 0;
    return error_ack != NULL ? 0 : err_set(e, ERR_INTERNAL, "openapi/realtime.yaml lacks the message %s.", ERROR_ACK);
}

void spec_unload(void)
{
    check_replies = false;
    document = NULL;
    arena_free(&arena);
}

/* ---- checking ---- */

int spec_check(enum rt_event ev, const json_t *payload, struct err *e)
{
    struct schema_report report = {0};
    if (schema_check(document, payloads[ev], payload, &report) == 0) {
        return 0;
    }
    return err_at(e, ERR_VALIDATION_FAILED, report.problems[0].pointer, "%s", report.problems[0].detail);
}

static void check_ours(const char *what, const json_t *schema, const char *text, size_t len)
{
    struct schema_report report = {0};
    struct err e = {0};
    struct arena *a = arena_new("reply check");
    const json_t *value = json_read(a, text, len, &e);
    if (value == NULL) {
        log_error("reply_mismatch", "%s: %s", what, e.msg);
    } else if (schema_check(document, schema, value, &report) != 0) {
        log_error("reply_mismatch", "%s: at %s: %s", what, report.problems[0].pointer, report.problems[0].detail);
    }
    arena_free(&a);
}

struct frame *spec_frame(enum rt_event ev, const char *payload, size_t len, int64_t ack_id)
{
    if (check_replies) {
        check_ours(names[ev], payloads[ev], payload, len);
    }
    return frame_new(ev, payload, len, ack_id);
}

void spec_emit(struct conn *c, enum rt_event ev, const char *payload, size_t len)
{
    struct frame *f = spec_frame(ev, payload, len, -1);
    conn_send(c, f);
    frame_unref(f);
}

void spec_ack(struct conn *c, enum rt_event ev, int64_t ack_id, const char *payload, size_t len)
{
    if (check_replies) {
        bool failed = strncmp(payload, "{\"ok\":false", 11) == 0;
        check_ours(failed ? ERROR_ACK : names[ev], failed || acks[ev] == NULL ? error_ack : acks[ev], payload, len);
    }
    conn_ack(c, ack_id, payload, len);
}
