// The management API as its users meet it: apps, users, messages, lists, roles, conditional requests, and a defined answer to every bad request.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Stack, call, sleep, until } from '../lib/stack.mjs';
import { assertProblem, exchange, restDocument, routes, send } from '../lib/spec.mjs';

const NOBODY = 'grp_00000000000000000000000000';
let stack, app, base;
before(async () => {
  stack = await Stack.start();
  base = stack.endpoints.api;
  app = await stack.app('Rest');
  for (const id of ['alice', 'bob', 'carol']) await app.user(id, { name: id.toUpperCase() });
});
after(async () => { await stack?.stop(); });

const raw = (options) => send(base, { ...options, headers: { authorization: `Bearer ${app.key}`, ...options.headers } });

describe('apps', () => {
  test('are made, listed, read, renamed, suspended and deleted by the operator', async () => {
    const made = await stack.admin('POST', '/v1/apps', { name: 'First', metadata: { plan: 'free' } });
    assert.equal(made.status, 201, made.text);
    const { id } = made.body;
    assert.match(id, /^app_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    assert.equal(made.headers.get('location'), `/v1/apps/${id}`);
    assert.equal(made.headers.get('etag'), '"1"');
    assert.match(made.body.initial_key.secret, /^ply_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/);
    const key = made.body.initial_key.secret;
    const read = await stack.admin('GET', `/v1/apps/${id}`);
    assert.equal(read.status, 200);
    assert.deepEqual(read.body.metadata, { plan: 'free' });
    assert.ok(!read.text.includes(key) && !('initial_key' in read.body), 'the secret is shown once');
    assert.ok((await stack.admin('GET', '/v1/apps?limit=100')).body.data.some((a) => a.id === id));
    assert.deepEqual((await stack.admin('GET', '/v1/apps?q=First')).body.data.map((a) => a.id), [id]);

    const renamed = await stack.admin('PATCH', `/v1/apps/${id}`, { name: 'Second', metadata: { plan: null, size: 3 } }, { 'if-match': read.headers.get('etag') });
    assert.equal(renamed.status, 200, renamed.text);
    assert.equal(renamed.body.name, 'Second');
    assert.deepEqual(renamed.body.metadata, { size: 3 });
    assertProblem(await stack.admin('PATCH', `/v1/apps/${id}`, { name: 'Third' }, { 'if-match': read.headers.get('etag') }), 'version_mismatch');
    assertProblem(await stack.admin('PATCH', `/v1/apps/${id}`, { name: 'Third' }, { 'if-match': 'W/"2"' }), 'version_mismatch');
    assert.equal((await stack.admin('GET', `/v1/apps/${id}`)).body.name, 'Second');

    assert.equal((await call(base, key, 'GET', '/v1/app')).status, 200);
    assert.equal((await stack.admin('PATCH', `/v1/apps/${id}`, { status: 'suspended' })).body.status, 'suspended');
    await until(async () => (await call(base, key, 'GET', '/v1/app')).status === 403, { timeout: 2000, what: 'the suspension' });
    assertProblem(await call(base, key, 'GET', '/v1/app'), 'app_suspended');
    assertProblem(await call(base, key, 'PUT', '/v1/users/u', {}), 'app_suspended');
    assert.ok((await stack.admin('GET', '/v1/apps?status=suspended&limit=100')).body.data.some((a) => a.id === id));
    assert.equal((await stack.admin('PATCH', `/v1/apps/${id}`, { status: 'active' })).status, 200);
    await until(async () => (await call(base, key, 'GET', '/v1/app')).status === 200, { timeout: 2000, what: 'the return' });

    assertProblem(await stack.admin('DELETE', `/v1/apps/${id}`), 'validation_failed', { pointer: '/confirm' });
    assertProblem(await stack.admin('DELETE', `/v1/apps/${id}?confirm=First`), 'validation_failed', { pointer: '/confirm' });
    const gone = await stack.admin('DELETE', `/v1/apps/${id}?confirm=Second`);
    assert.equal(gone.status, 202, gone.text);
    assert.equal(gone.body.status, 'deleted');
    assert.equal(typeof gone.body.deleted_at, 'string');
    assert.equal((await stack.admin('DELETE', `/v1/apps/${id}?confirm=Second`)).status, 202, 'a repetition changes nothing');
    await until(async () => (await call(base, key, 'GET', '/v1/app')).status === 403, { timeout: 2000, what: 'the deletion' });
    assertProblem(await call(base, key, 'GET', '/v1/app'), 'app_suspended');
    assertProblem(await stack.admin('PATCH', `/v1/apps/${id}`, { name: 'Back' }), 'app_suspended');
    assertProblem(await stack.admin('GET', '/v1/apps/app_00000000000000000000000000'), 'not_found');
  });

  test('refuse what does not fit', async () => {
    const cases = [
      [{}, '/name'], [{ name: '' }, '/name'], [{ name: 'x'.repeat(101) }, '/name'], [{ name: 7 }, '/name'], [{ name: 'x', colour: 1 }, '/colour'],
      [{ name: 'x', limits: { nothing: 1 } }, '/limits/nothing'], [{ name: 'x', limits: { group_members: 0 } }, '/limits/group_members'],
      [{ name: 'x', limits: { group_members: 1e9 } }, '/limits/group_members'], [{ name: 'x', features: { typing: 'no' } }, '/features/typing'],
      [{ name: 'x', features: { nothing: true } }, '/features/nothing'], [{ name: 'x', origins: ['nonsense'] }, '/origins/0'],
      [{ name: 'x', origins: 'https://a.example' }, '/origins'],
      [{ name: 'x', metadata: { a: 'y'.repeat(16400) } }, '/metadata'], [{ name: 'x', metadata: [] }, '/metadata'],
      [{ name: 'x', metadata: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, i])) }, '/metadata'],
    ];
    for (const [body, pointer] of cases) assertProblem(await stack.admin('POST', '/v1/apps', body), 'validation_failed', { pointer });
  });

  test('see and set themselves through /v1/app, but not their limits', async () => {
    const own = await stack.app('Own');
    const read = await own.api('GET', '/v1/app');
    assert.equal(read.status, 200);
    assert.equal(read.body.id, own.id);
    const set = await own.api('PATCH', '/v1/app', { token_ttl_seconds: 120, features: { typing: false }, origins: ['https://a.example'] });
    assert.equal(set.status, 200, set.text);
    assert.equal(set.body.token_ttl_seconds, 120);
    assert.deepEqual(set.body.origins, ['https://a.example']);
    const back = await own.api('PATCH', '/v1/app', { token_ttl_seconds: null, features: null, origins: null }, { 'content-type': 'application/merge-patch+json' });
    assert.equal(back.status, 200, back.text);
    assert.equal(back.body.token_ttl_seconds, 3600);
    assert.deepEqual(back.body.features, {});
    assert.equal(back.body.origins, null);
    assertProblem(await own.api('PATCH', '/v1/app', { limits: { group_members: 5 } }), 'validation_failed', { pointer: '/limits' });
    assertProblem(await own.api('PATCH', '/v1/app', { status: 'suspended' }), 'validation_failed', { pointer: '/status' });
    assertProblem(await own.api('PATCH', '/v1/app', { name: 'Stale' }, { 'if-match': '"1"' }), 'version_mismatch');
    assertProblem(await own.api('PATCH', '/v1/app', {}), 'validation_failed');
    assertProblem(await own.api('PATCH', '/v1/app', { token_ttl_seconds: 59 }), 'validation_failed', { pointer: '/token_ttl_seconds' });
  });

  test('switch features off for good', async () => {
    const own = await stack.app('Bare', { features: { groups: false, presence: false } });
    await own.user('u');
    const r = assertProblem(await own.api('GET', '/v1/groups'), 'feature_disabled');
    assert.equal(r.body.feature, 'groups');
    assert.equal(assertProblem(await own.api('GET', '/v1/users/u?include=presence'), 'feature_disabled').body.feature, 'presence');
    assert.equal((await own.api('GET', '/v1/users/u')).status, 200);
  });
});

describe('users', () => {
  test('are upserted, read, patched, deactivated and reactivated', async () => {
    const made = await app.api('PUT', '/v1/users/dora@example.org', { name: 'Dora', avatar_url: 'https://a.example/d.png', language: 'de', metadata: { a: 1, b: { c: 2 } } });
    assert.equal(made.status, 201, made.text);
    assert.equal(made.body.id, 'dora@example.org');
    assert.equal(made.body.role, 'user');
    assert.equal(made.body.status, 'active');
    assert.match(made.body.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const again = await app.api('PUT', '/v1/users/dora@example.org', { name: 'Dora D.' });
    assert.equal(again.status, 200);
    assert.equal(again.body.name, 'Dora D.');
    assert.deepEqual(again.body.metadata, { a: 1, b: { c: 2 } }, 'what is left out stays');
    assert.notEqual(again.headers.get('etag'), made.headers.get('etag'));
    const escaped = await app.api('GET', '/v1/users/dora%40example.org');
    assert.equal(escaped.body.id, 'dora@example.org');

    const patched = await app.api('PATCH', '/v1/users/dora@example.org', { language: null, metadata: { a: null, b: { d: 3 } } }, { 'content-type': 'application/merge-patch+json' });
    assert.equal(patched.status, 200, patched.text);
    assert.equal('language' in patched.body, false);
    assert.deepEqual(patched.body.metadata, { b: { c: 2, d: 3 } });
    assert.equal(patched.body.name, 'Dora D.');
    assert.equal((await app.api('PATCH', '/v1/users/dora@example.org', { role: 'staff' }, { 'if-match': patched.headers.get('etag') })).status, 200);
    assertProblem(await app.api('PATCH', '/v1/users/dora@example.org', { role: 'boss' }, { 'if-match': patched.headers.get('etag') }), 'version_mismatch');

    const off = await app.api('DELETE', '/v1/users/dora@example.org');
    assert.equal(off.status, 202, off.text);
    assert.equal(off.body.status, 'deactivated');
    assert.equal(typeof off.body.deactivated_at, 'string');
    assertProblem(await app.api('POST', '/v1/tokens', { user_id: 'dora@example.org' }), 'user_banned');
    assertProblem(await app.api('POST', `/v1/conversations/${(await app.group(['alice'])).id}/messages`, { sender_id: 'dora@example.org', text: 'x' }), 'user_banned');
    const on = await app.api('POST', '/v1/users/dora@example.org/reactivations');
    assert.equal(on.status, 200, on.text);
    assert.equal(on.body.status, 'active');
    assert.equal('deactivated_at' in on.body, false);
    assertProblem(await app.api('DELETE', '/v1/users/nobody'), 'not_found', { instance: '/v1/users/nobody' });
    assertProblem(await app.api('GET', '/v1/users/nobody'), 'not_found');
    assertProblem(await app.api('PATCH', '/v1/users/nobody', { name: 'x' }), 'not_found');
  });

  test('come in batches, which answer item by item', async () => {
    const r = await app.api('POST', '/v1/users/batch', { items: [{ id: 'batch-1', name: 'One' }, { id: 'batch-2' }, { id: 'batch-1' }, { id: 'alice' },
      { id: 'batch-3', metadata: { a: 'x'.repeat(16400) } }] });
    assert.equal(r.status, 207, r.text);
    assert.deepEqual(r.body.results.map((one) => [one.index, one.status, one.id]), [[0, 201, 'batch-1'], [1, 201, 'batch-2'], [2, 422, undefined], [3, 200, 'alice'], [4, 422, undefined]]);
    assert.equal(r.body.results[2].problem.code, 'validation_failed');
    assert.equal((await app.api('GET', '/v1/users/batch-1')).body.name, 'One');
    assertProblem(await app.api('GET', '/v1/users/batch-3'), 'not_found');
    const hundred = Array.from({ length: 101 }, (_, i) => ({ id: `many-${i}` }));
    assertProblem(await app.api('POST', '/v1/users/batch', { items: hundred }), 'validation_failed', { pointer: '/items' });
    assert.equal((await app.api('POST', '/v1/users/batch', { items: hundred.slice(1) })).status, 207);
    assertProblem(await app.api('POST', '/v1/users/batch', { items: [] }), 'validation_failed', { pointer: '/items' });
    assertProblem(await app.api('POST', '/v1/users/batch', { items: [{ name: 'x' }] }), 'validation_failed', { pointer: '/items/0/id' });
  });

  test('are listed in pages that neither skip nor repeat', async () => {
    const own = await stack.app('Lists');
    const ids = Array.from({ length: 57 }, (_, i) => `u${String(i).padStart(2, '0')}`);
    await own.api('POST', '/v1/users/batch', { items: ids.map((id, i) => ({ id, name: i % 2 ? 'Odd' : 'Even', role: i % 2 ? 'odd' : 'user' })) });
    const seen = [];
    let cursor = '', pages = 0;
    for (;;) {
      const page = await own.api('GET', `/v1/users?limit=10${cursor}`);
      assert.equal(page.status, 200, page.text);
      assert.equal(page.body.prev_cursor, null);
      seen.push(...page.body.data.map((u) => u.id));
      pages++;
      if (!page.body.has_more) {
        assert.equal(page.body.next_cursor, null);
        break;
      }
      cursor = `&cursor=${page.body.next_cursor}`;
      if (pages === 2) await own.user('newcomer');
    }
    assert.equal(pages, 6);
    assert.deepEqual(seen.filter((id) => id !== 'newcomer').sort(), ids);
    assert.equal(new Set(seen).size, seen.length);
    assert.equal((await own.api('GET', '/v1/users')).body.data.length, 25, 'the default');
    assert.equal((await own.api('GET', '/v1/users?limit=100')).body.data.length, 58);
    assert.equal((await own.api('GET', '/v1/users?limit=100&role=odd')).body.data.length, 28);
    assert.deepEqual((await own.api('GET', '/v1/users?limit=100&sort=-created_at')).body.data.map((u) => u.id)[0], 'newcomer');
    await own.api('DELETE', '/v1/users/u05');
    assert.deepEqual((await own.api('GET', '/v1/users?status=deactivated')).body.data.map((u) => u.id), ['u05']);
    const future = new Date(Date.now() + 60000).toISOString();
    assert.deepEqual((await own.api('GET', `/v1/users?created_after=${future}`)).body.data, []);

    const first = (await own.api('GET', '/v1/users?limit=5')).body.next_cursor;
    assert.equal((await own.api('GET', `/v1/users?limit=7&cursor=${first}`)).status, 200, 'limit is no filter');
    assertProblem(await own.api('GET', `/v1/users?limit=5&role=odd&cursor=${first}`), 'cursor_mismatch');
    assertProblem(await own.api('GET', `/v1/users?sort=-created_at&cursor=${first}`), 'cursor_mismatch');
    assertProblem(await own.api('GET', `/v1/groups?cursor=${first}`), 'cursor_mismatch');
    assertProblem(await app.api('GET', `/v1/users?limit=5&cursor=${first}`), 'cursor_mismatch');
    for (let i = 0; i < first.length; i += 7) {
      const bent = first.slice(0, i) + (first[i] === 'A' ? 'B' : 'A') + first.slice(i + 1);
      assertProblem(await own.api('GET', `/v1/users?limit=5&cursor=${bent}`), 'invalid_cursor');
    }
    for (const cursor2 of ['x', 'AAAA', first.slice(0, -1), `${first}A`, `${first}=`, '%00', '..%2f', 'A'.repeat(400)]) {
      const r = await own.api('GET', `/v1/users?cursor=${cursor2}`);
      assert.equal(r.status, 400, `${cursor2}: ${r.text}`);
      assert.ok(['invalid_cursor', 'bad_request'].includes(r.body.code), r.text);
    }
  });

  test('are themselves at /v1/me', async () => {
    const me = app.as(await app.token('alice'));
    const read = await me('GET', '/v1/me');
    assert.equal(read.status, 200, read.text);
    assert.equal(read.body.id, 'alice');
    const set = await me('PATCH', '/v1/me', { name: 'Alice A.', metadata: { mood: 'good' } });
    assert.equal(set.status, 200, set.text);
    assert.equal(set.body.name, 'Alice A.');
    assertProblem(await me('PATCH', '/v1/me', { role: 'admin' }), 'validation_failed', { pointer: '/role' });
    assertProblem(await me('GET', '/v1/users'), 'insufficient_scope');
    assertProblem(await app.api('GET', '/v1/me'), 'insufficient_scope');
    assertProblem(await call(base, null, 'GET', '/v1/me'), 'missing_credentials');
  });
});

describe('messages', () => {
  test('are sent once, whatever is repeated, and read in both directions', async () => {
    const group = await app.group(['alice', 'bob']);
    const path = `/v1/conversations/${group.id}/messages`;
    const sent = await app.api('POST', path, { sender_id: 'alice', text: 'first', client_msg_id: 'c1', metadata: { a: 1 } });
    assert.equal(sent.status, 201, sent.text);
    assert.match(sent.body.id, /^msg_/);
    assert.equal(sent.body.seq, 2, 'behind group.created');
    assert.equal(sent.body.client_msg_id, 'c1');
    const again = await Promise.all(Array.from({ length: 20 }, () => app.api('POST', path, { sender_id: 'alice', text: 'first', client_msg_id: 'c1', metadata: { a: 1 } })));
    for (const r of again) {
      assert.equal(r.status, 200, r.text);
      assert.deepEqual(r.body, sent.body);
    }
    const storm = await Promise.all(Array.from({ length: 30 }, () => app.api('POST', path, { sender_id: 'bob', text: 'storm', client_msg_id: 'c1' })));
    assert.equal(storm.filter((r) => r.status === 201).length, 1, 'another sender, another message, once');
    assert.equal(new Set(storm.map((r) => r.body.id)).size, 1);
    for (let i = 0; i < 8; i++) assert.equal((await app.api('POST', path, { sender_id: 'bob', text: `n${i}` })).status, 201);
    const custom = await app.api('POST', path, { sender_id: 'bob', type: 'custom', data: { move: 'e4' } });
    assert.deepEqual(custom.body.data, { move: 'e4' });
    const system = await app.api('POST', path, { type: 'system', text: 'Welcome' });
    assert.equal(system.status, 201, system.text);
    const seqs = (r) => r.body.data.map((m) => m.seq);
    assert.deepEqual(seqs(await app.api('GET', `${path}?limit=4`)), [10, 11, 12, 13]);
    assert.deepEqual(seqs(await app.api('GET', `${path}?limit=3&before_seq=5`)), [2, 3, 4]);
    assert.deepEqual(seqs(await app.api('GET', `${path}?limit=3&after_seq=5`)), [6, 7, 8]);
    assert.deepEqual(seqs(await app.api('GET', `${path}?limit=3&after_seq=5&direction=desc`)), [8, 7, 6]);
    assert.deepEqual(seqs(await app.api('GET', `${path}?limit=4&around_seq=6`)), [5, 6, 7, 8]);
    const all = await app.api('GET', path);
    assert.deepEqual(seqs(all), Array.from({ length: 13 }, (_, i) => i + 1));
    assert.equal(all.body.has_more, false);
    assert.equal((await app.api('GET', `${path}?limit=4`)).body.has_more, true);
    assert.equal(all.body.data[1].client_msg_id, undefined, 'client_msg_id is for the sender alone');
    assertProblem(await app.api('GET', `${path}?before_seq=3&after_seq=1`), 'validation_failed');
    assertProblem(await app.api('GET', `${path}?limit=201`), 'validation_failed', { pointer: '/limit' });
    assertProblem(await app.api('GET', `${path}?limit=0`), 'validation_failed', { pointer: '/limit' });
    assertProblem(await app.api('GET', `${path}?after_seq=-1`), 'validation_failed', { pointer: '/after_seq' });
    assertProblem(await app.api('GET', `${path}?direction=up`), 'validation_failed', { pointer: '/direction' });
  });

  test('of users follow their membership', async () => {
    const group = await app.group(['alice', 'bob']);
    const path = `/v1/conversations/${group.id}/messages`;
    const [alice, carol] = [app.as(await app.token('alice')), app.as(await app.token('carol'))];
    const sent = await alice('POST', path, { text: 'mine', client_msg_id: 'me-1' });
    assert.equal(sent.status, 201, sent.text);
    assert.equal(sent.body.sender_id, 'alice');
    assert.equal((await alice('GET', path)).body.data.at(-1).client_msg_id, 'me-1');
    assertProblem(await carol('POST', path, { text: 'x' }), 'not_a_member');
    assertProblem(await carol('GET', path), 'not_a_member');
    assertProblem(await alice('POST', path, { text: 'x', sender_id: 'bob' }), 'validation_failed', { pointer: '/sender_id' });
    assertProblem(await alice('POST', path, { text: 'x', type: 'system' }), 'validation_failed', { pointer: '/type' });
    assert.equal((await app.api('PUT', `/v1/groups/${group.id}/members/carol`, {})).status, 201);
    assert.ok(!(await carol('GET', path)).body.data.some((m) => m.text === 'mine'), 'nothing from before joining');
    await alice('POST', path, { text: 'for carol' });
    assert.ok((await carol('GET', path)).body.data.some((m) => m.text === 'for carol'));
    await app.api('DELETE', `/v1/groups/${group.id}/members/carol`);
    await alice('POST', path, { text: 'after carol' });
    const later = await carol('GET', path);
    if (later.status === 200) assert.ok(!later.text.includes('after carol'));
    else assertProblem(later, 'not_a_member');
    await app.api('PATCH', `/v1/groups/${group.id}`, { frozen: true });
    assertProblem(await alice('POST', path, { text: 'x' }), 'conversation_frozen');
  });

  test('refuse what does not fit', async () => {
    const group = await app.group(['alice']);
    const path = `/v1/conversations/${group.id}/messages`;
    const ok = { sender_id: 'alice', text: 'x' };
    const cases = [
      [{ sender_id: 'alice' }, '/text'], [{ text: 'x' }, '/sender_id'], [{ ...ok, text: 7 }, '/text'], [{ ...ok, text: '' }, '/text'], [{ ...ok, text: 'é'.repeat(20001) }, '/text'],
      [{ ...ok, type: 'e2ee' }, '/type'], [{ ...ok, type: 'custom' }, '/data'], [{ ...ok, type: 'custom', data: { a: 'x'.repeat(32768) } }, '/data'],
      [{ ...ok, client_msg_id: '' }, '/client_msg_id'], [{ ...ok, client_msg_id: 'x'.repeat(65) }, '/client_msg_id'], [{ ...ok, metadata: { a: 'x'.repeat(16384) } }, '/metadata'],
      [{ ...ok, sender_id: 'a/b' }, '/sender_id'], [{ ...ok, sender_id: 'nobody' }, '/sender_id'], [{ ...ok, seq: 7 }, '/seq'], [{ ...ok, reply_to_id: 'x' }, '/reply_to_id'],
      [{ ...ok, mentions: 'bob' }, '/mentions'], [{ ...ok, mentions: ['a b'] }, '/mentions/0'],
    ];
    for (const [body, pointer] of cases) assertProblem(await app.api('POST', path, body), 'validation_failed', { pointer });
    assert.equal((await app.api('POST', path, { ...ok, text: 'é'.repeat(20000) })).status, 201, 'characters count, not bytes');
    assertProblem(await app.api('POST', `/v1/conversations/${NOBODY}/messages`, ok), 'not_found');
    assertProblem(await app.api('GET', `/v1/conversations/${NOBODY}/messages`), 'not_found');
    assert.equal((await app.api('GET', `/v1/groups/${group.id}`)).body.last_seq, 2, 'nothing of it was stored');
  });
});

describe('conversations', () => {
  test('are listed with the newest activity first, last message and unread count', async () => {
    const own = await stack.app('Conversations');
    for (const id of ['a', 'b', 'c']) await own.user(id);
    const group = await own.group(['a', 'b']);
    const made = await own.api('PUT', '/v1/conversations/direct/b/a');
    assert.equal(made.status, 201, made.text);
    assert.match(made.body.id, /^dir_/);
    assert.deepEqual([...made.body.user_ids].sort(), ['a', 'b']);
    const same = await own.api('PUT', '/v1/conversations/direct/a/b');
    assert.equal(same.status, 200);
    assert.equal(same.body.id, made.body.id);
    for (const text of ['one', 'two', 'three']) await own.api('POST', `/v1/conversations/${made.body.id}/messages`, { sender_id: 'a', text });
    const b = own.as(await own.token('b'));
    const list = await b('GET', '/v1/conversations');
    assert.equal(list.status, 200, list.text);
    assert.deepEqual(list.body.data.map((c) => c.id), [made.body.id, group.id]);
    assert.equal(list.body.data[0].last_message.text, 'three');
    assert.equal(list.body.data[0].unread_count, 3);
    await sleep(5);
    await own.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'a', text: 'to all' });
    const byKey = await own.api('GET', '/v1/conversations?member=b');
    assert.deepEqual(byKey.body.data.map((c) => c.id), [group.id, made.body.id]);
    assert.deepEqual((await own.api('GET', '/v1/conversations?member=b&kind=direct')).body.data.map((c) => c.id), [made.body.id]);
    const page = await own.api('GET', '/v1/conversations?member=b&limit=1');
    assert.equal(page.body.has_more, true);
    assert.deepEqual((await own.api('GET', `/v1/conversations?member=b&limit=1&cursor=${page.body.next_cursor}`)).body.data.map((c) => c.id), [made.body.id]);
    assert.deepEqual((await own.api('GET', '/v1/conversations?member=c')).body.data, []);
    assertProblem(await own.api('GET', '/v1/conversations'), 'validation_failed', { pointer: '/member' });
    assertProblem(await b('GET', '/v1/conversations?member=a'), 'not_a_member');
    const c = own.as(await own.token('c'));
    assertProblem(await c('GET', `/v1/conversations/${made.body.id}`), 'not_a_member');
    assertProblem(await c('PUT', '/v1/conversations/direct/a/b'), 'not_a_member');
    assert.equal((await b('GET', `/v1/conversations/${made.body.id}`)).body.id, made.body.id);
    const missing = await own.api('PUT', '/v1/conversations/direct/a/nobody');
    assert.ok([404, 422].includes(missing.status), missing.text);
  });
});

describe('roles', () => {
  test('are built in, overridden, added and removed', async () => {
    const list = await app.api('GET', '/v1/roles');
    assert.deepEqual(list.body.data.filter((r) => r.built_in).map((r) => r.name).sort(), ['admin', 'member', 'moderator', 'owner', 'readonly']);
    const made = await app.api('PUT', '/v1/roles/helper', { permissions: ['send_messages', 'moderate'] });
    assert.equal(made.status, 201, made.text);
    assert.deepEqual([...made.body.permissions].sort(), ['moderate', 'send_messages']);
    assert.equal((await app.api('PUT', '/v1/roles/helper', { permissions: ['send_messages'] })).status, 200);
    assert.deepEqual((await app.api('GET', '/v1/roles/helper')).body.permissions, ['send_messages']);
    const group = await app.group(['alice'], { members: [{ user_id: 'bob', role: 'helper' }] });
    assertProblem(await app.api('DELETE', '/v1/roles/helper'), 'already_exists');
    await app.api('DELETE', `/v1/groups/${group.id}/members/bob`);
    assert.equal((await app.api('DELETE', '/v1/roles/helper')).status, 204);
    assertProblem(await app.api('GET', '/v1/roles/helper'), 'not_found');
    assertProblem(await app.api('DELETE', '/v1/roles/owner'), 'not_found');
    assertProblem(await app.api('PUT', '/v1/roles/Helper', { permissions: [] }), 'not_found');
    assertProblem(await app.api('PUT', '/v1/roles/x', { permissions: ['fly'] }), 'validation_failed', { pointer: '/permissions/0' });
  });
});

describe('HTTP', () => {
  test('serves the specification that the repository holds', async () => {
    const served = await call(base, null, 'GET', '/v1/openapi.json');
    assert.equal(served.status, 200);
    assert.deepEqual(served.body, JSON.parse(JSON.stringify(restDocument())));
    assert.match(served.headers.get('cache-control'), /max-age=300/);
  });

  test('has ETags, 304, HEAD and request ids', async () => {
    const read = await app.api('GET', '/v1/users/bob');
    const tag = read.headers.get('etag');
    assert.match(tag, /^"\d+"$/);
    assert.equal(read.headers.get('cache-control'), 'no-store');
    for (const list of [tag, `"999", ${tag}`, `W/${tag}`, '*']) {
      const same = await app.api('GET', '/v1/users/bob', undefined, { 'if-none-match': list });
      assert.equal(same.status, 304, list);
      assert.equal(same.text, '');
      assert.equal(same.headers.get('etag'), tag);
    }
    assert.equal((await app.api('GET', '/v1/users/bob', undefined, { 'if-none-match': '"999"' })).status, 200);
    const head = await app.api('HEAD', '/v1/users/bob');
    assert.equal(head.status, 200);
    assert.equal(head.text, '');
    assert.equal(head.headers.get('etag'), tag);
    assert.equal(Number(head.headers.get('content-length')), Buffer.byteLength(read.text));
    const mine = await app.api('GET', '/v1/users/nobody', undefined, { 'x-request-id': 'my-Id_1.2' });
    assert.equal(mine.headers.get('x-request-id'), 'my-Id_1.2');
    assertProblem(mine, 'not_found');
    for (const bad of ['a b', 'x'.repeat(65), 'a"b']) {
      const made = await app.api('GET', '/v1/users/bob', undefined, { 'x-request-id': bad });
      assert.match(made.headers.get('x-request-id'), /^req_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    }
  });

  test('answers every wrong method with 405 and Allow', async () => {
    const paths = new Map();
    for (const r of routes().filter((one) => one.listener !== 'ADMIN')) {
      const path = r.path.replace(/\{(\w+)\}/g, (_, name) => ({ group_id: NOBODY, conversation_id: NOBODY, app_id: app.id }[name] ?? 'alice'));
      paths.set(path, [...(paths.get(path) ?? []), r.method]);
    }
    for (const [path, methods] of paths) {
      if (path.endsWith('/batch')) continue; // also the path of a user of that name
      const method = ['DELETE', 'PATCH', 'POST', 'PUT'].find((m) => !methods.includes(m));
      const r = await raw({ method, path });
      assertProblem(r, 'method_not_allowed');
      const allow = r.headers.get('allow').split(', ');
      for (const m of methods) assert.ok(allow.includes(m), `${path}: ${allow}`);
      assert.equal(allow.includes('HEAD'), methods.includes('GET'), path);
      assert.ok(allow.includes('OPTIONS'));
    }
  });

  test('names rate limits on answers and refusals', async () => {
    const r = await app.api('GET', '/v1/users/alice');
    assert.match(r.headers.get('ratelimit-policy'), /^"key";q=\d+;w=\d+$/);
    assert.match(r.headers.get('ratelimit'), /^"key";r=\d+;t=\d+$/);
  });
});

describe('bad requests', () => {
  const json = { 'content-type': 'application/json' };
  const put = (body, headers = json, path = '/v1/users/bad') => raw({ method: 'PUT', path, headers, body });
  const nested = (n) => `${'{"a":'.repeat(n - 1)}{}${'}'.repeat(n - 1)}`;
  const meta = (text) => `{"metadata":${text}}`;

  const cases = {
    // the body's form
    'no body': [() => put(undefined), 'malformed_json'],
    'empty body': [() => put('', { ...json, 'content-length': '0' }), 'malformed_json'],
    'spaces alone': [() => put('   '), 'malformed_json'],
    'cut off': [() => put('{"name":"x"'), 'malformed_json'],
    'cut off in a string': [() => put('{"name":"x'), 'malformed_json'],
    'something behind': [() => put('{"name":"x"} x'), 'malformed_json'],
    'two objects': [() => put('{}{}'), 'malformed_json'],
    'trailing comma': [() => put('{"name":"x",}'), 'malformed_json'],
    'single quotes': [() => put("{'name':'x'}"), 'malformed_json'],
    'a comment': [() => put('{/* */"name":"x"}'), 'malformed_json'],
    'NaN': [() => put(meta('{"a":NaN}')), 'malformed_json'],
    'leading zero': [() => put(meta('{"a":01}')), 'malformed_json'],
    'hexadecimal': [() => put(meta('{"a":0x1}')), 'malformed_json'],
    'integer beyond 64 bits': [() => put(meta('{"a":18446744073709551616}')), 'malformed_json'],
    'number without end': [() => put(meta('{"a":1e400}')), 'malformed_json'],
    'duplicate keys': [() => put('{"name":"x","name":"y"}'), 'malformed_json'],
    'duplicate keys by an escape': [() => put('{"name":"x","n\\u0061me":"y"}'), 'malformed_json'],
    'duplicate keys deep inside': [() => put(meta('{"a":{"b":1,"b":2}}')), 'malformed_json'],
    'NUL escaped': [() => put('{"name":"a\\u0000b"}'), 'malformed_json'],
    'NUL in a key': [() => put(meta('{"a\\u0000":1}')), 'malformed_json'],
    'NUL byte': [() => put('{"name":"a\0b"}'), 'malformed_json'],
    'NUL behind the end': [() => put('{"name":"a"}\0'), 'malformed_json'],
    'control character': [() => put('{"name":"a\x01b"}'), 'malformed_json'],
    'byte order mark': [() => put('\ufeff{"name":"x"}'), 'malformed_json'],
    'invalid UTF-8': [() => put(Buffer.from([0x7b, 0x22, 0x6e, 0x61, 0x6d, 0x65, 0x22, 0x3a, 0x22, 0xff, 0x22, 0x7d])), 'malformed_json'],
    'overlong UTF-8': [() => put(Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')])), 'malformed_json'],
    'surrogate in UTF-8': [() => put(Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')])), 'malformed_json'],
    'lone surrogate escaped': [() => put('{"name":"\\ud800"}'), 'malformed_json'],
    'UTF-16': [() => put(Buffer.from('{"name":"x"}', 'utf16le')), 'malformed_json'],
    'depth 33': [() => put(meta(nested(32))), 'malformed_json'],
    'depth 100,000': [() => put('['.repeat(100000)), 'malformed_json'],
    'depth 100,000, closed': [() => put('['.repeat(100000) + ']'.repeat(100000)), 'malformed_json'],
    'an array': [() => put('[]'), 'validation_failed', ''],
    'a string': [() => put('"x"'), 'validation_failed', ''],
    'null': [() => put('null'), 'validation_failed', ''],
    // the body's fields
    'unknown field': [() => put('{"nmae":"x"}'), 'validation_failed', '/nmae'],
    'unknown field with a slash': [() => put('{"a/b~c":1}'), 'validation_failed', '/a~1b~0c'],
    '__proto__': [() => put('{"__proto__":{}}'), 'validation_failed', '/__proto__'],
    'the id in the body': [() => put('{"id":"other"}'), 'validation_failed', '/id'],
    'the app in the body': [() => put('{"app_id":"app_00000000000000000000000000"}'), 'validation_failed', '/app_id'],
    'name is a number': [() => put('{"name":7}'), 'validation_failed', '/name'],
    'name is null': [() => put('{"name":null}'), 'validation_failed', '/name'],
    'name too long': [() => put(JSON.stringify({ name: 'é'.repeat(201) })), 'validation_failed', '/name'],
    'metadata is an array': [() => put(meta('[]')), 'validation_failed', '/metadata'],
    'metadata of 51 keys': [() => put(meta(JSON.stringify(Object.fromEntries(Array.from({ length: 51 }, (_, i) => [i, i]))))), 'validation_failed', '/metadata'],
    'metadata above 16 KiB': [() => put(meta(JSON.stringify({ a: 'x'.repeat(16384) }))), 'validation_failed', '/metadata'],
    'avatar is no URL': [() => put('{"avatar_url":"javascript:alert(1)"}'), 'validation_failed', '/avatar_url'],
    'role of odd form': [() => put('{"role":"A B"}'), 'validation_failed', '/role'],
    // type and size
    'no content type': [() => put('{"name":"x"}', {}), 'unsupported_media_type'],
    'text/plain': [() => put('{"name":"x"}', { 'content-type': 'text/plain' }), 'unsupported_media_type'],
    'form': [() => put('name=x', { 'content-type': 'application/x-www-form-urlencoded' }), 'unsupported_media_type'],
    'application/jsonp': [() => put('{}', { 'content-type': 'application/jsonp' }), 'unsupported_media_type'],
    'merge patch where none is taken': [() => put('{}', { 'content-type': 'application/merge-patch+json' }), 'unsupported_media_type'],
    'gzip': [() => put('{}', { ...json, 'content-encoding': 'gzip' }), 'unsupported_media_type'],
    'a body above 1 MiB': [() => put(`{"name":"${'x'.repeat(1048576)}"}`), 'payload_too_large'],
    'a body of 5 MiB': [() => put('x'.repeat(5 << 20)), 'payload_too_large'],
    'a chunked body above 1 MiB': [() => put(`{"name":"${'x'.repeat(1048576)}"}`, { ...json, 'transfer-encoding': 'chunked' }), 'payload_too_large'],
    'a body to GET': [() => raw({ path: '/v1/users/alice', headers: { ...json, 'content-length': '2' }, body: '{}' }), 'bad_request'],
    // path and query
    'URL of 8193 bytes': [() => raw({ path: `/v1/users?q=${'x'.repeat(8193 - 12)}` }), 'uri_too_long'],
    'unknown path': [() => raw({ path: '/v2/users' }), 'not_found'],
    'trailing slash': [() => raw({ path: '/v1/users/' }), 'not_found'],
    'doubled slash': [() => raw({ path: '//v1/users' }), 'not_found'],
    'the path traversed': [() => raw({ path: '/v1/users/../apps' }), 'not_found'],
    'an id traversed': [() => raw({ path: '/v1/users/..%2f..%2fapps' }), 'not_found'],
    'an id of 129 characters': [() => raw({ path: `/v1/users/${'x'.repeat(129)}` }), 'not_found'],
    'an id with a space': [() => raw({ path: '/v1/users/a%20b' }), 'not_found'],
    'an id with NUL': [() => raw({ path: '/v1/users/a%00b' }), 'not_found'],
    'an id with a bad escape': [() => raw({ path: '/v1/users/a%zz' }), 'not_found'],
    'an id that is no UTF-8': [() => raw({ path: '/v1/users/%ff' }), 'not_found'],
    'a wildcard': [() => raw({ path: '/v1/users/*' }), 'not_found'],
    'a group id of a wrong prefix': [() => raw({ path: `/v1/groups/${app.id}` }), 'not_found'],
    'a group id too short': [() => raw({ path: '/v1/groups/grp_0' }), 'not_found'],
    'a group id beyond 128 bits': [() => raw({ path: '/v1/groups/grp_80000000000000000000000000' }), 'not_found'],
    'a group id in capitals': [() => raw({ path: '/v1/groups/GRP_00000000000000000000000000' }), 'not_found'],
    'a direct id as a group': [() => raw({ path: '/v1/groups/dir_00000000000000000000000000' }), 'not_found'],
    'unknown parameter': [() => raw({ path: '/v1/users?limt=5' }), 'unknown_parameter', '/limt'],
    'unknown parameter on a single resource': [() => raw({ path: '/v1/users/alice?fields=name' }), 'unknown_parameter', '/fields'],
    'unknown parameter of a POST': [() => raw({ method: 'POST', path: '/v1/users/alice/reactivations?x=1' }), 'unknown_parameter', '/x'],
    'parameter twice': [() => raw({ path: '/v1/users?limit=5&limit=6' }), 'bad_request'],
    'parameter with a bad escape': [() => raw({ path: '/v1/users?q=%f' }), 'bad_request'],
    'parameter with NUL': [() => raw({ path: '/v1/users?q=%00' }), 'bad_request'],
    'parameter that is no UTF-8': [() => raw({ path: '/v1/users?q=%c0%af' }), 'bad_request'],
    'limit 0': [() => raw({ path: '/v1/users?limit=0' }), 'validation_failed', '/limit'],
    'limit 101': [() => raw({ path: '/v1/users?limit=101' }), 'validation_failed', '/limit'],
    'limit negative': [() => raw({ path: '/v1/users?limit=-1' }), 'validation_failed', '/limit'],
    'limit a word': [() => raw({ path: '/v1/users?limit=ten' }), 'validation_failed', '/limit'],
    'limit a fraction': [() => raw({ path: '/v1/users?limit=1.5' }), 'validation_failed', '/limit'],
    'limit empty': [() => raw({ path: '/v1/users?limit=' }), 'validation_failed', '/limit'],
    'limit beyond 64 bits': [() => raw({ path: '/v1/users?limit=99999999999999999999' }), 'validation_failed', '/limit'],
    'status unknown': [() => raw({ path: '/v1/users?status=asleep' }), 'validation_failed', '/status'],
    'sort unknown': [() => raw({ path: '/v1/users?sort=name' }), 'validation_failed', '/sort'],
    'time of odd form': [() => raw({ path: '/v1/users?created_after=yesterday' }), 'validation_failed', '/created_after'],
    'time that does not exist': [() => raw({ path: '/v1/users?created_after=2026-02-30T00:00:00Z' }), 'validation_failed', '/created_after'],
    'include unknown': [() => raw({ path: '/v1/users/alice?include=friends' }), 'validation_failed'],
    // credentials
    'no credential': [() => send(base, { path: '/v1/users' }), 'missing_credentials'],
    'empty credential': [() => send(base, { path: '/v1/users', headers: { authorization: 'Bearer ' } }), 'missing_credentials'],
    'unknown scheme': [() => send(base, { path: '/v1/users', headers: { authorization: `Digest ${app.key}` } }), 'missing_credentials'],
    'unknown key': [() => send(base, { path: '/v1/users', headers: { authorization: 'Bearer ply_live_x' } }), 'invalid_api_key'],
    'the key in the query': [() => send(base, { path: `/v1/users?api_key=${app.key}` }), 'missing_credentials'],
    'a path of the operator': [() => raw({ path: '/v1/apps' }), 'not_found'],
    'If-Match of odd form': [() => raw({ method: 'PATCH', path: '/v1/users/alice', headers: { ...json, 'if-match': 'x' }, body: '{"name":"x"}' }), 'version_mismatch'],
  };
  for (const [name, [ask, code, pointer]] of Object.entries(cases)) {
    test(name, async () => { assertProblem(await ask(), code, { pointer }); });
  }

  test('are counted', () => assert.ok(Object.keys(cases).length >= 60));

  test('leave nothing behind, and what is at the limit is taken', async () => {
    assertProblem(await app.api('GET', '/v1/users/bad'), 'not_found');
    assert.equal((await put(meta(nested(31)))).status, 201, 'depth 32');
    assert.equal((await put(JSON.stringify({ name: 'é'.repeat(200) }), { 'content-type': 'application/json; charset=utf-8' })).status, 200);
    assert.equal((await put(`{}${' '.repeat(1048574)}`)).status, 200, 'exactly 1 MiB');
    assert.equal((await raw({ method: 'PUT', path: `/v1/users/${'x'.repeat(128)}`, headers: json, body: '{}' })).status, 201);
    assert.equal((await raw({ path: '/v1/users?' })).status, 200);
    const basic = Buffer.from(`${app.key}:`).toString('base64');
    assert.equal((await send(base, { path: '/v1/users', headers: { authorization: `Basic ${basic}` } })).status, 200);
  });

  test('an unknown name comes with the nearest known one', async () => {
    const parameter = assertProblem(await app.api('GET', '/v1/users?limt=5'), 'unknown_parameter');
    assert.match(parameter.body.detail, /did you mean "limit"/);
    const field = assertProblem(await app.api('PUT', '/v1/users/bad', { nmae: 'x' }), 'validation_failed');
    assert.match(field.body.errors[0].detail, /did you mean "name"/);
    assert.equal(field.body.errors[0].code, 'unknown_field');
    const both = assertProblem(await app.api('PUT', '/v1/users/bad', { name: 7, color: 1 }), 'validation_failed');
    assert.deepEqual(both.body.errors.map((one) => one.pointer).sort(), ['/color', '/name']);
  });

  test('HTTP that two parsers could read differently is refused, and the connection closed', async () => {
    const head = (lines, body = '') => `PUT /v1/users/smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${app.key}\r\nContent-Type: application/json\r\n${lines.join('\r\n')}\r\n\r\n${body}`;
    const tries = {
      'both lengths': head(['Content-Length: 4', 'Transfer-Encoding: chunked'], '0\r\n\r\n'),
      'two lengths': head(['Content-Length: 2', 'Content-Length: 20'], '{}'),
      'a signed length': head(['Content-Length: +2'], '{}'),
      'a negative length': head(['Content-Length: -2'], '{}'),
      'a hexadecimal length': head(['Content-Length: 0x2'], '{}'),
      'an odd encoding': head(['Transfer-Encoding: xchunked'], '{}'),
      'two hosts': head(['Host: y', 'Content-Length: 2'], '{}'),
      'two credentials': head([`Authorization: Bearer ${app.key}`, 'Content-Length: 2'], '{}'),
    };
    for (const [name, bytes] of Object.entries(tries)) {
      const text = await exchange(base, bytes);
      assert.doesNotMatch(text, /HTTP\/1\.1 2/, name);
      if (text !== '') assert.match(text, /^HTTP\/1\.1 4\d\d/, `${name}: ${text.slice(0, 60)}`);
    }
    for (const bytes of ['\0'.repeat(64), 'GET\r\n\r\n', 'GET / HTTP/9.9\r\n\r\n', `GET /${'x'.repeat(70000)} HTTP/1.1\r\n\r\n`,
      `GET /livez HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(70000)}\r\n\r\n`, 'GET http://other/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n']) {
      const text = await exchange(base, bytes, 2000);
      assert.doesNotMatch(text, /^HTTP\/1\.\d 50[0-4]/, bytes.slice(0, 40));
    }
    assertProblem(await app.api('GET', '/v1/users/smuggled'), 'not_found');
    assert.equal((await app.api('GET', '/v1/users/alice')).status, 200, 'and it still serves');
  });
});
