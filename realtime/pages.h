/* pages.h: what a connection missed: entries behind its seats, newest conversations first, in pages, beside live traffic. */
#ifndef REALTIME_PAGES_H
#define REALTIME_PAGES_H

#include "realtime/session.h"

/* A seat was added to the session (in the order in which seats shall be fed): it is fed if it is behind, from the next pages_go() on. */
void pages_add(struct session *s, struct seat *seat);
void pages_go(struct session *s);
/* A seat goes. */
void pages_remove(struct seat *seat);
/* An ack id that pages.c gave. 1 and what it stands for; 0 forgotten. pages_go() then: the page may be complete. */
int pages_ack_find(struct session *s, int64_t ack_id, struct conv_id *conv_r, int64_t *seq_r) __attribute__((warn_unused_result));
void pages_free(struct session *s);

#endif
