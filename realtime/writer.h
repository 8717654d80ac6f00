/* writer.h: group commit: one thread, one connection, one batch in flight; whatever arrives meanwhile forms the next one.
 *
 * Rows of a conversation are committed in the order of writer_put(). Rows whose conversation is locked by another gateway go, with all later rows of that
 * conversation, to a second thread that waits for the lock. A batch of unknown outcome, or one that storage did not take, is sent again as it is until it is
 * known: then done() is called on the loop thread for each row, in order, one turn a batch, and the batch's entries go to other nodes in one call. What a row
 * repeats is read from the log and goes out behind them. */
#ifndef REALTIME_WRITER_H
#define REALTIME_WRITER_H

#include "realtime/hub.h"
#include "storage/outbox.h"

struct write {
    struct append row;             /* outbox_row(); its body lives until done() has returned */
    struct hub_app *app;           /* one reference while it is queued */
    void (*done)(struct write *w); /* row.status and row.entry are set; called after the local delivery of what was written */
    /* the writer's own */
    struct write *next;
    struct write_conv *conv;
    size_t bytes;
    int64_t arrived_us;
};

int writer_start(struct err *e) __attribute__((warn_unused_result));

/* Queues a row. -1 ERR_BUSY: more than 8 MiB of this app's or 64 MiB of all bytes wait for storage; nothing is queued. */
int writer_put(struct write *w, struct hub_app *app, struct err *e) __attribute__((warn_unused_result));

int writer_waiting(void); /* rows without an outcome */
void writer_stop(void);   /* ends the threads; rows that have no outcome yet stay without one */

#endif
