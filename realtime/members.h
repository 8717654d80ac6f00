/* members.h: who enters and leaves conversations while connected. Each change is told to the person concerned exactly when it happens here: conversation.added
 * when the user's connections have got their seats, conversation.removed when they lose them. */
#ifndef REALTIME_MEMBERS_H
#define REALTIME_MEMBERS_H

#include "realtime/hub.h"

/* A control entry that has been delivered (or that made a conversation nobody here was in): applies it to the users of this node. */
void members_apply(struct hub_app *app, const struct entry *en);

/* Reads whether the user is a member, and gives or takes the seats. Gathered: many at once cost one job. Does nothing for users who are not here. */
void members_check(struct hub_app *app, const struct user_id *user, const struct conv_id *conv);

/* The user has left at seq (0: not known when): seats that are not behind go now. */
void members_leave(struct hub_member *m, int64_t left_seq);

/* Compares all conversations of a user with what storage says; paced, for after a doubt. */
void members_reload(struct hub_user *u);
void members_reload_all(void); /* of everybody who has a connection */

/* Removes a seat with everything that hangs on it. True: the conversation has gone from this node (the caller detaches it). */
bool members_unseat(struct seat *seat);

#endif
