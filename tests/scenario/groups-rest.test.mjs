// Groups and their members over REST: by the backend's key, and by users in the bounds of their role.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Stack } from '../lib/stack.mjs';
import { assertProblem } from '../lib/spec.mjs';

const NOBODY = 'grp_00000000000000000000000000';
let stack, app;
const as = {};
before(async () => {
  stack = await Stack.start();
  app = await stack.app('Groups');
  for (const id of ['alice', 'bob', 'carol', 'dave']) {
    await app.user(id);
    as[id] = app.as(await app.token(id));
  }
});
after(async () => { await stack?.stop(); });

const members = async (id) => (await app.api('GET', `/v1/groups/${id}/members`)).body.data.map((m) => [m.user_id, m.role]).sort();

describe('groups', () => {
  test('are made, read, changed and deleted', async () => {
    const made = await app.api('POST', '/v1/groups', { name: 'Team', member_ids: ['alice', 'bob', 'alice'], members: [{ user_id: 'bob', role: 'admin' }], external_id: 'ext-1', metadata: { a: { b: 1 } } });
    assert.equal(made.status, 201, made.text);
    const { id } = made.body;
    assert.match(id, /^grp_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
    assert.equal(made.headers.get('location'), `/v1/groups/${id}`);
    assert.equal(made.body.kind, 'group');
    assert.equal(made.body.member_count, 2);
    assert.equal(made.body.frozen, false);
    assert.equal(made.body.last_seq, 1);
    assert.deepEqual(await members(id), [['alice', 'member'], ['bob', 'admin']]);

    const read = await app.api('GET', `/v1/groups/${id}`);
    const tag = read.headers.get('etag');
    assert.match(tag, /^"\d+\.\d+"$/);
    assert.equal((await app.api('GET', `/v1/groups/${id}`, undefined, { 'if-none-match': tag })).status, 304);
    assert.equal((await app.api('GET', `/v1/conversations/${id}`)).body.id, id, 'a group is a conversation');
    const patched = await app.api('PATCH', `/v1/groups/${id}`, { name: 'Crew', metadata: { a: { c: 2 } } }, { 'if-match': tag, 'content-type': 'application/merge-patch+json' });
    assert.equal(patched.status, 200, patched.text);
    assert.equal(patched.body.name, 'Crew');
    assert.deepEqual(patched.body.metadata, { a: { b: 1, c: 2 } });
    assertProblem(await app.api('PATCH', `/v1/groups/${id}`, { name: 'Late' }, { 'if-match': tag }), 'version_mismatch');
    const same = await app.api('PATCH', `/v1/groups/${id}`, { name: 'Crew' });
    assert.equal(same.status, 200);
    assert.equal(same.body.last_seq, patched.body.last_seq, 'nothing changed, nothing is written');
    assert.deepEqual((await app.api('PATCH', `/v1/groups/${id}`, { metadata: null })).body.metadata, {});

    assert.deepEqual((await app.api('GET', '/v1/groups?external_id=ext-1')).body.data.map((g) => g.id), [id]);
    assertProblem(await app.api('POST', '/v1/groups', { name: 'Again', external_id: 'ext-1' }), 'already_exists');
    const gone = await app.api('DELETE', `/v1/groups/${id}`);
    assert.equal(gone.status, 202, gone.text);
    assertProblem(await app.api('GET', `/v1/groups/${id}`), 'not_found');
    assertProblem(await app.api('DELETE', `/v1/groups/${id}`), 'not_found');
    assertProblem(await app.api('POST', `/v1/conversations/${id}/messages`, { sender_id: 'alice', text: 'x' }), 'not_found');
    assertProblem(await as.alice('GET', `/v1/groups/${id}`), 'not_found');
    assert.equal((await app.api('POST', '/v1/groups', { name: 'Again', external_id: 'ext-1' })).status, 201, 'the external id is free');
  });

  test('are listed by member and in pages', async () => {
    const own = await stack.app('Pages');
    for (const id of ['u', 'v']) await own.user(id);
    const ids = [];
    for (let i = 0; i < 7; i++) ids.push((await own.group(i % 2 ? ['u'] : ['u', 'v'], { name: `G${i}` })).id);
    const seen = [];
    for (let cursor = ''; ;) {
      const page = await own.api('GET', `/v1/groups?limit=3${cursor}`);
      seen.push(...page.body.data.map((g) => g.id));
      if (!page.body.has_more) break;
      cursor = `&cursor=${page.body.next_cursor}`;
    }
    assert.deepEqual([...seen].sort(), [...ids].sort());
    assert.equal(seen.length, ids.length);
    assert.equal((await own.api('GET', '/v1/groups?member=v')).body.data.length, 4);
    await own.api('DELETE', `/v1/groups/${ids[0]}`);
    assert.equal((await own.api('GET', '/v1/groups?member=v')).body.data.length, 3);
  });

  test('refuse what does not fit', async () => {
    const cases = [
      [{}, '/name'], [{ name: 'x'.repeat(201) }, '/name'], [{ name: 'x', kind: 'channel' }, '/kind'], [{ name: 'x', member_ids: 'alice' }, '/member_ids'], [{ name: 'x', member_ids: ['a b'] }, '/member_ids/0'],
      [{ name: 'x', members: [{ role: 'admin' }] }, '/members/0/user_id'], [{ name: 'x', members: [{ user_id: 'alice', role: 'A' }] }, '/members/0/role'], [{ name: 'x', external_id: '' }, '/external_id'],
      [{ name: 'x', id: NOBODY }, '/id'], [{ name: 'x', metadata: { a: 'y'.repeat(16384) } }, '/metadata'], [{ name: 'x', member_ids: Array.from({ length: 1001 }, (_, i) => `u${i}`) }, '/member_ids'],
    ];
    for (const [body, pointer] of cases) assertProblem(await app.api('POST', '/v1/groups', body), 'validation_failed', { pointer });
    for (const body of [{ name: 'x', member_ids: ['alice', 'nobody'] }, { name: 'x', members: [{ user_id: 'alice', role: 'king' }] }]) {
      const r = await app.api('POST', '/v1/groups', body);
      assert.ok([404, 422].includes(r.status), r.text);
    }
    const small = await stack.app('Small', { limits: { group_members: 2 } });
    for (const id of ['a', 'b', 'c']) await small.user(id);
    assertProblem(await small.api('POST', '/v1/groups', { name: 'x', member_ids: ['a', 'b', 'c'] }), 'member_limit');
    const full = await small.group(['a', 'b']);
    assertProblem(await small.api('PUT', `/v1/groups/${full.id}/members/c`, {}), 'member_limit');
    assert.equal((await small.api('GET', `/v1/groups/${full.id}`)).body.member_count, 2);
    const any = await app.group(['alice']);
    for (const [body, pointer] of [[{ frozen: 'yes' }, '/frozen'], [{ member_ids: [] }, '/member_ids'], [{ kind: 'broadcast' }, '/kind'], [{ name: null }, '/name']]) {
      assertProblem(await app.api('PATCH', `/v1/groups/${any.id}`, body), 'validation_failed', { pointer });
    }
  });
});

describe('members', () => {
  test('join, change roles and leave', async () => {
    const { id } = await app.group(['alice']);
    const put = (user, body) => app.api('PUT', `/v1/groups/${id}/members/${user}`, body);
    const added = await put('bob', { role: 'moderator' });
    assert.equal(added.status, 201, added.text);
    assert.equal(added.body.role, 'moderator');
    assert.equal(typeof added.body.joined_seq, 'number');
    assert.equal((await put('bob', {})).body.role, 'moderator', 'no role, no change');
    assert.equal((await put('bob', {})).status, 200);
    assert.equal((await put('bob', { role: 'admin' })).body.role, 'admin');
    assert.deepEqual((await app.api('GET', `/v1/groups/${id}/members?role=admin`)).body.data.map((m) => m.user_id), ['bob']);
    assert.equal((await app.api('DELETE', `/v1/groups/${id}/members/bob`)).status, 204);
    assertProblem(await app.api('DELETE', `/v1/groups/${id}/members/bob`), 'not_found');
    assert.equal((await put('bob', {})).status, 201, 'and back');
    for (const [user, body] of [['nobody', {}], ['carol', { role: 'king' }]]) {
      const r = await put(user, body);
      assert.ok([404, 422].includes(r.status), r.text);
    }
    assertProblem(await put('carol', { role: 7 }), 'validation_failed', { pointer: '/role' });
    assertProblem(await app.api('PUT', `/v1/groups/${NOBODY}/members/bob`, {}), 'not_found');
    assert.equal((await app.api('GET', `/v1/groups/${id}`)).body.member_count, 2);
  });

  test('join in batches that answer item by item', async () => {
    const { id } = await app.group(['alice']);
    const r = await app.api('POST', `/v1/groups/${id}/members/batch`, { items: [{ user_id: 'alice' }, { user_id: 'bob' }, { user_id: 'nobody' }, { user_id: 'carol', role: 'admin' }] });
    assert.equal(r.status, 207, r.text);
    assert.deepEqual(r.body.results.map((one) => one.status).map((s) => (s >= 400 ? 'no' : s)), [200, 201, 'no', 201]);
    assert.equal(typeof r.body.results[2].problem.code, 'string');
    assert.deepEqual(await members(id), [['alice', 'member'], ['bob', 'member'], ['carol', 'admin']]);
    assertProblem(await app.api('POST', `/v1/groups/${id}/members/batch`, { items: [] }), 'validation_failed', { pointer: '/items' });
    assertProblem(await app.api('POST', `/v1/groups/${id}/members/batch`, { items: Array.from({ length: 101 }, (_, i) => ({ user_id: `u${i}` })) }), 'validation_failed', { pointer: '/items' });
  });

  test('are counted right when many come and go at once', async () => {
    const { id } = await app.group(['alice']);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => (i % 4 === 3 ? app.api('DELETE', `/v1/groups/${id}/members/bob`) : app.api('PUT', `/v1/groups/${id}/members/bob`, { role: ['member', 'admin', 'moderator'][i % 3] }))));
    for (const r of answers) assert.ok([200, 201, 204, 404, 503].includes(r.status), r.text);
    const list = await members(id);
    assert.equal((await app.api('GET', `/v1/groups/${id}`)).body.member_count, list.length);
    const seqs = (await app.api('GET', `/v1/conversations/${id}/messages?limit=200`)).body.data.map((m) => m.seq);
    assert.deepEqual(seqs, Array.from({ length: seqs.length }, (_, i) => i + 1), 'no gap');
  });
});

describe('users', () => {
  test('act in the bounds of their role', async () => {
    const made = await as.alice('POST', '/v1/groups', { name: 'Mine', member_ids: ['bob', 'carol'] });
    assert.equal(made.status, 201, made.text);
    const { id } = made.body;
    assert.equal(made.body.created_by, 'alice');
    assert.deepEqual(await members(id), [['alice', 'owner'], ['bob', 'member'], ['carol', 'member']]);
    const path = `/v1/groups/${id}`;
    for (const [method, p, body] of [['GET', path], ['PATCH', path, { name: 'x' }], ['DELETE', path], ['GET', `${path}/members`], ['PUT', `${path}/members/dave`, {}], ['DELETE', `${path}/members/bob`],
      ['POST', `${path}/members/batch`, { items: [{ user_id: 'dave' }] }]]) {
      assertProblem(await as.dave(method, p, body), 'not_a_member');
    }
    assert.equal((await as.bob('GET', path)).status, 200);
    assertProblem(await as.bob('PATCH', path, { name: 'x' }), 'role_required');
    assertProblem(await as.bob('DELETE', path), 'role_required');
    assertProblem(await as.bob('PUT', `${path}/members/dave`, {}), 'role_required');
    assertProblem(await as.bob('PUT', `${path}/members/bob`, { role: 'owner' }), 'role_required');
    assertProblem(await as.bob('DELETE', `${path}/members/carol`), 'role_required');
    const batch = await as.bob('POST', `${path}/members/batch`, { items: [{ user_id: 'dave' }] });
    assert.equal(batch.body.results[0].problem.code, 'role_required', batch.text);
    assertProblem(await as.alice('DELETE', `${path}/members/alice`), 'last_owner');
    assertProblem(await as.alice('PUT', `${path}/members/alice`, { role: 'member' }), 'last_owner');

    assert.equal((await as.alice('PUT', `${path}/members/bob`, { role: 'admin' })).status, 200);
    assert.equal((await as.bob('PATCH', path, { name: 'Ours' })).body.name, 'Ours');
    assert.equal((await as.bob('PUT', `${path}/members/dave`, {})).status, 201);
    assertProblem(await as.bob('DELETE', `${path}/members/alice`), 'role_required');
    assertProblem(await as.bob('PUT', `${path}/members/bob`, { role: 'owner' }), 'role_required');
    assertProblem(await as.bob('PUT', `${path}/members/alice`, { role: 'member' }), 'role_required');
    assert.equal((await as.dave('DELETE', `${path}/members/dave`)).status, 204, 'everybody may leave');
    assertProblem(await as.dave('GET', path), 'not_a_member');
    assert.equal((await as.alice('PUT', `${path}/members/bob`, { role: 'owner' })).status, 200);
    assert.equal((await as.alice('DELETE', `${path}/members/alice`)).status, 204);
    assert.equal((await as.bob('DELETE', path)).status, 202);
    assertProblem(await as.bob('GET', path), 'not_found');
  });

  test('only read in a broadcast', async () => {
    const made = await app.api('POST', '/v1/groups', { name: 'News', kind: 'broadcast', member_ids: ['alice', 'bob'] });
    assert.equal(made.status, 201, made.text);
    const path = `/v1/conversations/${made.body.id}/messages`;
    assertProblem(await as.alice('POST', path, { text: 'x' }), 'role_required');
    assert.equal((await app.api('POST', path, { sender_id: 'bob', text: 'news' })).status, 201);
    assert.ok((await as.alice('GET', path)).text.includes('news'));
  });
});
