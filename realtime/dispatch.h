/* dispatch.h: what every event passes before its handler sees it: known, feature, rate, shape. */
#ifndef REALTIME_DISPATCH_H
#define REALTIME_DISPATCH_H

#include "realtime/op.h"

/* A handler runs the op (op_run()) or answers it in steps of its own; it owns it from then on. */
#define IN(name, wire, where, feature, rate, ack, handler) void handler(struct op *op);
#define OUT(name, wire, where, feature, delivery)
RT_EVENTS(IN, OUT)
#undef IN
#undef OUT

/* Helpers of handlers. */
/* The conversation that the payload names under `key`; false: it is none (op->err says not_found). */
bool payload_conv(struct op *op, const char *key, struct conv_id *conv_r);
bool payload_user(struct op *op, const char *key, struct user_id *user_r);

#endif
