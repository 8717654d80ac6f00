#include "realtime/dispatch.h"
#include "realtime/watermark.h"

static struct seat *seat_of(struct op *op)
{
    struct conv_id conv;
    struct session *s = op_session(op);
    struct seat *seat = s != NULL && payload_conv(op, "conversation_id", &conv) ? hub_seat_find(s, &conv) : NULL;
    if (seat == NULL && op->err.code == ERR_OK) {
        op_fail(op, ERR_NOT_FOUND, "There is no such conversation.");
    }
    return seat;
}

static enum step_result delivered(struct op *op)
{
    struct seat *seat = seat_of(op);
    if (seat == NULL) {
        return STEP_FAIL;
    }
    watermark_received(seat, json_int(op->payload, "seq", 0));
    return STEP_DONE;
}

static enum step_result read_upto(struct op *op)
{
    struct seat *seat = seat_of(op);
    if (seat == NULL) {
        return STEP_FAIL;
    }
    watermark_read(seat, json_int(op->payload, "seq", 0));
    return STEP_DONE;
}

void ev_receipt_delivered(struct op *op)
{
    static const struct op_step steps[] = {{delivered, false}, {0}};
    op_run(op, steps, 0);
}

void ev_receipt_read(struct op *op)
{
    static const struct op_step steps[] = {{read_upto, false}, {0}};
    op_run(op, steps, 0);
}
