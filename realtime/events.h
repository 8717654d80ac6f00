/* events.h: THE table of realtime events. An event that is not declared here can be neither received nor emitted.
 *
 * To add an event: (1) a row here, (2) the message in openapi/realtime.yaml, (3) for IN the handler in ev_<noun>.c, (4) a scenario.
 * IN: from clients. The dispatcher checks feature, rate and the payload's schema before the handler runs. ACK: an ack without an id is fine, but the answer is
 * always one object; NOACK: never answered. OUT: from us. VOLATILE ones are dropped first. */
#ifndef REALTIME_EVENTS_H
#define REALTIME_EVENTS_H

#include "core/features.h"

/* clang-format off */
#define RT_EVENTS(IN, OUT) \
    /*  enum                  wire name               feature   rate     ack    handler */ \
    IN( SERVER_PING,          "server.ping",          CORE,     EVENT,   ACK,   ev_server_ping) \
    IN( MESSAGE_SEND,         "message.send",         CORE,     MESSAGE, ACK,   ev_message_send) \
    IN( HISTORY_GET,          "history.get",          CORE,     QUERY,   ACK,   ev_history_get) \
    IN( SYNC,                 "sync",                 CORE,     QUERY,   ACK,   ev_sync) \
    IN( RECEIPT_DELIVERED,    "receipt.delivered",    RECEIPTS, EVENT,   ACK,   ev_receipt_delivered) \
    IN( RECEIPT_READ,         "receipt.read",         RECEIPTS, EVENT,   ACK,   ev_receipt_read) \
    IN( TYPING_SET,           "typing.set",           TYPING,   EVENT,   NOACK, ev_typing_set) \
    IN( PRESENCE_SUBSCRIBE,   "presence.subscribe",   PRESENCE, QUERY,   ACK,   ev_presence_subscribe) \
    IN( PRESENCE_UNSUBSCRIBE, "presence.unsubscribe", PRESENCE, EVENT,   ACK,   ev_presence_unsubscribe) \
    IN( PRESENCE_SET,         "presence.set",         PRESENCE, EVENT,   ACK,   ev_presence_set) \
    IN( GROUP_CREATE,         "group.create",         GROUPS,   QUERY,   ACK,   ev_group_create) \
    IN( GROUP_UPDATE,         "group.update",         GROUPS,   QUERY,   ACK,   ev_group_update) \
    IN( GROUP_LEAVE,          "group.leave",          GROUPS,   QUERY,   ACK,   ev_group_leave) \
    IN( MEMBER_ADD,           "member.add",           GROUPS,   QUERY,   ACK,   ev_member_add) \
    IN( MEMBER_REMOVE,        "member.remove",        GROUPS,   QUERY,   ACK,   ev_member_remove) \
    IN( MEMBER_ROLE,          "member.role",          GROUPS,   QUERY,   ACK,   ev_member_role) \
    /*  enum                  wire name               feature   delivery */ \
    OUT(SESSION_READY,        "session.ready",        CORE,     RELIABLE) \
    OUT(SESSION_REPLACED,     "session.replaced",     CORE,     RELIABLE) \
    OUT(SERVER_DRAINING,      "server.draining",      CORE,     RELIABLE) \
    OUT(MESSAGE_NEW,          "message.new",          CORE,     RELIABLE) \
    OUT(GROUP_CREATED,        "group.created",        CORE,     RELIABLE) \
    OUT(GROUP_UPDATED,        "group.updated",        CORE,     RELIABLE) \
    OUT(GROUP_DELETED,        "group.deleted",        CORE,     RELIABLE) \
    OUT(MEMBER_JOINED,        "member.joined",        CORE,     RELIABLE) \
    OUT(MEMBER_LEFT,          "member.left",          CORE,     RELIABLE) \
    OUT(MEMBER_ROLE_CHANGED,  "member.role_changed",  CORE,     RELIABLE) \
    OUT(CONVERSATION_ADDED,   "conversation.added",   CORE,     RELIABLE) \
    OUT(CONVERSATION_REMOVED, "conversation.removed", CORE,     RELIABLE) \
    OUT(RECEIPT_UPDATED,      "receipt.updated",      RECEIPTS, VOLATILE) \
    OUT(TYPING_UPDATED,       "typing.updated",       TYPING,   VOLATILE) \
    OUT(PRESENCE_UPDATED,     "presence.updated",     PRESENCE, VOLATILE)
/* clang-format on */

enum rt_event {
#define IN(name, wire, feature, rate, ack, handler) EV_##name,
#define OUT(name, wire, feature, delivery) EV_##name,
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
        EV_COUNT
};

#endif
