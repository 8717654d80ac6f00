#include "realtime/dispatch.h"

#include "core/clock.h"

static enum step_result pong(struct op *op)
{
    char now[CLOCK_TEXT_MAX];
    json_t *t = json_object_get(op->payload, "t");
    op->reply = json_own(op->arena, json_pack("{s:s}", "server_time", clock_format(clock_wall_ms(), now)));
    if (t != NULL) {
        json_object_set(op->reply, "t", t);
    }
    return STEP_DONE;
}

void ev_server_ping(struct op *op)
{
    static const struct op_step steps[] = {{pong, false}, {0}};
    op_run(op, steps, 0);
}
