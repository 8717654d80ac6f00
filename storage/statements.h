/* statements.h: every SQL text of the programs. To add one: a row here and a function in storage/<noun>.c.
 *
 * Scope: TENANT     $1 is the app; it is bound by pg_query() and is the transaction's parley.app; the text names it (a test reads this table)
 *        PLATFORM   as role parley_platform: apps and keys of all apps
 *        WRITER     as parley_writer, on its own link
 *        OPEN       deployment-wide
 * Effect: READ may be repeated on a new link; a WRITE whose link breaks has an unknown outcome.
 *
 * Results are binary: jsonb and arrays are cast to text. Parameters are cast, so that their types are what pg-private.h sends. */
#ifndef STORAGE_STATEMENTS_H
#define STORAGE_STATEMENTS_H

/* clang-format off */

/* ---- columns, in the order that the noun's file reads them ---- */
#define SQL_APP \
    "app_id, name, status, id_key, features::text, limits::text, metadata::text, coalesce(to_json(origins)::text, 'null'), token_ttl_seconds, " \
    "tokens_valid_after, version, created_at, updated_at, deleted_at"
#define SQL_LAST4 "(select s.last4 from api_secrets s where s.app_id = k.app_id and s.key_id = k.key_id order by s.created_at desc, s.public_id limit 1)"
#define SQL_APIKEY(last4) \
    "k.key_id, k.name, k.mode, " last4 ", to_json(k.scopes)::text, to_json(k.cidrs)::text, k.expires_at, k.revoked_at, k.last_used_at, k.created_at, k.version"
#define SQL_SIGNING_KEY "kid, alg, issuer, secret, public_pem, public_jwk::text, created_at, revoked_at"
#define SQL_USER \
    "u.user_id, u.name, u.role, u.avatar_url, u.language, u.metadata::text, u.version, u.created_at, u.updated_at, u.deactivated_at, u.last_active_at, " \
    "u.tokens_valid_after"
#define SQL_ENTRY "seq, created_at, kind, mid, sender_id, client_msg_id, body"
#define SQL_CONVERSATION \
    "c.conversation_id, c.kind, c.name, c.external_id, c.created_by, c.metadata::text, c.frozen, c.member_count, c.version, c.created_at, c.updated_at, " \
    "h.last_seq, h.members_seq, h.last_at"
#define SQL_MEMBER "m.user_id, m.role, m.perms, m.joined_at, m.joined_seq, m.left_seq, m.muted_until, w.delivered_seq, w.read_seq"

/* ---- shared parts ---- */
/* What is no array counts as an empty one: the sub-select may be computed although a case around it decides otherwise. */
#define SQL_STRINGS(p) "array(select jsonb_array_elements_text(case when jsonb_typeof(" p "::jsonb) = 'array' then " p "::jsonb else '[]' end))"
/* JSON null = any origin; SQL null = keep. $2… as in apps.c. */
#define SQL_APPS_UPDATE \
    "update apps set name = coalesce($2::text, name), status = coalesce($3::text, status), " \
    " deleted_at = case when $3 is null then deleted_at when $3 = 'deleted' then coalesce(deleted_at, now_ms()) end, " \
    " features = coalesce($4::jsonb, features), limits = coalesce($5::jsonb, limits), metadata = coalesce($6::jsonb, metadata), " \
    " origins = case when $7::jsonb is null then origins when jsonb_typeof($7::jsonb) = 'null' then null else " SQL_STRINGS("$7") " end, " \
    " token_ttl_seconds = coalesce($8::int, token_ttl_seconds), " \
    " tokens_valid_after = greatest(tokens_valid_after, $9::timestamptz), version = version + 1, updated_at = now_ms() " \
    " where app_id = $1::uuid and ($10::bigint = 0 or version = $10) returning " SQL_APP
#define SQL_APPS_LIST(cmp, order) \
    "select " SQL_APP " from apps where ($1::text is null or status = $1) and ($2::text is null or position(lower($2) in lower(name)) > 0) " \
    " and ($3::timestamptz is null or (created_at, app_id) " cmp " ($3, $4::uuid)) order by created_at " order ", app_id " order " limit $5::int"
#define SQL_USERS_LIST(cmp, order) \
    "select " SQL_USER " from users u where u.app_id = $1::uuid and ($2::text is null or u.role = $2) " \
    " and ($3::text is null or ($3 = 'active') = (u.deactivated_at is null)) " \
    " and ($4::text is null or starts_with(u.user_id, $4) or position(lower($4) in lower(u.name)) > 0) " \
    " and ($5::timestamptz is null or u.created_at > $5) and ($6::timestamptz is null or u.last_active_at > $6) " \
    " and ($7::timestamptz is null or (u.created_at, u.user_id) " cmp " ($7, $8::text)) " \
    " order by u.created_at " order ", u.user_id " order " limit $9::int"
/* A given field of users_upsert: the element that belongs to row u. */
#define SQL_GIVEN(p) "($" p "::text[])[array_position($2::text[], u.user_id::text)]"
#define SQL_GROUPS_LIST(from, where) \
    "select " SQL_CONVERSATION " from " from " join heads h on h.app_id = c.app_id and h.conversation_id = c.conversation_id " \
    " where c.app_id = $1::uuid and c.kind <> 'direct' and c.deleted_at is null and ($2::text is null or c.external_id = $2) " \
    " and ($3::timestamptz is null or c.updated_at > $3) and ($4::timestamptz is null or (c.created_at, c.conversation_id) < ($4, $5::uuid)) " where \
    " order by c.created_at desc, c.conversation_id desc limit $6::int"
/* The user's own watermarks of a member m. */
#define SQL_MARKS \
    " left join lateral (select x.delivered_seq, x.read_seq from marks x where x.app_id = $1::uuid and x.user_id = m.user_id and x.device_id = '*' " \
    " and x.conversation_id = m.conversation_id offset 0) w on true "
/* Pages of a user's conversations: probes on full keys, sorted by last activity. $3 is the device. */
#define SQL_MEMBERSHIPS_PAGE \
    "with device as materialized (select case when exists (select 1 from devices d where d.app_id = $1::uuid and d.user_id = $2::text and d.device_id = $3::text) " \
    "  then $3 else '*' end as id), " \
    "page as materialized (select " SQL_CONVERSATION ", " \
    "  m.user_id, m.role, m.perms, m.joined_at, m.joined_seq, m.left_seq, m.muted_until, coalesce(d.delivered_seq, 0) as delivered_seq, " \
    "  coalesce(w.read_seq, 0) as read_seq, " \
    "  case when c.kind = 'direct' then coalesce((select o.user_id from members o where o.app_id = $1::uuid and o.conversation_id = m.conversation_id " \
    "   and o.user_id <> m.user_id limit 1), m.user_id) end as other_user " \
    " from device, members m " \
    " cross join lateral (select * from conversations x where x.app_id = $1::uuid and x.conversation_id = m.conversation_id offset 0) c " \
    " cross join lateral (select * from heads x where x.app_id = $1::uuid and x.conversation_id = m.conversation_id offset 0) h " SQL_MARKS \
    " left join lateral (select x.delivered_seq from marks x where x.app_id = $1::uuid and x.user_id = $2::text and x.device_id = device.id " \
    "  and x.conversation_id = m.conversation_id offset 0) d on true " \
    " where m.app_id = $1::uuid and m.user_id = $2::text " \
    " and case when m.left_seq is null then c.deleted_at is null else $4::bool and m.left_seq > greatest(m.joined_seq, coalesce(d.delivered_seq, 0)) end " \
    " and ($5::text is null or c.kind = $5) and ($6::timestamptz is null or greatest(c.updated_at, h.last_at) > $6) " \
    " and ($7::timestamptz is null or (h.last_at, c.conversation_id) < ($7, $8::uuid)) " \
    " order by h.last_at desc, c.conversation_id desc limit $9::int) "

#define STATEMENTS(S) \
    S(PING, OPEN, READ, \
      "select not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off' and current_setting('fsync') = 'on' " \
      " and current_setting('full_page_writes') = 'on' and current_setting('synchronous_commit') not in ('off', 'local')") \
    S(SCHEMA_VERSION, OPEN, READ, "select coalesce(max(version), 0) from schema_migrations") \
    \
    S(APPS_CREATE, PLATFORM, WRITE, \
      "with a as (insert into apps (app_id, name, id_key, features, limits, metadata, origins) values ($1::uuid, $2::text, $3::bytea, " \
      "  coalesce($4::jsonb, '{}'), coalesce($5::jsonb, '{}'), coalesce($6::jsonb, '{}'), " \
      "  case when coalesce(jsonb_typeof($7::jsonb), 'null') <> 'null' then " SQL_STRINGS("$7") " end) returning *), " \
      "k as (insert into api_keys (app_id, key_id, name, scopes) values ($1, $8::uuid, 'initial key', " SQL_STRINGS("$9") ")), " \
      "s as (insert into api_secrets (app_id, public_id, key_id, sha256, last4) values ($1, $10::text, $8, $11::bytea, $12::text)), " \
      "g as (insert into signing_keys (app_id, kid, alg, secret, issuer) values ($1, $13::text, 'HS256', $14::bytea, $15::text)) " \
      "select " SQL_APP " from a") \
    S(APPS_LIST, PLATFORM, READ, SQL_APPS_LIST(">", "asc")) \
    S(APPS_LIST_DESC, PLATFORM, READ, SQL_APPS_LIST("<", "desc")) \
    S(APPS_FIND, PLATFORM, READ, "select " SQL_APP " from apps where app_id = $1::uuid") \
    S(APPS_LOAD, TENANT, READ, "select " SQL_APP " from apps where app_id = $1::uuid") \
    S(APPS_UPDATE, PLATFORM, WRITE, SQL_APPS_UPDATE) \
    S(APPS_UPDATE_OWN, TENANT, WRITE, SQL_APPS_UPDATE) \
    \
    S(APIKEYS_MATCH, PLATFORM, READ, \
      "select " SQL_APIKEY(SQL_LAST4) ", k.app_id, x.sha256, x.expires_at from api_secrets x " \
      " join api_keys k on k.app_id = x.app_id and k.key_id = x.key_id where x.public_id = $1::text") \
    S(APIKEYS_CREATE, TENANT, WRITE, \
      "with k as (insert into api_keys (app_id, key_id, name, mode, scopes, cidrs, expires_at) values ($1::uuid, $2::uuid, $3::text, $4::text, " \
      "  " SQL_STRINGS("$5") ", case when $6::jsonb is null then '{}' else " SQL_STRINGS("$6") " end, $7::timestamptz) returning *), " \
      "s as (insert into api_secrets (app_id, public_id, key_id, sha256, last4) select $1, $8::text, $2, $9::bytea, $10::text from k) " \
      "select " SQL_APIKEY("$10::text") " from k") \
    S(APIKEYS_LIST, TENANT, READ, \
      "select " SQL_APIKEY(SQL_LAST4) " from api_keys k where k.app_id = $1::uuid and ($2::timestamptz is null or (k.created_at, k.key_id) < ($2, $3::uuid)) " \
      " order by k.created_at desc, k.key_id desc limit $4::int") \
    S(APIKEYS_GET, TENANT, READ, "select " SQL_APIKEY(SQL_LAST4) " from api_keys k where k.app_id = $1::uuid and k.key_id = $2::uuid") \
    S(APIKEYS_UPDATE, TENANT, WRITE, \
      "update api_keys k set name = coalesce($3::text, name), cidrs = case when $4::jsonb is null then cidrs else " SQL_STRINGS("$4") " end, " \
      " expires_at = case when $5::bool then $6::timestamptz else expires_at end, version = version + 1 " \
      " where k.app_id = $1::uuid and k.key_id = $2::uuid and ($7::bigint = 0 or version = $7) returning " SQL_APIKEY(SQL_LAST4)) \
    S(APIKEYS_ROTATE, TENANT, WRITE, \
      "with k as (update api_keys set version = version + 1 where app_id = $1::uuid and key_id = $2::uuid and revoked_at is null returning *), " \
      "gone as (delete from api_secrets s using k where s.app_id = k.app_id and s.key_id = k.key_id and s.expires_at <= now_ms()), " \
      "last as (select s.public_id from api_secrets s join k on s.app_id = k.app_id and s.key_id = k.key_id order by s.created_at desc limit 1), " \
      "old as (update api_secrets s set expires_at = case when s.public_id = (select public_id from last) " \
      "  then least(s.expires_at, now_ms() + make_interval(secs => $6::int)) else now_ms() end from k " \
      "  where s.app_id = k.app_id and s.key_id = k.key_id and (s.expires_at is null or s.expires_at > now_ms())), " \
      "fresh as (insert into api_secrets (app_id, public_id, key_id, sha256, last4) select app_id, $3::text, key_id, $4::bytea, $5::text from k) " \
      "select " SQL_APIKEY("$5::text") " from k") \
    S(APIKEYS_REVOKE, TENANT, WRITE, \
      "update api_keys set revoked_at = coalesce(revoked_at, now_ms()), version = version + 1 where app_id = $1::uuid and key_id = $2::uuid returning 1") \
    S(APIKEYS_TOUCH, TENANT, WRITE, \
      "update api_keys set last_used_at = now_ms() where app_id = $1::uuid and key_id = $2::uuid " \
      " and (last_used_at is null or last_used_at < now() - interval '1 hour')") \
    \
    S(SIGNING_LIST, TENANT, READ, "select " SQL_SIGNING_KEY " from signing_keys where app_id = $1::uuid order by created_at desc, kid") \
    S(SIGNING_GET, TENANT, READ, "select " SQL_SIGNING_KEY " from signing_keys where app_id = $1::uuid and kid = $2::text") \
    S(SIGNING_CREATE, TENANT, WRITE, \
      "insert into signing_keys (app_id, kid, alg, issuer, secret, public_pem, public_jwk) " \
      " values ($1::uuid, $2::text, $3::text, $4::text, $5::bytea, $6::text, $7::jsonb) returning " SQL_SIGNING_KEY) \
    S(SIGNING_REVOKE, TENANT, WRITE, /* the lock makes two that revoke the last two keys see each other */ \
      "with active as materialized (select kid from signing_keys where app_id = $1::uuid and revoked_at is null order by kid for update), " \
      "n as (select count(*) as active, count(*) filter (where kid = $2::text) as mine from active), " \
      "u as (update signing_keys s set revoked_at = now_ms() from n where s.app_id = $1 and s.kid = $2 and n.mine = 1 and n.active > 1 returning 1) " \
      "select n.mine, (select count(*) from u) from n") \
    S(SIGNING_REVOKE_TOKEN, TENANT, WRITE, \
      "with gone as (delete from revoked_tokens where app_id = $1::uuid and expires_at < now_ms()) " \
      "insert into revoked_tokens as r (app_id, jti, expires_at) values ($1::uuid, $2::text, $3::timestamptz) " \
      " on conflict (app_id, jti) do update set expires_at = greatest(r.expires_at, excluded.expires_at)") \
    S(SIGNING_TOKEN_REVOKED, TENANT, READ, "select 1 from revoked_tokens where app_id = $1::uuid and jti = $2::text") \
    \
    S(USERS_UPSERT, TENANT, WRITE, \
      "with u as (insert into users as u (app_id, user_id, name, role, avatar_url, language, metadata) " \
      "  select $1::uuid, x.id, coalesce(x.name, ''), coalesce(x.role, 'user'), nullif(x.avatar, ''), nullif(x.language, ''), coalesce(x.metadata::jsonb, '{}') " \
      "  from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) x(id, name, role, avatar, language, metadata) order by x.id collate \"C\" " \
      "  on conflict (app_id, user_id) do update set name = coalesce(" SQL_GIVEN("3") ", u.name), role = coalesce(" SQL_GIVEN("4") ", u.role), " \
      "   avatar_url = nullif(coalesce(" SQL_GIVEN("5") ", u.avatar_url), ''), language = nullif(coalesce(" SQL_GIVEN("6") ", u.language), ''), " \
      "   metadata = coalesce(" SQL_GIVEN("7") "::jsonb, u.metadata), version = u.version + 1, updated_at = now_ms() " \
      "  returning *, (xmax = 0) as made) " \
      "select " SQL_USER ", u.made from u order by array_position($2::text[], u.user_id::text)") \
    S(USERS_UPDATE, TENANT, WRITE, \
      "update users u set name = coalesce($3::text, name), role = coalesce($4::text, role), avatar_url = nullif(coalesce($5::text, avatar_url), ''), " \
      " language = nullif(coalesce($6::text, language), ''), metadata = coalesce($7::jsonb, metadata), version = version + 1, updated_at = now_ms() " \
      " where u.app_id = $1::uuid and u.user_id = $2::text and ($8::bigint = 0 or u.version = $8) returning " SQL_USER) \
    S(USERS_GET, TENANT, READ, "select " SQL_USER " from users u where u.app_id = $1::uuid and u.user_id = $2::text") \
    S(USERS_LIST, TENANT, READ, SQL_USERS_LIST(">", "asc")) \
    S(USERS_LIST_DESC, TENANT, READ, SQL_USERS_LIST("<", "desc")) \
    S(USERS_DEACTIVATE, TENANT, WRITE, \
      "with u as (update users set deactivated_at = coalesce(deactivated_at, now_ms()), version = version + 1, updated_at = now_ms() " \
      "  where app_id = $1::uuid and user_id = $2::text returning *), " \
      "m as (update members m set perms = 0 from u where m.app_id = $1 and m.user_id = u.user_id and m.perms <> 0) " \
      "select " SQL_USER " from u") \
    S(USERS_ACTIVATE, TENANT, WRITE, \
      "with u as (update users set deactivated_at = null, version = version + 1, updated_at = now_ms() where app_id = $1::uuid and user_id = $2::text returning *), " \
      "m as (update members m set perms = coalesce(role_perms($1, c.kind, m.role), 0) from u, conversations c where m.app_id = $1 and m.user_id = u.user_id " \
      "  and m.left_seq is null and c.app_id = $1 and c.conversation_id = m.conversation_id) " \
      "select " SQL_USER " from u") \
    S(USERS_REVOKE_TOKENS, TENANT, WRITE, \
      "update users set tokens_valid_after = greatest(tokens_valid_after, $3::timestamptz), version = version + 1 " \
      " where app_id = $1::uuid and user_id = $2::text returning 1") \
    \
    S(ENTRIES_AFTER, TENANT, READ, \
      "select " SQL_ENTRY " from (select *, sum(length(body)) over (order by seq) - length(body) as before from (select " SQL_ENTRY " from entries " \
      "  where app_id = $1::uuid and conversation_id = $2::uuid and seq > $3::bigint and seq <= $4::bigint order by seq limit $5::int) e) e " \
      " where before < $6::bigint order by seq") \
    S(ENTRIES_BEFORE, TENANT, READ, \
      "select " SQL_ENTRY " from (select *, sum(length(body)) over (order by seq desc) - length(body) as before from (select " SQL_ENTRY " from entries " \
      "  where app_id = $1::uuid and conversation_id = $2::uuid and seq < $3::bigint and seq > $4::bigint order by seq desc limit $5::int) e) e " \
      " where before < $6::bigint order by seq") \
    S(ENTRIES_GET, TENANT, READ, "select " SQL_ENTRY " from entries where app_id = $1::uuid and conversation_id = $2::uuid and mid = $3::uuid") \
    S(ENTRIES_HEADS, TENANT, READ, \
      "select coalesce(h.last_seq, -1) from unnest($2::uuid[]) with ordinality k(conv, i) " \
      " left join lateral (select x.last_seq from heads x where x.app_id = $1::uuid and x.conversation_id = k.conv offset 0) h on true order by k.i") \
    S(APPEND, WRITER, WRITE, \
      "select * from append_entries($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::smallint[], $8::bool[], $9::int[], " \
      " $10::bigint[], $11::bytea[], $12::bool)") \
    \
    S(GROUPS_GET, TENANT, READ, \
      "select " SQL_CONVERSATION " from conversations c join heads h on h.app_id = c.app_id and h.conversation_id = c.conversation_id " \
      " where c.app_id = $1::uuid and c.conversation_id = $2::uuid and c.deleted_at is null") \
    S(GROUPS_LIST, TENANT, READ, SQL_GROUPS_LIST("conversations c", "")) \
    S(GROUPS_LIST_OF, TENANT, READ, \
      SQL_GROUPS_LIST("members m join conversations c on c.app_id = m.app_id and c.conversation_id = m.conversation_id", \
                      " and m.app_id = $1::uuid and m.user_id = $7::text and m.left_seq is null ")) \
    S(GROUPS_MEMBERS, TENANT, READ, \
      "select " SQL_MEMBER " from (select * from members where app_id = $1::uuid and conversation_id = $2::uuid and left_seq is null " \
      "  and ($3::text is null or role = $3) and user_id > $4::text order by user_id limit $5::int) m " SQL_MARKS " order by m.user_id") \
    S(GROUPS_MEMBER, TENANT, READ, \
      "select " SQL_MEMBER " from members m " SQL_MARKS " where m.app_id = $1::uuid and m.conversation_id = $2::uuid and m.user_id = $3::text") \
    S(GROUPS_DIRECT, TENANT, WRITE, /* case: the function runs only when there is something to make */ \
      "select case when exists (select 1 from conversations where app_id = $1::uuid and conversation_id = $2::uuid) then false " \
      "  else create_direct($2, $3::text, $4::text) end " \
      " where (select count(*) from users where app_id = $1 and user_id in ($3, $4) and deactivated_at is null) = case when $3 = $4 then 1 else 2 end") \
    S(MEMBERSHIPS, TENANT, READ, SQL_MEMBERSHIPS_PAGE "select * from page order by last_at desc, conversation_id desc") \
    S(MEMBERSHIPS_LAST, TENANT, READ, /* both look-ups read a bounded stretch of the log, whatever it holds */ \
      SQL_MEMBERSHIPS_PAGE "select p.*, n.unread, e.* from page p " \
      " cross join lateral (select least(count(*), 1000) as unread from (select kind, sender_id from entries e where e.app_id = $1::uuid " \
      "  and e.conversation_id = p.conversation_id and e.seq > greatest(p.read_seq, p.joined_seq) and e.seq <= coalesce(p.left_seq, p.last_seq) " \
      "  order by e.seq desc limit 2000) x where x.kind = 1 and x.sender_id <> $2::text) n " \
      " left join lateral (select " SQL_ENTRY " from (select " SQL_ENTRY " from entries e where e.app_id = $1::uuid and e.conversation_id = p.conversation_id " \
      "  and e.seq > p.joined_seq and e.seq <= coalesce(p.left_seq, p.last_seq) order by e.seq desc limit 1000) x where x.kind = 1 " \
      "  order by x.seq desc limit 1) e on true " \
      " order by p.last_at desc, p.conversation_id desc") \
    S(ROLES_LIST, TENANT, READ, "select name, to_json(permissions)::text from roles where app_id = $1::uuid order by name") \
    S(ROLES_PUT, TENANT, WRITE, \
      "with r as (insert into roles (app_id, name, permissions) values ($1::uuid, $2::text, " SQL_STRINGS("$3") ") " \
      "  on conflict (app_id, name) do update set permissions = excluded.permissions returning permissions, (xmax = 0) as made), " \
      "m as (update members m set perms = permission_bits(r.permissions) from r where m.app_id = $1 and m.role = $2 and m.left_seq is null " \
      "  and m.perms <> permission_bits(r.permissions) " \
      "  and not exists (select 1 from users u where u.app_id = $1 and u.user_id = m.user_id and u.deactivated_at is not null)) " \
      "select made from r") \
    S(ROLES_DELETE, TENANT, WRITE, /* a built-in role goes back to what is built in; another must not be in use */ \
      "with d as (delete from roles r where r.app_id = $1::uuid and r.name = $2::text " \
      "  and (builtin_perms('group', $2) is not null or not exists (select 1 from members m where m.app_id = $1 and m.role = $2 and m.left_seq is null)) " \
      "  returning name), " \
      "m as (update members m set perms = builtin_perms(c.kind, $2) from d, conversations c where m.app_id = $1 and m.role = $2 and m.left_seq is null " \
      "  and c.app_id = $1 and c.conversation_id = m.conversation_id and builtin_perms(c.kind, $2) is not null " \
      "  and not exists (select 1 from users u where u.app_id = $1 and u.user_id = m.user_id and u.deactivated_at is not null)) " \
      "select (select count(*) from d), exists (select 1 from roles where app_id = $1 and name = $2)") \
    \
    S(MARKS_RAISE, TENANT, WRITE, \
      "with given as (select conv, usr, device, max(delivered) as delivered, max(read) as read " \
      "  from unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) x(conv, usr, device, delivered, read) group by conv, usr, device), " \
      "cut as (select g.conv, g.usr, g.device, least(g.delivered, h.last_seq) as delivered, least(g.read, h.last_seq) as read from given g " \
      "  cross join lateral (select x.last_seq from heads x where x.app_id = $1::uuid and x.conversation_id = g.conv offset 0) h " \
      "  cross join lateral (select 1 from members x where x.app_id = $1::uuid and x.conversation_id = g.conv and x.user_id = g.usr offset 0) m), " \
      "rows as (select conv, usr, device, delivered, 0::bigint as read from cut where delivered > 0 " \
      "  union all select conv, usr, '*', max(greatest(delivered, read)), max(read) from cut group by conv, usr) " \
      "insert into marks as m (app_id, conversation_id, user_id, device_id, delivered_seq, read_seq) " \
      " select $1::uuid, conv, usr, device, delivered, read from rows order by usr collate \"C\", device collate \"C\", conv " \
      " on conflict (app_id, user_id, device_id, conversation_id) do update " \
      " set delivered_seq = greatest(m.delivered_seq, excluded.delivered_seq), read_seq = greatest(m.read_seq, excluded.read_seq) " \
      " where excluded.delivered_seq > m.delivered_seq or excluded.read_seq > m.read_seq") \
    S(DEVICE_SEEN, TENANT, WRITE, \
      "with d as (insert into devices (app_id, user_id, device_id) values ($1::uuid, $2::text, $3::text) " \
      "  on conflict (app_id, user_id, device_id) do update set seen_at = now_ms() returning (xmax = 0) as made), " \
      "copied as (insert into marks (app_id, conversation_id, user_id, device_id, delivered_seq) " \
      "  select app_id, conversation_id, user_id, $3, delivered_seq from marks where app_id = $1 and user_id = $2 and device_id = '*' and (select made from d) " \
      "  on conflict do nothing), " \
      "old as (delete from devices where app_id = $1 and user_id = $2 and device_id in (select device_id from devices where app_id = $1 and user_id = $2 " \
      "  and device_id <> $3 order by seen_at desc, device_id offset 49) returning device_id) " \
      "delete from marks where app_id = $1 and user_id = $2 and device_id in (select device_id from old)") \
    \
    S(LEASE_BEAT, OPEN, WRITE, \
      "insert into leases as l (node_id, kind, address, bus_lost, beat) select $1::text, $2::text, $3::text, $4::bool, 1 " \
      " where not exists (select from leases t where t.state = 'live' and t.kind = 'realtime' and $2 = 'realtime' " \
      "                    and left(t.node_id, 3) = left($1, 3) and t.node_id <> $1) " \
      " on conflict (node_id) do update set beat = l.beat + 1, beat_at = now_ms(), address = excluded.address, bus_lost = excluded.bus_lost " \
      " where l.state = 'live' returning beat") \
    S(LEASE_LIST, OPEN, READ, "select node_id, kind, state, address, beat, bus_lost from leases where state = 'live' order by node_id") \
    S(LEASE_CLOSE, OPEN, WRITE, \
      "with gone as (delete from leases where state = 'closed' and beat_at < now_ms() - interval '1 day') " \
      "update leases set state = 'closed' where node_id = $1::text and state = 'live' and ($2::bigint < 0 or beat = $2) returning 1")

/* clang-format on */
#endif
