/* fanout.h: from an entry to connections. Each entry is encoded at most twice (the sender's own devices see client_msg_id) and shared by all its receivers. */
#ifndef REALTIME_FANOUT_H
#define REALTIME_FANOUT_H

#include "realtime/conn.h"
#include "realtime/hub.h"
#include "storage/entries.h"

/* Sends c->last_seq + 1 to every seat that is not behind, and raises last_seq. `path` is the metric's label: "local", "bus" or "catch_up". */
void fanout_entry(struct hub_conv *c, const struct entry *en, const char *path);

/* Sends an entry to one seat that is behind, and raises its `sent`. The ack id must be of fanout_page_ack(); -1 for entries that ask for none. */
void fanout_to_seat(struct seat *seat, const struct entry *en, int64_t ack_id);

/* Ephemeral: to every seat but those of `except` (NULL or "" = all). */
void fanout_ephemeral(struct hub_conv *c, enum rt_event ev, const char *payload, size_t len, const struct user_id *except);

/* Ack ids fit 31 bits (the Java client reads an int). Even ones belong to live entries and are the same for all receivers; odd ones to what one session is
 * sent of the past. */
#define FANOUT_ACK_MAX 0x7fffffff
int fanout_ack_find(int64_t ack_id, struct conv_id *conv_r, int64_t *seq_r)
    __attribute__((warn_unused_result)); /* 1 found, 0 forgotten or never given */

#endif
