/* conv.h: what the handlers of groups, conversations and messages share: finding a conversation as the caller may see it, and changing a group. */
#ifndef API_CONV_H
#define API_CONV_H

#include "api/req.h"
#include "storage/groups.h"
#include "storage/outbox.h"

/* The conversation named by a path parameter. -1: ERR_NOT_FOUND; for a user who is no member now ERR_NOT_A_MEMBER. me_r (may be NULL): the user's membership. */
int conv_find(struct req *r, const char *param, struct conversation *c_r, struct member *me_r, struct err *e)
    __attribute__((warn_unused_result));

/* The user whose act an entry records: the token's, or "" for an API key. */
struct user_id conv_actor(const struct req *r);

/* Appends one entry and, when it is stored, tells the gateways. An unknown outcome is settled by sending the row once more. Every status other than WRITTEN,
 * DUPLICATE and UNCHANGED is an error. */
int conv_append(struct req *r, struct append *row, struct err *e) __attribute__((warn_unused_result));

/* The same for a control entry of a group. expected_version 0 = any. */
int conv_control(struct req *r, const struct conv_id *conv, enum entry_kind kind, const json_t *body, int64_t expected_version,
                 struct append *row_r, struct err *e) __attribute__((warn_unused_result));

/* Tells users that they are in now (with the conversation as it is) or out. */
void conv_announce(struct req *r, const struct conversation *c, const struct user_id *users, int n);
void conv_announce_gone(struct req *r, const struct conv_id *id, const struct user_id *users, int n);

/* Shape Group or Conversation; a direct one with both user ids when they are given. */
json_t *conv_json(struct req *r, const struct conversation *c, const char *user_a, const char *user_b);

/* A conversation as a reply. Its ETag is version and last_seq, which moves without the version; If-Match compares the version alone. */
int conv_reply(struct req *r, int status, const struct conversation *c, json_t *body);

/* Appends an entry in the shape of Message: messages as they are, others with type "system", event and data. */
void conv_encode_message(struct buf *out, const struct entry *en, bool for_sender);

#endif
