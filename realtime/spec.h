/* spec.h: openapi/realtime.yaml as the validator of events. */
#ifndef REALTIME_SPEC_H
#define REALTIME_SPEC_H

#include "core/err.h"
#include "core/json.h"
#include "realtime/conn.h"

#include <stdbool.h>
#include <stddef.h>

/* Reads the embedded document and finds each event's schemas. -1 when it holds anything the validator does not know, or a row of RT_EVENTS lacks its message,
 * or a message its row. */
int spec_load(struct err *e) __attribute__((warn_unused_result));
void spec_unload(void); /* nothing is checked or said afterwards */

/* Checks a client's payload. -1: ERR_VALIDATION_FAILED with the pointer of the first problem. */
int spec_check(enum rt_event ev, const json_t *payload, struct err *e) __attribute__((warn_unused_result));

/* frame_new(), and conn_emit() and conn_ack() by it: with PARLEY_TEST_CHECK_REPLIES=1 what we say is checked too, and logged as reply_mismatch. */
struct frame *spec_frame(enum rt_event ev, const char *payload, size_t len, int64_t ack_id);
void spec_emit(struct conn *c, enum rt_event ev, const char *payload, size_t len);
void spec_ack(struct conn *c, enum rt_event ev, int64_t ack_id, const char *payload, size_t len);

const char *event_name(enum rt_event ev);
enum event_where event_where(enum rt_event ev); /* the namespaces it belongs to */
int event_find(const char *name, enum rt_event *ev_r)
    __attribute__((warn_unused_result)); /* 1 found among those that clients may send, 0 */
int event_of_name(const char *name, enum rt_event *ev_r) __attribute__((warn_unused_result)); /* 1 found among ours, 0 */

#endif
