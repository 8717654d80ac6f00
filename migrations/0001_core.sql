-- Apps, keys, users, conversations, the log.
--
-- Rules (README.md): the primary key starts with app_id, every unique key and foreign key includes it, row-level security is enabled and forced,
-- and the policy is plain equality with the transaction's parley.app. An unset parley.app is an error, not an empty result: keep the cast.
-- Roles come from roles.sql. parley_platform (assumed by parley_api on the operator's listener and to find an API key) sees apps and keys of all
-- apps and nothing else; parley_writer (storage/outbox) mixes apps in one batch and can only append.

create function this_app() returns uuid language sql stable parallel safe
    as $$ select current_setting('parley.app')::uuid $$;

-- Milliseconds since the epoch: what the programs read in place of timestamps.
create function ms(t timestamptz) returns bigint language sql immutable strict parallel safe
    as $$ select (extract(epoch from t) * 1000)::bigint $$;
create function from_ms(t bigint) returns timestamptz language sql immutable strict parallel safe
    as $$ select to_timestamp(t / 1000.0) $$;
create function now_ms() returns timestamptz language sql volatile
    as $$ select date_trunc('milliseconds', clock_timestamp()) $$;

create table apps (
    app_id             uuid primary key,
    name               text not null check (length(name) between 1 and 100),
    status             text not null default 'active' check (status in ('active', 'suspended', 'deleted')),
    id_key             bytea not null,                       -- sealed by the master key; never rotates
    features           jsonb not null default '{}',          -- {"typing": false}: what differs from the defaults
    limits             jsonb not null default '{}',          -- {"group_members": 500}: likewise
    origins            text[],                               -- browser origins; null = any
    token_ttl_seconds  int not null default 3600 check (token_ttl_seconds between 60 and 86400),
    tokens_valid_after timestamptz,
    metadata           jsonb not null default '{}',
    version            bigint not null default 1,
    created_at         timestamptz not null default now_ms(),
    updated_at         timestamptz not null default now_ms(),
    deleted_at         timestamptz
);

create table api_keys (
    app_id       uuid not null references apps,
    key_id       uuid not null,
    name         text not null check (length(name) between 1 and 100),
    mode         text not null default 'live' check (mode in ('live', 'test')),
    scopes       text[] not null,
    cidrs        text[] not null default '{}',
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    version      bigint not null default 1,
    created_at   timestamptz not null default now_ms(),
    primary key (app_id, key_id)
);

-- The secrets of a key: one, or two during a rotation. public_id is the id12 part of ply_live_<id12>_…; found across apps by parley_platform.
create table api_secrets (
    app_id     uuid not null,
    public_id  text collate "C" not null check (length(public_id) = 12),
    key_id     uuid not null,
    sha256     bytea not null check (length(sha256) = 32),
    last4      text not null,
    expires_at timestamptz,
    created_at timestamptz not null default now_ms(),
    primary key (app_id, public_id),
    foreign key (app_id, key_id) references api_keys on delete cascade
);
create index api_secrets_public_id on api_secrets (public_id);
create index api_secrets_key on api_secrets (app_id, key_id);

create table signing_keys (
    app_id     uuid not null references apps,
    kid        text collate "C" not null check (length(kid) between 8 and 64),
    alg        text not null check (alg in ('HS256', 'ES256', 'RS256')),
    secret     bytea,                                        -- HS256: sealed by the master key
    public_pem text,                                         -- ES256, RS256
    public_jwk jsonb,
    issuer     text not null,
    revoked_at timestamptz,
    created_at timestamptz not null default now_ms(),
    primary key (app_id, kid),
    check ((alg = 'HS256') = (secret is not null) and (alg = 'HS256') = (public_pem is null))
);

create table revoked_tokens (
    app_id     uuid not null references apps,
    jti        text collate "C" not null check (length(jti) between 1 and 128),
    expires_at timestamptz not null,
    primary key (app_id, jti)
);

create table users (
    app_id             uuid not null references apps,
    user_id            text collate "C" not null check (user_id ~ '^[A-Za-z0-9@._:-]{1,128}$'),
    name               text not null default '',
    avatar_url         text,
    role               text not null default 'user',
    language           text,
    metadata           jsonb not null default '{}',
    version            bigint not null default 1,
    tokens_valid_after timestamptz,
    last_active_at     timestamptz,
    created_at         timestamptz not null default now_ms(),
    updated_at         timestamptz not null default now_ms(),
    deactivated_at     timestamptz,
    primary key (app_id, user_id)
);
create index users_created on users (app_id, created_at, user_id);

-- What a member of a role may do; overrides the built-in roles of role_perms().
create table roles (
    app_id      uuid not null references apps,
    name        text collate "C" not null check (name ~ '^[a-z][a-z0-9_-]{0,31}$'),
    permissions text[] not null,
    primary key (app_id, name)
);

create table conversations (
    app_id          uuid not null references apps,
    conversation_id uuid not null,
    kind            text not null check (kind in ('direct', 'group', 'broadcast')),
    name            text not null default '',
    external_id     text collate "C",
    metadata        jsonb not null default '{}',
    frozen          boolean not null default false,
    member_count    int not null default 0,
    created_by      text collate "C",                        -- null: made by an API key, has no owner
    version         bigint not null default 1,
    created_at      timestamptz not null default now_ms(),
    updated_at      timestamptz not null default now_ms(),
    deleted_at      timestamptz,
    primary key (app_id, conversation_id)
);
create index conversations_created on conversations (app_id, created_at, conversation_id) where kind <> 'direct' and deleted_at is null;
create unique index conversations_external on conversations (app_id, external_id) where external_id is not null;

-- One row a conversation, narrow, updated with each batch: the lock that orders the conversation. Stays for ever.
create table heads (
    last_seq        bigint not null default 0,
    floor_seq       bigint not null default 0,               -- entries up to here have left the table
    members_seq     bigint not null default 0,               -- version of the member list
    last_at         timestamptz not null default now_ms(),
    app_id          uuid not null,
    conversation_id uuid not null,
    frozen          boolean not null default false,
    deleted         boolean not null default false,
    primary key (app_id, conversation_id)
) with (fillfactor = 50);

-- perms: bits of role_perms(); 0 once the member has left. Entries with joined_seq < seq <= left_seq are visible.
create table members (
    joined_seq      bigint not null,
    left_seq        bigint,
    joined_at       timestamptz not null default now_ms(),
    muted_until     timestamptz,
    perms           int not null,
    app_id          uuid not null,
    conversation_id uuid not null,
    user_id         text collate "C" not null,
    role            text not null,
    primary key (app_id, conversation_id, user_id)
) with (fillfactor = 80);
create index members_user on members (app_id, user_id, conversation_id);

-- The log. No foreign keys (the writer's batch), no index on time (the archiver walks conversations), bodies as bytes (deterministic archives).
create table entries (
    seq             bigint not null,
    created_at      timestamptz not null,
    edit_seq        bigint not null default 0,
    kind            smallint not null,
    app_id          uuid not null,
    conversation_id uuid not null,
    mid             uuid not null,
    ref_mid         uuid,
    sender_id       text collate "C" not null,               -- '' = the app itself
    client_msg_id   text collate "C",
    body            bytea not null,
    primary key (app_id, conversation_id, seq),
    unique (app_id, conversation_id, mid)
) with (fillfactor = 100, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, vacuum_truncate = off);

-- Watermarks. device_id '*' is the user's own row: highest delivered of any device, and what was read.
create table marks (
    delivered_seq   bigint not null default 0,
    read_seq        bigint not null default 0,
    app_id          uuid not null,
    conversation_id uuid not null,
    user_id         text collate "C" not null,
    device_id       text collate "C" not null,
    primary key (app_id, user_id, device_id, conversation_id)
) with (fillfactor = 60);

create table devices (
    app_id     uuid not null,
    user_id    text collate "C" not null,
    device_id  text collate "C" not null,
    created_at timestamptz not null default now_ms(),
    seen_at    timestamptz not null default now_ms(),
    primary key (app_id, user_id, device_id),
    foreign key (app_id, user_id) references users
);

-- Deployment-wide: which processes live. A node id is drawn anew at each start.
create table leases (
    node_id    text collate "C" primary key,
    kind       text not null check (kind in ('api', 'realtime')),
    address    text not null,
    beat       bigint not null default 0,
    bus_lost   boolean not null default false,
    state      text not null default 'live' check (state in ('live', 'closed')),
    started_at timestamptz not null default now_ms(),
    beat_at    timestamptz not null default now_ms()
) with (fillfactor = 10);

-- Fences: row-level security, forced, on every tenant table.
do $$
declare t text;
begin
    foreach t in array array['apps', 'api_keys', 'api_secrets', 'signing_keys', 'revoked_tokens', 'users', 'roles', 'conversations', 'heads',
                             'members', 'entries', 'marks', 'devices'] loop
        execute format('alter table %I enable row level security', t);
        execute format('alter table %I force row level security', t);
        execute format('create policy tenant on %I to parley_api, parley_gateway, parley_archiver
                        using (app_id = current_setting(''parley.app'')::uuid)
                        with check (app_id = current_setting(''parley.app'')::uuid)', t);
    end loop;
    foreach t in array array['apps', 'api_keys', 'api_secrets', 'signing_keys'] loop
        execute format('create policy platform on %I to parley_platform using (true) with check (true)', t);
    end loop;
    foreach t in array array['users', 'roles', 'conversations', 'heads', 'members', 'entries'] loop
        execute format('create policy writer on %I to parley_writer using (true) with check (true)', t);
    end loop;
end $$;

grant usage on schema public to parley_api, parley_gateway, parley_archiver, parley_platform, parley_writer;
revoke all on all functions in schema public from public;
grant execute on all functions in schema public to parley_api, parley_gateway, parley_archiver, parley_platform, parley_writer;

grant select, insert, update on apps, api_keys, api_secrets, signing_keys to parley_platform;
grant select on apps to parley_api, parley_gateway, parley_archiver;
grant update on apps to parley_api;
grant select, insert, update, delete on api_keys, api_secrets, signing_keys, revoked_tokens, users, roles to parley_api;
grant select on signing_keys, revoked_tokens, users, roles to parley_gateway;
grant update (last_active_at) on users to parley_gateway;
grant select, insert, update on conversations, heads, members, marks to parley_api, parley_gateway;
grant select, insert, update, delete on devices to parley_api, parley_gateway;
grant delete on marks to parley_api, parley_gateway;
grant select on entries to parley_api, parley_gateway, parley_archiver;
grant select, insert, update on leases to parley_api, parley_gateway, parley_archiver;
grant delete on leases to parley_api, parley_gateway;

grant select on roles, heads, members, conversations to parley_writer;
grant select (app_id, user_id, deactivated_at) on users to parley_writer;
grant select (app_id, conversation_id, seq, mid, created_at) on entries to parley_writer;
grant insert on entries, heads, conversations, members to parley_writer;
grant update on heads, members to parley_writer;
grant update (name, metadata, frozen, member_count, version, updated_at, deleted_at, external_id) on conversations to parley_writer;
