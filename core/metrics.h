/* metrics.h: counters, gauges and histograms, declared once, and the Prometheus text exposition (0.0.4). To add one: a row here.
 *
 * Labels are at most two, with values from small fixed sets (routes, results, directions), never ids. Every family without labels starts at 0.
 * Safe from any thread. Histograms are in seconds with fixed buckets from 0.5 ms to 10 s. */
#ifndef CORE_METRICS_H
#define CORE_METRICS_H

#include "core/buf.h"

#include <stdint.h>

/* clang-format off */
/*    enum                   kind       name                                    label 1      label 2        help */
#define METRICS(M) \
    M(HTTP_SECONDS,          HISTOGRAM, "parley_http_request_duration_seconds", "route",     "status_class", "Time to answer a REST request") \
    M(RATELIMITED,           COUNTER,   "parley_ratelimited_total",             "policy",    NULL,           "Requests and events refused by a rate limit") \
    M(AUTH_FAILED,           COUNTER,   "parley_auth_failed_total",             "reason",    NULL,           "Refused credentials") \
    M(CONNECTIONS,           GAUGE,     "parley_connections",                   "transport", NULL,           "Live Engine.IO sessions") \
    M(SOCKETS,               GAUGE,     "parley_sockets",                       NULL,        NULL,           "TCP connections at the gateway's Socket.IO port") \
    M(ADDRESSES,             GAUGE,     "parley_addresses",                     NULL,        NULL,           "Peer addresses with connections or sessions") \
    M(CONNECTIONS_TOTAL,     COUNTER,   "parley_connections_total",             "result",    NULL,           "Socket.IO connects by outcome") \
    M(DISCONNECTS,           COUNTER,   "parley_disconnects_total",             "reason",    NULL,           "Closed Engine.IO sessions by reason") \
    M(EVENTS_RECEIVED,       COUNTER,   "parley_events_received_total",         "event",     NULL,           "Events from clients") \
    M(EVENTS_UNKNOWN,        COUNTER,   "parley_events_unknown_total",          NULL,        NULL,           "Events with a name that is not in the table") \
    M(DELIVERED,             COUNTER,   "parley_messages_delivered_total",      "path",      NULL,           "Log entries queued to connections: local, bus or pending") \
    M(ACKED,                 COUNTER,   "parley_messages_acked_total",          NULL,        NULL,           "Durable events acknowledged to senders") \
    M(COMMITTED,             COUNTER,   "parley_messages_committed_total",      NULL,        NULL,           "Log entries committed by this process") \
    M(DUPLICATES,            COUNTER,   "parley_messages_duplicate_total",      NULL,        NULL,           "Sends answered with an entry that was stored already") \
    M(COMMIT_SECONDS,        HISTOGRAM, "parley_commit_duration_seconds",       NULL,        NULL,           "Time of one group commit") \
    M(COMMIT_BATCHES,        COUNTER,   "parley_commit_batches_total",          NULL,        NULL,           "Group commits") \
    M(ACK_SECONDS,           HISTOGRAM, "parley_ack_duration_seconds",          NULL,        NULL,           "From a durable event's arrival to its ack") \
    M(UNCOMMITTED_BYTES,     GAUGE,     "parley_uncommitted_bytes",             NULL,        NULL,           "Bytes accepted and not yet committed") \
    M(BUS_MESSAGES,          COUNTER,   "parley_bus_messages_total",            "dir",       NULL,           "Bus frames sent and received") \
    M(BUS_REFUSED,           COUNTER,   "parley_bus_refused_total",             "reason",    NULL,           "Bus frames dropped: bad MAC or malformed") \
    M(RELAY_REQUESTS,        COUNTER,   "parley_relay_requests_total",          "side",      NULL,           "Polling requests relayed: front passed on, owner served for another gateway") \
    M(RELAY_WEBSOCKETS,      GAUGE,     "parley_relay_websockets",              "side",      NULL,           "WebSockets whose session is at another gateway: front, and owner for them") \
    M(RELAY_ERRORS,          COUNTER,   "parley_relay_errors_total",            "reason",    NULL,           "Connections between gateways that were refused or lost") \
    M(HEAD_CHECKS,           COUNTER,   "parley_head_checks_total",             "trigger",   NULL,           "Comparisons of conversation heads") \
    M(CATCH_UPS,             COUNTER,   "parley_catch_ups_total",               NULL,        NULL,           "Conversations read from the log because an entry was missing") \
    M(PG_STATEMENTS,         COUNTER,   "parley_pg_statements_total",           "statement", NULL,           "Statements sent to Postgres") \
    M(PG_ERRORS,             COUNTER,   "parley_pg_errors_total",               "class",     NULL,           "Statements that failed, by SQLSTATE class") \
    M(REDIS_COMMANDS,        COUNTER,   "parley_redis_commands_total",          "result",    NULL,           "Redis commands by outcome") \
    M(READY,                 GAUGE,     "parley_ready",                         NULL,        NULL,           "1 while /readyz answers 200") \
    M(LOOP_STALL,            HISTOGRAM, "parley_event_loop_stall_seconds",      NULL,        NULL,           "Time of one turn of the gateway's loop") \
    M(SENDQ_BYTES,           GAUGE,     "parley_send_queue_bytes",              NULL,        NULL,           "Bytes queued for connections") \
    M(SENDQ_CUT,             COUNTER,   "parley_slow_consumers_total",          NULL,        NULL,           "Connections cut because their queue was full")
/* clang-format on */

enum metric {
#define M(name, kind, text, label1, label2, help) METRIC_##name,
    METRICS(M)
#undef M
        METRIC_COUNT
};

/* Counters and gauges. Label values are NULL where the row has none. */
void metric_add(enum metric m, const char *value1, const char *value2, int64_t n);
void metric_set(enum metric m, const char *value1, const char *value2, int64_t n);
int64_t metric_get(enum metric m, const char *value1, const char *value2); /* for tests and /readyz; 0 when never set */

/* Histograms. */
void metric_observe_us(enum metric m, const char *value1, const char *value2, int64_t microseconds);

/* Appends the whole exposition, with parley_build_info{version,commit}, parley_heap_bytes (what is allocated and not freed) and process_* (RSS, descriptors,
 * CPU seconds, start time). */
void metrics_print(struct buf *out);

#endif
