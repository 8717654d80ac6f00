-- The one way into the log (docs/ARCHITECTURE.md, "The log").

-- Permissions of a member, by role and kind of conversation: 1 send, 2 edit the group, 4 add and remove members, 8 change roles, 16 moderate.
create function permission_bits(names text[]) returns int language sql immutable strict
    as $$ select coalesce(bit_or(case n when 'send_messages' then 1 when 'edit_group' then 2 when 'manage_members' then 4
                                        when 'change_roles' then 8 when 'moderate' then 16 else 0 end), 0)::int from unnest(names) n $$;

-- Null: not a built-in role.
create function builtin_perms(p_kind text, p_role text) returns int language sql immutable
    as $$ select case p_role when 'owner' then 31 when 'admin' then 31 when 'moderator' then 17
                             when 'member' then case p_kind when 'broadcast' then 0 else 1 end
                             when 'readonly' then 0 end $$;

-- The app's own definition goes first. Null: no such role.
create function role_perms(p_app uuid, p_kind text, p_role text) returns int language plpgsql stable as $$
declare custom text[];
begin
    select permissions into custom from roles where app_id = p_app and name = p_role;
    return case when found then permission_bits(custom) else builtin_perms(p_kind, p_role) end;
end $$;

-- Results of a row; the numbers are those of enum append_status in storage/outbox.h.
--   0 written, 1 duplicate, 2 not_found, 3 not_a_member, 4 muted, 5 frozen, 6 role_required, 7 later, 8 last_owner, 9 member_limit,
--   10 unknown_user, 11 unknown_role, 12 unchanged, 13 version_mismatch, 14 exists
-- Kinds: those of ENTRY_KINDS in storage/entries.h: 1 message, 2 group.created, 3 group.updated, 4 group.deleted, 5 member.joined,
--   6 member.left, 7 member.role_changed.

-- May these people join? p_count: members now. p_body->'members': [{user_id, role}].
create function join_check(p_app uuid, p_conv uuid, p_kind text, p_body jsonb, p_count int, p_limit int) returns smallint language plpgsql stable as $$
declare
    v_all int;
    v_known int;
    v_roles int;
    v_new int;
begin
    select count(*), count(u.user_id), count(r.perms), count(*) filter (where o.user_id is null) into v_all, v_known, v_roles, v_new
        from (select distinct on (m->>'user_id') m->>'user_id' as id, m->>'role' as role from jsonb_array_elements(p_body->'members') m) g
        left join lateral (select x.user_id from users x where x.app_id = p_app and x.user_id = g.id and x.deactivated_at is null offset 0) u on true
        left join lateral (select role_perms(p_app, p_kind, g.role) as perms offset 0) r on true
        left join lateral (select x.user_id from members x where x.app_id = p_app and x.conversation_id = p_conv and x.user_id = g.id
                           and x.left_seq is null offset 0) o on true;
    return case when v_known < v_all then 10 when v_roles < v_all then 11 when p_count + v_new > p_limit then 9
                when v_new = 0 and p_count > 0 then 12 else 0 end;
end $$;

-- May this change of an existing group be written? Called with the head locked.
create function control_check(p_app uuid, p_conv uuid, p_kind smallint, p_sender text, p_trusted boolean, p_body jsonb, p_limit int, p_version bigint)
    returns smallint language plpgsql stable as $$
declare
    c conversations%rowtype;
    me members%rowtype;
    it members%rowtype;
    target text := p_body->>'user_id';
    needed int := case p_kind when 3 then 2 when 4 then 8 when 5 then 4 when 6 then case when target = p_sender then 0 else 4 end when 7 then 8 end;
begin
    select * into c from conversations where app_id = p_app and conversation_id = p_conv and deleted_at is null and kind <> 'direct';
    if not found then
        return 2;
    end if;
    if p_version <> 0 and p_version <> c.version then
        return 13;
    end if;
    if not p_trusted then
        select * into me from members where app_id = p_app and conversation_id = p_conv and user_id = p_sender and left_seq is null;
        if not found then
            return 3;
        elsif me.perms & needed <> needed then
            return 6;
        end if;
    end if;
    if p_kind = 5 then
        if not p_trusted and exists (select 1 from jsonb_array_elements(p_body->'members') m
                                     where role_perms(p_app, c.kind, m->>'role') & ~me.perms <> 0
                                        or m->>'role' = 'owner' and me.role <> 'owner') then
            return 6;                                        -- nobody grants what he does not hold
        end if;
        return join_check(p_app, p_conv, c.kind, p_body, c.member_count, p_limit);
    elsif p_kind in (6, 7) then
        select * into it from members where app_id = p_app and conversation_id = p_conv and user_id = target and left_seq is null;
        if not found then
            return 2;
        elsif p_kind = 7 and role_perms(p_app, c.kind, p_body->>'role') is null then
            return 11;
        elsif p_kind = 7 and it.role = p_body->>'role' then
            return 12;
        elsif not p_trusted and me.role <> 'owner' and (it.role = 'owner' or p_kind = 7 and p_body->>'role' = 'owner') then
            return 6;                                        -- only an owner removes, demotes or makes an owner
        elsif not p_trusted and target <> p_sender and it.perms & ~me.perms <> 0
              or not p_trusted and p_kind = 7 and role_perms(p_app, c.kind, p_body->>'role') & ~me.perms <> 0 then
            return 6;                                        -- nobody governs who holds more, or grants what he does not hold
        elsif it.role = 'owner' and c.created_by is not null and c.member_count > 1
              and not exists (select 1 from members where app_id = p_app and conversation_id = p_conv and role = 'owner' and left_seq is null
                              and user_id <> target) then
            return 8;
        end if;
    end if;
    return 0;
end $$;

-- Makes the conversation of a group.created entry, unless that cannot be. A retry finds the conversation made: it is judged by its mid.
create function control_create(p_app uuid, p_conv uuid, p_mid uuid, p_sender text, p_body jsonb, p_limit int) returns smallint language plpgsql as $$
declare
    v_kind text := coalesce(p_body->>'kind', 'group');
    v_status smallint;
begin
    if exists (select 1 from entries where app_id = p_app and conversation_id = p_conv and mid = p_mid) then
        return 0;
    end if;
    v_status := join_check(p_app, p_conv, v_kind, p_body, 0, p_limit);
    if v_status <> 0 then
        return v_status;
    end if;
    insert into conversations (app_id, conversation_id, kind, name, external_id, metadata, created_by)
        values (p_app, p_conv, v_kind, coalesce(p_body->>'name', ''), p_body->>'external_id', coalesce(p_body->'metadata', '{}'), nullif(p_sender, ''))
        on conflict do nothing;
    if not found then
        return 14;                                           -- id or external_id are taken, unless the mid says: by this very entry
    end if;
    insert into heads (app_id, conversation_id) values (p_app, p_conv);
    return 0;
end $$;

-- What a control entry does to its targets, in the same transaction as the entry.
create function control_apply(p_app uuid, p_conv uuid, p_kind smallint, p_body jsonb, p_seq bigint) returns void language plpgsql as $$
declare
    v_kind text;
    delta int := 0;
begin
    select kind into v_kind from conversations where app_id = p_app and conversation_id = p_conv;
    if p_kind in (2, 5) then
        insert into members as o (app_id, conversation_id, user_id, role, perms, joined_seq)
            select distinct on (m->>'user_id') p_app, p_conv, m->>'user_id', m->>'role', role_perms(p_app, v_kind, m->>'role'), p_seq - 1
            from jsonb_array_elements(p_body->'members') m
            on conflict (app_id, conversation_id, user_id) do update
                set role = excluded.role, perms = excluded.perms, joined_seq = excluded.joined_seq, left_seq = null, joined_at = now_ms(), muted_until = null
                where o.left_seq is not null;
        get diagnostics delta = row_count;
    elsif p_kind = 6 then
        update members set left_seq = p_seq, perms = 0
            where app_id = p_app and conversation_id = p_conv and user_id = p_body->>'user_id' and left_seq is null;
        delta := -1;
    elsif p_kind = 7 then
        update members m set role = p_body->>'role',
            perms = case when exists (select 1 from users u where u.app_id = p_app and u.user_id = m.user_id and u.deactivated_at is not null) then 0
                         else role_perms(p_app, v_kind, p_body->>'role') end
            where app_id = p_app and conversation_id = p_conv and user_id = p_body->>'user_id' and left_seq is null;
    elsif p_kind = 4 then
        update members set left_seq = p_seq, perms = 0 where app_id = p_app and conversation_id = p_conv and left_seq is null;
        get diagnostics delta = row_count;
        delta := -delta;
    end if;
    update conversations set
        name = case when p_kind = 3 then coalesce(p_body->>'name', name) else name end,
        metadata = case when p_kind = 3 then coalesce(p_body->'metadata', metadata) else metadata end,
        frozen = case when p_kind = 3 then coalesce((p_body->>'frozen')::boolean, frozen) else frozen end,
        deleted_at = case when p_kind = 4 then now_ms() else deleted_at end,
        external_id = case when p_kind = 4 then null else external_id end,
        member_count = member_count + delta, version = version + case when p_kind = 2 then 0 else 1 end, updated_at = now_ms()
        where app_id = p_app and conversation_id = p_conv;
    update heads set
        members_seq = case when p_kind in (2, 4, 5, 6, 7) then p_seq else members_seq end,
        frozen = case when p_kind = 3 then coalesce((p_body->>'frozen')::boolean, frozen) else frozen end,
        deleted = p_kind = 4
        where app_id = p_app and conversation_id = p_conv;
end $$;

-- One batch. k_app/k_conv are its distinct conversations in ascending order; p_k is each row's index into them (from 1). Rows of a conversation are
-- in arrival order; a mid stands once; a control entry is the last row of its conversation. p_wait: wait for busy heads instead of answering 7.
-- Returns a row for each input row, in order. Called with no transaction around it: VOLATILE and READ COMMITTED give each statement its own snapshot,
-- so that the look-up for duplicates sees what the lock waited for.
create function append_entries(k_app uuid[], k_conv uuid[], p_k int[], p_mid uuid[], p_sender text[], p_client text[], p_kind smallint[],
                               p_trusted boolean[], p_limit int[], p_version bigint[], p_body bytea[], p_wait boolean)
    returns table (r_status smallint, r_seq bigint, r_at bigint) language plpgsql volatile as $$
declare
    l_last bigint[];
    l_frozen boolean[];
    c_status smallint[] := array_fill(0::smallint, array[coalesce(array_length(p_k, 1), 0)]);
    s_status smallint[];
    s_seq bigint[];
    s_at bigint[];
    v_at timestamptz;
    v_ms bigint;
    n int := coalesce(array_length(p_k, 1), 0);
    has_control boolean := exists (select 1 from unnest(p_kind) x where x <> 1);
begin
    if current_setting('fsync') <> 'on' or current_setting('full_page_writes') <> 'on' or current_setting('synchronous_commit') in ('off', 'local') then
        raise exception 'the server does not keep what it commits' using errcode = 'PA001';
    end if;
    if has_control then
        for j in 1..n loop
            if p_kind[j] = 2 then
                c_status[j] := control_create(k_app[p_k[j]], k_conv[p_k[j]], p_mid[j], p_sender[j], convert_from(p_body[j], 'UTF8')::jsonb, p_limit[j]);
            end if;
        end loop;
    end if;

    if p_wait then
        select array_agg(coalesce(h.last_seq, -1) order by k.i), array_agg(coalesce(h.frozen, false) order by k.i) into l_last, l_frozen
            from unnest(k_app, k_conv) with ordinality k(app, conv, i)
            left join lateral (select case when x.deleted then -1 else x.last_seq end as last_seq, x.frozen from heads x
                               where x.app_id = k.app and x.conversation_id = k.conv for update offset 0) h on true;
    else
        select array_agg(coalesce(h.last_seq, -2) order by k.i), array_agg(coalesce(h.frozen, false) order by k.i) into l_last, l_frozen
            from unnest(k_app, k_conv) with ordinality k(app, conv, i)
            left join lateral (select case when x.deleted then -1 else x.last_seq end as last_seq, x.frozen from heads x
                               where x.app_id = k.app and x.conversation_id = k.conv for update skip locked offset 0) h on true;
        for j in 1..array_length(k_app, 1) loop
            if l_last[j] = -2 and not exists (select 1 from heads x where x.app_id = k_app[j] and x.conversation_id = k_conv[j]) then
                l_last[j] := -1;
            end if;
        end loop;
    end if;
    v_at := now_ms();
    v_ms := ms(v_at);

    if has_control then
        for j in 1..n loop
            if p_kind[j] > 2 and l_last[p_k[j]] >= 0 then
                c_status[j] := control_check(k_app[p_k[j]], k_conv[p_k[j]], p_kind[j], p_sender[j], p_trusted[j],
                                             convert_from(p_body[j], 'UTF8')::jsonb, p_limit[j], p_version[j]);
            end if;
        end loop;
    end if;

    with judged as (
        select u.i, u.k, u.mid, u.sender, u.client, u.kind, u.body, old.seq as old_seq, old.created_at as old_at,
            case when l_last[u.k] = -2 then 7
                 when old.seq is not null then 1
                 when u.kind = 2 and c_status[u.i] <> 0 then c_status[u.i]
                 when l_last[u.k] = -1 then 2
                 when u.kind <> 1 then c_status[u.i]
                 when l_frozen[u.k] then 5
                 when u.trusted then 0
                 when m.perms is null then 3
                 when m.perms & 1 = 0 then 6
                 when m.muted_until > v_at then 4
                 else 0 end::smallint as status
        from unnest(p_k, p_mid, p_sender, p_client, p_kind, p_trusted, p_body) with ordinality u(k, mid, sender, client, kind, trusted, body, i)
        left join lateral (select e.seq, e.created_at from entries e
                           where e.app_id = k_app[u.k] and e.conversation_id = k_conv[u.k] and e.mid = u.mid offset 0) old on true
        left join lateral (select x.perms, x.muted_until from members x
                           where x.app_id = k_app[u.k] and x.conversation_id = k_conv[u.k] and x.user_id = u.sender and x.left_seq is null
                           offset 0) m on true
    ), numbered as (
        select i, k, mid, sender, client, kind, body, status, old_at,
            case status when 0 then l_last[k] + row_number() over (partition by k, status order by i) when 1 then old_seq end as seq
        from judged
    ), inserted as (
        insert into entries (app_id, conversation_id, seq, created_at, kind, mid, sender_id, client_msg_id, body)
            select k_app[k], k_conv[k], seq, v_at, kind, mid, sender, client, body from numbered where status = 0 order by k, seq
    ), raised as (
        update heads h set last_seq = x.top, last_at = v_at
            from (select k_app[k] as app, k_conv[k] as conv, max(seq) as top from numbered where status = 0 group by k) x
            where h.app_id = x.app and h.conversation_id = x.conv
    )
    select array_agg(status order by i), array_agg(coalesce(seq, 0) order by i),
           array_agg(case status when 1 then ms(old_at) else v_ms end order by i)
        into s_status, s_seq, s_at from numbered;

    if has_control then
        for j in 1..n loop
            if p_kind[j] <> 1 and s_status[j] = 0 then
                perform control_apply(k_app[p_k[j]], k_conv[p_k[j]], p_kind[j], convert_from(p_body[j], 'UTF8')::jsonb, s_seq[j]);
            end if;
        end loop;
    end if;
    return query select * from unnest(s_status, s_seq, s_at);
end $$;

-- A direct conversation between two users; true when it was made now. The caller has checked that both exist.
create function create_direct(p_conv uuid, p_a text, p_b text) returns boolean language plpgsql as $$
declare made boolean;
begin
    insert into conversations (app_id, conversation_id, kind, member_count) values (this_app(), p_conv, 'direct', case when p_a = p_b then 1 else 2 end)
        on conflict do nothing;
    get diagnostics made = row_count;
    insert into heads (app_id, conversation_id) values (this_app(), p_conv) on conflict do nothing;
    insert into members (app_id, conversation_id, user_id, role, perms, joined_seq)
        select this_app(), p_conv, u, 'member', 1, 0 from (values (p_a), (p_b)) v(u) group by u on conflict do nothing;
    return made;
end $$;

revoke all on function append_entries, control_check, control_create, control_apply, join_check, create_direct, role_perms, builtin_perms, permission_bits
    from public;
grant execute on function append_entries, control_check, control_create, control_apply, join_check to parley_writer;
grant execute on function role_perms, builtin_perms, permission_bits to parley_writer, parley_api, parley_gateway;
grant execute on function create_direct to parley_api, parley_gateway;
