#include "realtime/dispatch.h"
#include "realtime/fanout.h"
#include "realtime/peers.h"

#define TTL_MS 6000

/* To everybody else who is online in the conversation, here and on other nodes; nothing is kept. */
static enum step_result tell(struct op *op)
{
    struct conv_id conv;
    char id[ID_TEXT_MAX];
    const struct hub_user *u = hub_user_find(&op->app->id, &op->user);
    if (u == NULL || !payload_conv(op, "conversation_id", &conv) || hub_member_of(u, &conv) == NULL) {
        return op_fail(op, ERR_NOT_FOUND, "There is no such conversation.");
    }
    const char *payload =
        arena_printf(op->arena, "{\"conversation_id\":\"%s\",\"user_id\":\"%s\",\"on\":%s,\"ttl_ms\":%d}", conv_id_print(&conv, id),
                     op->user.s, json_bool(op->payload, "on", false) ? "true" : "false", TTL_MS);
    struct bus_item item = {.kind = BUS_EPHEMERAL,
                            .app = op->app->id,
                            .conv = conv,
                            .user = op->user,
                            .event = "typing.updated",
                            .payload = payload,
                            .payload_len = strlen(payload)};
    fanout_ephemeral(hub_conv_find(&op->app->id, &conv), EV_TYPING_UPDATED, payload, item.payload_len, &op->user);
    peers_fan_out(&item, 1);
    return STEP_DONE;
}

void ev_typing_set(struct op *op)
{
    static const struct op_step steps[] = {{tell, false}, {0}};
    op->ack_id = -1; /* never answered */
    op_run(op, steps, 0);
}
