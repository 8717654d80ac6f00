/* events.h: THE table of realtime events. An event that is not declared here can be neither received nor emitted.
 *
 * To add an event: (1) a row here, (2) the message in openapi/realtime.yaml, (3) for IN the handler in ev_<noun>.c, (4) a scenario.
 * IN: from clients. The dispatcher checks feature, rate and the payload's schema before the handler runs. ACK: an ack without an id is fine, but the answer is
 * always one object; NOACK: never answered. OUT: from us. VOLATILE ones are dropped first. `where`: in which namespaces; elsewhere an event is unknown, and ours
 * are not sent: ROOT "/", GAME "/game", ANY both. */
#ifndef REALTIME_EVENTS_H
#define REALTIME_EVENTS_H

#include "core/features.h"

#define EVENT_NAME_MAX 64 /* bytes */

enum event_where { EVENT_ROOT = 1, EVENT_GAME = 2, EVENT_ANY = EVENT_ROOT | EVENT_GAME };

/* clang-format off */
#define RT_EVENTS(IN, OUT) \
    /*  enum                  wire name               where feature   rate     ack    handler */ \
    IN( SERVER_PING,          "server.ping",          ANY,  CORE,     EVENT,   ACK,   ev_server_ping) \
    IN( TOKEN_REFRESH,        "token.refresh",        ANY,  CORE,     QUERY,   ACK,   ev_token_refresh) \
    IN( MESSAGE_SEND,         "message.send",         ROOT, CORE,     MESSAGE, ACK,   ev_message_send) \
    IN( HISTORY_GET,          "history.get",          ROOT, CORE,     QUERY,   ACK,   ev_history_get) \
    IN( SYNC,                 "sync",                 ROOT, CORE,     QUERY,   ACK,   ev_sync) \
    IN( RECEIPT_DELIVERED,    "receipt.delivered",    ROOT, RECEIPTS, EVENT,   ACK,   ev_receipt_delivered) \
    IN( RECEIPT_READ,         "receipt.read",         ROOT, RECEIPTS, EVENT,   ACK,   ev_receipt_read) \
    IN( TYPING_SET,           "typing.set",           ROOT, TYPING,   EVENT,   NOACK, ev_typing_set) \
    IN( PRESENCE_SUBSCRIBE,   "presence.subscribe",   ROOT, PRESENCE, QUERY,   ACK,   ev_presence_subscribe) \
    IN( PRESENCE_UNSUBSCRIBE, "presence.unsubscribe", ROOT, PRESENCE, EVENT,   ACK,   ev_presence_unsubscribe) \
    IN( PRESENCE_SET,         "presence.set",         ROOT, PRESENCE, EVENT,   ACK,   ev_presence_set) \
    IN( GROUP_CREATE,         "group.create",         ROOT, GROUPS,   QUERY,   ACK,   ev_group_create) \
    IN( GROUP_UPDATE,         "group.update",         ROOT, GROUPS,   QUERY,   ACK,   ev_group_update) \
    IN( GROUP_LEAVE,          "group.leave",          ROOT, GROUPS,   QUERY,   ACK,   ev_group_leave) \
    IN( MEMBER_ADD,           "member.add",           ROOT, GROUPS,   QUERY,   ACK,   ev_member_add) \
    IN( MEMBER_REMOVE,        "member.remove",        ROOT, GROUPS,   QUERY,   ACK,   ev_member_remove) \
    IN( MEMBER_ROLE,          "member.role",          ROOT, GROUPS,   QUERY,   ACK,   ev_member_role) \
    /*  enum                  wire name               where feature   delivery */ \
    OUT(SESSION_READY,        "session.ready",        ANY,  CORE,     RELIABLE) \
    OUT(TOKEN_EXPIRING,       "token.expiring",       ANY,  CORE,     RELIABLE) \
    OUT(FEATURES_CHANGED,     "features.changed",     ANY,  CORE,     RELIABLE) \
    OUT(SESSION_REPLACED,     "session.replaced",     ANY,  CORE,     RELIABLE) \
    OUT(SERVER_DRAINING,      "server.draining",      ANY,  CORE,     RELIABLE) \
    OUT(MESSAGE_NEW,          "message.new",          ROOT, CORE,     RELIABLE) \
    OUT(GROUP_CREATED,        "group.created",        ROOT, CORE,     RELIABLE) \
    OUT(GROUP_UPDATED,        "group.updated",        ROOT, CORE,     RELIABLE) \
    OUT(GROUP_DELETED,        "group.deleted",        ROOT, CORE,     RELIABLE) \
    OUT(MEMBER_JOINED,        "member.joined",        ROOT, CORE,     RELIABLE) \
    OUT(MEMBER_LEFT,          "member.left",          ROOT, CORE,     RELIABLE) \
    OUT(MEMBER_ROLE_CHANGED,  "member.role_changed",  ROOT, CORE,     RELIABLE) \
    OUT(CONVERSATION_ADDED,   "conversation.added",   ROOT, CORE,     RELIABLE) \
    OUT(CONVERSATION_REMOVED, "conversation.removed", ROOT, CORE,     RELIABLE) \
    OUT(RECEIPT_UPDATED,      "receipt.updated",      ROOT, RECEIPTS, VOLATILE) \
    OUT(TYPING_UPDATED,       "typing.updated",       ROOT, TYPING,   VOLATILE) \
    OUT(PRESENCE_UPDATED,     "presence.updated",     ROOT, PRESENCE, VOLATILE)
/* clang-format on */

enum rt_event {
#define IN(name, wire, where, feature, rate, ack, handler) EV_##name,
#define OUT(name, wire, where, feature, delivery) EV_##name,
    RT_EVENTS(IN, OUT)
#undef IN
#undef OUT
        EV_COUNT
};

#endif
