/* watermark.h: what devices have got and users have read, on its way into storage: gathered for a second, then one statement an app. */
#ifndef REALTIME_WATERMARK_H
#define REALTIME_WATERMARK_H

#include "realtime/hub.h"

/* A seat's delivered.upto has grown. */
void watermark_moved(struct seat *seat);
/* The user of a seat has read up to seq (cut to what is there). */
void watermark_read(struct seat *seat, int64_t seq);
/* The client has acknowledged one entry; everything up to seq (cut to what was sent). */
void watermark_acked(struct seat *seat, int64_t seq);
void watermark_received(struct seat *seat, int64_t seq);
/* conn_proven() of a session that never acknowledges has grown. */
void watermark_proven(struct session *s);
/* Writes now what is gathered. */
void watermark_flush(void);
bool watermark_idle(void); /* nothing gathered, nothing in flight */

#endif
