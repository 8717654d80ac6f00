// Nobody gains what he does not hold: scopes, bounded keys, roles, revocations, ids.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect } from '../lib/client.mjs';
import { Stack, call, until } from '../lib/stack.mjs';

let stack, app;
before(async () => {
  stack = await Stack.start();
  app = await stack.app('Authority');
  for (const id of ['alice', 'bob', 'carol', 'dave']) await app.user(id);
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const is = (r, status, code) => {
  assert.equal(r.status, status, r.text);
  if (code) assert.equal(r.body.code, code, r.text);
  return r.body;
};
const key = async (scopes, fields = {}) => {
  const made = is(await app.api('POST', '/v1/api-keys', { name: 'k', scopes, ...fields }), 201);
  return Object.assign((...args) => call(stack.endpoints.api, made.secret, ...args), { id: made.id, secret: made.secret });
};

describe('API keys', () => {
  test('change, renew and end only keys that hold no more than they do', async () => {
    const weak = await key(['keys:read', 'keys:write']);
    const strong = await key(['keys:read', 'users:write']);
    is(await weak('PATCH', `/v1/api-keys/${strong.id}`, { cidrs: ['10.0.0.0/8'] }), 403, 'insufficient_scope');
    is(await weak('PATCH', `/v1/api-keys/${strong.id}`, { name: 'mine' }), 403, 'insufficient_scope');
    is(await weak('POST', `/v1/api-keys/${strong.id}/rotations`, {}), 403, 'insufficient_scope');
    is(await weak('DELETE', `/v1/api-keys/${strong.id}`), 403, 'insufficient_scope');
    is(await strong('GET', '/v1/api-keys'), 200);
    is(await app.api('DELETE', `/v1/api-keys/${strong.id}`), 204);
  });

  test('keep their own bounds, and pass them on', async () => {
    const soon = new Date(Date.now() + 3600e3).toISOString(), late = new Date(Date.now() + 7200e3).toISOString();
    const bounded = await key(['keys:read', 'keys:write'], { expires_at: soon, cidrs: ['127.0.0.0/8', '10.0.0.0/8'] });
    is(await bounded('PATCH', `/v1/api-keys/${bounded.id}`, { expires_at: null }), 403, 'insufficient_scope');
    is(await bounded('PATCH', `/v1/api-keys/${bounded.id}`, { expires_at: late }), 403, 'insufficient_scope');
    is(await bounded('PATCH', `/v1/api-keys/${bounded.id}`, { cidrs: null }), 403, 'insufficient_scope');
    is(await bounded('PATCH', `/v1/api-keys/${bounded.id}`, { cidrs: ['127.0.0.0/8', '0.0.0.0/0'] }), 403, 'insufficient_scope');
    const fresh = { name: 'x', scopes: ['keys:read'] };
    is(await bounded('POST', '/v1/api-keys', fresh), 403, 'insufficient_scope');
    is(await bounded('POST', '/v1/api-keys', { ...fresh, expires_at: soon }), 403, 'insufficient_scope');
    is(await bounded('POST', '/v1/api-keys', { ...fresh, expires_at: soon, cidrs: ['127.0.0.0/8'] }), 201);
    is(await bounded('PATCH', `/v1/api-keys/${bounded.id}`, { name: 'renamed' }), 200);
  });

  test('make signing keys only when they may mint tokens', async () => {
    const weak = await key(['keys:read', 'keys:write']);
    is(await weak('POST', '/v1/signing-keys', { alg: 'HS256' }), 403, 'insufficient_scope');
    const made = is(await (await key(['keys:read', 'keys:write', 'tokens:write']))('POST', '/v1/signing-keys', { alg: 'HS256' }), 201);
    const read = is(await weak('GET', `/v1/signing-keys/${made.kid}`), 200);
    assert.equal(read.secret, undefined);
    is(await weak('GET', '/v1/signing-keys/unknown-kid'), 404, 'not_found');
  });

  test('see messages in the list of conversations only when they may read them', async () => {
    const group = await app.group(['alice', 'bob']);
    is(await app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: 'not for all' }), 201);
    const path = '/v1/conversations?member=bob';
    const seen = async (k) => is(await k('GET', path), 200).data.find((c) => c.id === group.id).last_message;
    assert.equal(await seen(await key(['groups:read'])), null);
    assert.equal((await seen(await key(['groups:read', 'messages:read']))).text, 'not for all');
  });

  test('have at most two live secrets', async () => {
    const k = await key(['app:read']);
    const secrets = [k.secret];
    for (let i = 0; i < 3; i++) secrets.push(is(await app.api('POST', `/v1/api-keys/${k.id}/rotations`, { overlap_seconds: 604800 }), 201).secret);
    const works = await Promise.all(secrets.map(async (s) => (await call(stack.endpoints.api, s, 'GET', '/v1/app')).status));
    assert.deepEqual(works, [401, 401, 200, 200]);
  });

  test('take no expiry that has passed, and one of equal changes with If-Match', async () => {
    for (const expires_at of ['1970-01-01T00:00:00Z', '1960-01-01T00:00:00Z', '2020-01-01T00:00:00Z']) {
      is(await app.api('POST', '/v1/api-keys', { name: 'k', scopes: ['app:read'], expires_at }), 422, 'validation_failed');
    }
    const k = await key(['app:read']);
    is(await app.api('PATCH', `/v1/api-keys/${k.id}`, { expires_at: '1970-01-01T00:00:00Z' }), 422, 'validation_failed');
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => app.api('PATCH', `/v1/api-keys/${k.id}`, { name: `n${i}` }, { 'if-match': '"1"' })));
    assert.deepEqual(results.map((r) => r.status).sort(), [200, ...Array(19).fill(412)]);
  });
});

describe('credentials of the wrong kind', () => {
  test('are told so with 403, and count as no guess', async () => {
    const token = await app.token('alice');
    for (let i = 0; i < 15; i++) is(await app.as(token)('GET', '/v1/users'), 403, 'insufficient_scope');
    is(await app.api('GET', '/v1/me'), 403, 'insufficient_scope');
    is(await app.as(token)('GET', '/v1/me'), 200);
  });
});

describe('roles', () => {
  test('grant and govern no more than they hold', async () => {
    is(await app.api('PUT', '/v1/roles/helper', { permissions: ['send_messages', 'manage_members'] }), 201);
    is(await app.api('PUT', '/v1/roles/namer', { permissions: ['send_messages', 'change_roles'] }), 201);
    const group = is(await app.api('POST', '/v1/groups', { name: 'G', members: [{ user_id: 'alice', role: 'admin' }, { user_id: 'bob', role: 'helper' }, { user_id: 'carol', role: 'namer' }] }), 201);
    const bob = app.as(await app.token('bob')), carol = app.as(await app.token('carol'));
    const members = `/v1/groups/${group.id}/members`;
    is(await bob('PUT', `${members}/dave`, { role: 'admin' }), 403, 'role_required');
    is(await bob('POST', `${members}/batch`, { items: [{ user_id: 'dave', role: 'admin' }] }), 207);
    assert.ok(!is(await app.api('GET', members), 200).data.some((m) => m.user_id === 'dave'));
    is(await carol('PUT', `${members}/carol`, { role: 'admin' }), 403, 'role_required');
    is(await bob('DELETE', `${members}/alice`), 403, 'role_required');
    is(await bob('PUT', `${members}/dave`, { role: 'member' }), 201);
    is(await bob('DELETE', `${members}/dave`), 204);
  });

  test('leave the external ids to the backend', async () => {
    const alice = app.as(await app.token('alice'));
    is(await alice('POST', '/v1/groups', { name: 'x', external_id: 'mine' }), 422, 'validation_failed');
    is(await alice('POST', '/v1/groups', { name: 'x' }), 201);
  });
});

describe('changes', () => {
  test('that overlap on an app without an origin list all arrive', async () => {
    const results = await Promise.all(Array.from({ length: 24 }, (_, i) => app.api('PATCH', '/v1/app', { metadata: { [`k${i}`]: i } })));
    assert.ok(results.every((r) => r.status === 200 || (r.status === 503 && r.body.code === 'busy')), results.map((r) => r.status).join(' '));
    const kept = Object.keys(is(await app.api('GET', '/v1/app'), 200).metadata).length;
    assert.equal(kept, results.filter((r) => r.status === 200).length);
  });

  test('refuse If-Match where it would be ignored', async () => {
    is(await app.api('PUT', '/v1/users/alice', { name: 'A' }, { 'if-match': '"99"' }), 400, 'bad_request');
  });

  test('are repeats of what was stored, not of what is said the second time', async () => {
    const group = await app.group(['alice', 'bob']);
    const b = await connect(stack.endpoints.realtime[0], await app.token('bob'));
    const send = (text) => app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', client_msg_id: 'same', text });
    is(await send('first'), 201);
    assert.equal(is(await send('second'), 200).text, 'first');
    await until(() => b.of('message.new').some((m) => m.conversation_id === group.id), { what: 'the message' });
    assert.deepEqual(b.of('message.new').filter((m) => m.conversation_id === group.id).map((m) => m.text), ['first']);
  });

  test('of a group and messages in it do not share ids', async () => {
    const c = await connect(stack.endpoints.realtime[0], await app.token('alice'));
    const made = await c.send('group.create', { client_id: 'same-1', name: 'G', member_ids: ['bob'] });
    assert.equal(made.ok, true, JSON.stringify(made));
    const sent = await c.send('message.send', { conversation_id: made.group.id, text: 'not swallowed', client_msg_id: 'same-1' });
    assert.equal(sent.duplicate, undefined);
    assert.equal(sent.message.seq, 2);
  });
});

test('revoking what was issued before 1970 revokes nothing', async () => {
  const token = await app.token('alice');
  is(await app.api('POST', '/v1/token-revocations', { issued_before: '1970-01-01T00:00:00Z' }), 202);
  is(await app.as(token)('GET', '/v1/me'), 200);
});

test('a user id that no URL path keeps is refused', async () => {
  const r = is(await app.api('POST', '/v1/users/batch', { items: [{ id: '..' }, { id: '.' }, { id: '.a' }] }), 207);
  assert.deepEqual(r.results.map((x) => x.status), [422, 422, 201]);
});
