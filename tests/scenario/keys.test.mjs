// API keys, signing keys and tokens over REST: what they permit, until when, and from where.
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Stack, call, sleep, until } from '../lib/stack.mjs';
import { assertProblem, claimsOf, headerOf, jwt, routes, send } from '../lib/spec.mjs';

let stack, app, base;
before(async () => {
  stack = await Stack.start();
  base = stack.endpoints.api;
  app = await stack.app('Keys');
  for (const id of ['alice', 'bob']) await app.user(id);
});
after(async () => { await stack?.stop(); });

const use = (secret, method = 'GET', path = '/v1/users', body, headers) => call(base, secret, method, path, body, headers);
async function newKey(fields, api = app.api) {
  const made = await api('POST', '/v1/api-keys', { name: 'key', scopes: ['users:read'], ...fields });
  assert.equal(made.status, 201, made.text);
  return made.body;
}
const now = () => Math.floor(Date.now() / 1000);
const me = (token) => call(base, token, 'GET', '/v1/me');

describe('API keys', () => {
  test('show their secret once, and only its hash is stored', async () => {
    const key = await newKey({ mode: 'test', name: 'once' });
    assert.match(key.secret, /^ply_test_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}$/);
    assert.equal(key.last4, key.secret.slice(-4));
    const list = await app.api('GET', '/v1/api-keys');
    const listed = list.body.data.find((k) => k.id === key.id);
    assert.equal(listed.name, 'once');
    assert.ok(!list.text.includes(key.secret) && !('secret' in listed));
    const rows = await stack.sql(`select encode(sha256, 'hex') from api_secrets where public_id = '${key.secret.slice(9, 21)}'`);
    assert.deepEqual(rows, [[createHash('sha256').update(key.secret).digest('hex')]]);
    assert.ok(!stack.logs().includes(key.secret.slice(22, 60)));
    await use(key.secret);
    await until(async () => (await app.api('GET', '/v1/api-keys')).body.data.find((k) => k.id === key.id).last_used_at, { what: 'the last use' });
  });

  test('do what their scopes say: every route of the table', async () => {
    const own = await stack.app('Scopes');
    await own.user('alice');
    const none = await newKey({ scopes: ['audit:read'] }, own.api);
    for (const r of routes().filter((one) => one.scope && one.listener !== 'ADMIN')) {
      const path = r.path.replace(/\{(\w+)\}/g, (_, name) => ({ group_id: 'grp_00000000000000000000000000', conversation_id: 'grp_00000000000000000000000000',
        key_id: 'key_00000000000000000000000000', kid: 'abcdefgh', name: 'helper' }[name] ?? 'alice'));
      const body = ['POST', 'PUT', 'PATCH'].includes(r.method) ? {} : undefined;
      const refused = assertProblem(await use(none.secret, r.method, path, body), 'insufficient_scope');
      assert.equal(refused.body.required_scope, r.scope, r.operation);
      const able = await newKey({ scopes: [r.scope] }, own.api);
      const got = await use(able.secret, r.method, path, r.method === 'POST' && r.operation.includes('evoke') ? { wrong: 1 } : body);
      assert.notEqual(got.body?.code, 'insufficient_scope', `${r.operation} with ${r.scope}: ${got.text}`);
      assert.ok(got.status !== 401 && got.status < 500, `${r.operation}: ${got.text}`);
      await own.api('DELETE', `/v1/api-keys/${able.id}`);
    }
  });

  test('cannot grant more than they have', async () => {
    const keeper = await newKey({ scopes: ['keys:write', 'keys:read', 'users:read'] });
    const api = (method, path, body) => use(keeper.secret, method, path, body);
    assertProblem(await api('POST', '/v1/api-keys', { name: 'more', scopes: ['users:read', 'users:write'] }), 'insufficient_scope', { pointer: '/scopes' });
    const less = await newKey({ scopes: ['users:read'] }, api);
    assert.deepEqual(less.scopes, ['users:read']);
    const strong = await newKey({ scopes: ['users:write', 'tokens:write'] });
    assertProblem(await api('POST', `/v1/api-keys/${strong.id}/rotations`, {}), 'insufficient_scope');
    assertProblem(await app.api('PATCH', `/v1/api-keys/${less.id}`, { scopes: ['users:write'] }), 'validation_failed', { pointer: '/scopes' });
  });

  test('refuse what does not fit', async () => {
    const ok = { name: 'x', scopes: ['users:read'] };
    const cases = [
      [{ name: 'x' }, '/scopes'], [{ scopes: ['users:read'] }, '/name'], [{ ...ok, scopes: [] }, '/scopes'], [{ ...ok, scopes: ['fly'] }, '/scopes/0'],
      [{ ...ok, scopes: ['users:read', 'users:read'] }, '/scopes'], [{ ...ok, mode: 'prod' }, '/mode'], [{ ...ok, cidrs: ['10.0.0.0/33'] }, '/cidrs/0'],
      [{ ...ok, cidrs: ['127.0.0.1', 'nonsense'] }, '/cidrs/1'], [{ ...ok, cidrs: ['::1/129'] }, '/cidrs/0'], [{ ...ok, cidrs: ['10.0.0.0/'] }, '/cidrs/0'],
      [{ ...ok, expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'], [{ ...ok, expires_at: 'soon' }, '/expires_at'], [{ ...ok, secret: 'mine' }, '/secret'],
    ];
    for (const [body, pointer] of cases) assertProblem(await app.api('POST', '/v1/api-keys', body), 'validation_failed', { pointer });
  });

  test('expire', async () => {
    const key = await newKey({ expires_at: new Date(Date.now() + 1500).toISOString() });
    assert.equal((await use(key.secret)).status, 200);
    await until(async () => (await use(key.secret)).status === 401, { timeout: 3000, what: 'the expiry' });
    assertProblem(await use(key.secret), 'expired_api_key');
    const other = await newKey({});
    assert.equal((await use(other.secret)).status, 200, 'so that its verdict is remembered');
    assert.equal((await app.api('PATCH', `/v1/api-keys/${other.id}`, { expires_at: new Date(Date.now() + 700).toISOString(), name: 'short' })).body.name, 'short');
    await until(async () => (await use(other.secret)).status === 401, { timeout: 2000, what: 'the new expiry' });
    assert.equal((await app.api('PATCH', `/v1/api-keys/${other.id}`, { expires_at: null })).status, 200);
    await until(async () => (await use(other.secret)).status === 200, { timeout: 1000, what: 'the expiry to be lifted' });
  });

  test('rotate: both secrets for a while, then the new one', async () => {
    const key = await newKey({});
    const turned = await app.api('POST', `/v1/api-keys/${key.id}/rotations`, { overlap_seconds: 2 });
    assert.equal(turned.status, 201, turned.text);
    assert.equal(turned.body.id, key.id);
    assert.notEqual(turned.body.secret, key.secret);
    assert.equal((await use(key.secret)).status, 200, 'the old one in the overlap');
    assert.equal((await use(turned.body.secret)).status, 200);
    await until(async () => (await use(key.secret)).status === 401, { timeout: 4000, what: 'the end of the overlap' });
    assert.ok(['expired_api_key', 'invalid_api_key'].includes((await use(key.secret)).body.code));
    assert.equal((await use(turned.body.secret)).status, 200);
    const at_once = await app.api('POST', `/v1/api-keys/${key.id}/rotations`, { overlap_seconds: 0 });
    await until(async () => (await use(turned.body.secret)).status === 401, { timeout: 1000, what: 'the end without overlap' });
    assert.equal((await use(at_once.body.secret)).status, 200);
    assert.equal((await app.api('POST', `/v1/api-keys/${key.id}/rotations`)).status, 201, 'without a body');
    assertProblem(await app.api('POST', `/v1/api-keys/${key.id}/rotations`, { overlap_seconds: 604801 }), 'validation_failed', { pointer: '/overlap_seconds' });
    assertProblem(await app.api('POST', '/v1/api-keys/key_00000000000000000000000000/rotations', {}), 'not_found');
  });

  test('are revoked within a second', async () => {
    const key = await newKey({});
    for (let i = 0; i < 5; i++) assert.equal((await use(key.secret)).status, 200);
    assert.equal((await app.api('DELETE', `/v1/api-keys/${key.id}`)).status, 204);
    await until(async () => (await use(key.secret)).status === 401, { timeout: 1000, what: 'the revocation' });
    assertProblem(await use(key.secret), 'invalid_api_key');
    assertProblem(await app.api('PATCH', `/v1/api-keys/${key.id}`, { name: 'x' }), 'not_found');
    assertProblem(await app.api('POST', `/v1/api-keys/${key.id}/rotations`, {}), 'not_found');
    assert.equal(typeof (await app.api('GET', '/v1/api-keys?limit=100')).body.data.find((k) => k.id === key.id).revoked_at, 'string');
  });

  test('are bound to addresses', async () => {
    const far = await newKey({ cidrs: ['192.0.2.0/24', '2001:db8::/32'] });
    assertProblem(await use(far.secret), 'ip_not_allowed');
    assert.equal((await app.api('PATCH', `/v1/api-keys/${far.id}`, { cidrs: ['127.0.0.0/8'] })).status, 200);
    await until(async () => (await use(far.secret)).status === 200, { timeout: 1000, what: 'the new block' });
    assertProblem(await use(far.secret, 'GET', '/v1/users', undefined, { 'x-forwarded-for': '192.0.2.7', forwarded: 'for=192.0.2.7' }).then(async (r) => {
      assert.equal(r.status, 200, 'the header changes nothing');
      await app.api('PATCH', `/v1/api-keys/${far.id}`, { cidrs: ['192.0.2.0/24'] });
      await until(async () => (await use(far.secret)).status === 403, { timeout: 1000, what: 'the block to be closed' });
      return use(far.secret, 'GET', '/v1/users', undefined, { 'x-forwarded-for': '192.0.2.7' });
    }), 'ip_not_allowed');
  });

  test('with a typing error, cut or made up are refused alike', async () => {
    const s = app.key;
    const swapped = s.slice(0, 30) + s[31] + s[30] + s.slice(32);
    const other = s.slice(0, -1) + (s.at(-1) === 'a' ? 'b' : 'a');
    const bad = [other, s.slice(0, -1), `${s}a`, s.replace('live', 'test'), s.replace('live', 'adm'), s.toUpperCase(), 'ply_', 'ply_live_', `${s} `.trim() + '%00', s.replace(/_.{12}_/, '_000000000000_')];
    if (swapped !== s) bad.push(swapped);
    for (const secret of bad) {
      const r = await use(secret);
      assert.equal(r.status, 401, secret.length);
      assert.equal(r.body.code, 'invalid_api_key');
      assert.ok(secret.length < 40 || !r.text.includes(secret.slice(10, 30)), 'the answer does not repeat it');
      assert.match(r.headers.get('www-authenticate'), /Bearer/);
    }
  });

  test('are refused in a browser', async () => {
    const r = assertProblem(await send(base, { path: '/v1/users', headers: { authorization: `Bearer ${app.key}`, origin: 'https://shop.example' } }), 'secret_key_in_browser');
    assert.equal(r.headers.get('access-control-allow-origin'), null);
    const preflight = await send(base, { method: 'OPTIONS', path: '/v1/users', headers: { origin: 'https://shop.example', 'access-control-request-method': 'GET' } });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('access-control-allow-origin'), null);
  });
});

describe("the operator's key", () => {
  test("works on the operator's listener alone, and app keys do not work there", async () => {
    const { admin, admin_key } = stack.endpoints;
    for (const path of ['/v1/users', '/v1/app', '/v1/me']) {
      const r = await call(base, admin_key, 'GET', path, undefined, { 'parley-app': app.id });
      assert.equal(r.status, 401, `${path} ${r.text}`);
    }
    assertProblem(await call(base, admin_key, 'GET', '/v1/apps'), 'not_found');
    assertProblem(await call(admin, app.key, 'GET', '/v1/apps'), 'invalid_api_key');
    assertProblem(await call(admin, app.key, 'GET', '/v1/users'), 'invalid_api_key');
    assertProblem(await call(admin, await app.token('alice'), 'GET', '/v1/apps'), 'invalid_api_key');
    assertProblem(await call(admin, null, 'GET', '/v1/apps'), 'missing_credentials');
    assertProblem(await call(admin, admin_key.slice(0, -1) + (admin_key.at(-1) === 'a' ? 'b' : 'a'), 'GET', '/v1/apps'), 'invalid_api_key');
    assertProblem(await call(base, null, 'GET', '/metrics'), 'not_found');
    assert.equal((await call(admin, null, 'GET', '/metrics')).status, 200);
  });

  test('acts for an app that Parley-App names', async () => {
    const as = (id) => ({ 'parley-app': id });
    assert.equal((await stack.admin('GET', '/v1/users/alice', undefined, as(app.id))).body.id, 'alice');
    assert.equal((await stack.admin('PUT', '/v1/users/from-operator', {}, as(app.id))).status, 201);
    assert.equal((await app.api('GET', '/v1/users/from-operator')).status, 200);
    assertProblem(await stack.admin('GET', '/v1/users'), 'bad_request');
    for (const id of ['app_00000000000000000000000000', 'nonsense', 'grp_00000000000000000000000000']) assertProblem(await stack.admin('GET', '/v1/users', undefined, as(id)), 'not_found');
    const other = await stack.app('Other');
    assertProblem(await app.api('GET', '/v1/app', undefined, as(other.id)).then((r) => {
      assert.equal(r.body.id, app.id, 'an app key stays with its app whatever the header says');
      return stack.admin('GET', '/v1/me', undefined, as(app.id));
    }), 'not_found');
  });
});

describe('signing keys', () => {
  const make = (fields) => app.api('POST', '/v1/signing-keys', fields);
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }), rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const claims = (extra) => ({ iss: claimsOf(minted).iss, aud: app.id, sub: 'alice', iat: now(), exp: now() + 600, jti: randomUUID(), ...extra });
  let minted;
  before(async () => { minted = await app.token('alice'); });

  test('HS256: a secret shown once signs tokens outside', async () => {
    const made = await make({ alg: 'HS256' });
    assert.equal(made.status, 201, made.text);
    const secret = Buffer.from(made.body.secret, 'base64url');
    assert.equal(secret.length, 32);
    assert.equal(made.headers.get('location'), `/v1/signing-keys/${made.body.kid}`);
    assert.ok(!(await app.api('GET', '/v1/signing-keys')).text.includes(made.body.secret));
    const key = { alg: 'HS256', kid: made.body.kid, secret };
    const ok = await me(jwt(key, claims()));
    assert.equal(ok.status, 200, ok.text);
    assert.equal(ok.body.id, 'alice');
    assertProblem(await me(jwt({ ...key, secret: made.body.secret }, claims())), 'invalid_token', {});
    assertProblem(await me(jwt({ ...key, kid: 'never-made-key' }, claims())), 'unknown_kid');
    assertProblem(await make({ alg: 'HS256', jwk: { kty: 'oct', k: 'AAAA' } }), 'validation_failed', { pointer: '/jwk' });
    assertProblem(await make({ alg: 'HS512' }), 'validation_failed', { pointer: '/alg' });
    assertProblem(await make({ alg: 'none' }), 'validation_failed', { pointer: '/alg' });
  });

  for (const [alg, pair] of [['ES256', ec], ['RS256', rsa]]) {
    test(`${alg}: a public key verifies what the app signs`, async () => {
      const jwk = pair.publicKey.export({ format: 'jwk' });
      const made = await make({ alg, jwk: { ...jwk, kid: `${alg}-key-1` }, issuer: 'https://login.example' });
      assert.equal(made.status, 201, made.text);
      assert.equal(made.body.kid, `${alg}-key-1`);
      assert.equal('secret' in made.body, false);
      const key = { alg, kid: made.body.kid, privateKey: pair.privateKey };
      const good = await me(jwt(key, claims({ iss: 'https://login.example' })));
      assert.equal(good.status, 200, good.text);
      assertProblem(await me(jwt(key, claims())), 'invalid_token', {});
      const pem = pair.publicKey.export({ type: 'spki', format: 'pem' });
      for (const secret of [pem, pem.trim(), pair.publicKey.export({ type: 'spki', format: 'der' })]) {
        assertProblem(await me(jwt({ alg: 'HS256', kid: made.body.kid, secret }, claims({ iss: 'https://login.example' }))), 'invalid_token');
      }
      const bent = jwt(key, claims({ iss: 'https://login.example' })).split('.');
      assertProblem(await me(`${bent[0]}.${Buffer.from(JSON.stringify(claims({ sub: 'bob' }))).toString('base64url')}.${bent[2]}`), 'invalid_token');
      assertProblem(await me(`${bent[0]}.${bent[1]}.${Buffer.alloc(alg === 'ES256' ? 64 : 256).toString('base64url')}`), 'invalid_token');
      const jwks = await call(base, null, 'GET', `/v1/apps/${app.id}/jwks.json`);
      assert.equal(jwks.status, 200);
      assert.match(jwks.headers.get('cache-control'), /max-age=300/);
      const published = jwks.body.keys.find((k) => k.kid === made.body.kid);
      assert.equal(published.alg, alg);
      assert.equal(published.d, undefined);
      assertProblem(await make({ alg, jwk: { ...jwk, kid: `${alg}-key-1` } }), 'already_exists');
    });
  }

  test('refuse public keys that are none, or weak', async () => {
    const es = ec.publicKey.export({ format: 'jwk' }), rs = rsa.publicKey.export({ format: 'jwk' });
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ format: 'jwk' });
    const bad = [
      { alg: 'ES256' }, { alg: 'ES256', jwk: rs }, { alg: 'RS256', jwk: es }, { alg: 'RS256', jwk: small }, { alg: 'ES256', jwk: p384 }, { alg: 'ES256', jwk: ec.privateKey.export({ format: 'jwk' }) },
      { alg: 'RS256', jwk: rsa.privateKey.export({ format: 'jwk' }) }, { alg: 'RS256', jwk: { ...rs, e: 'AQ' } }, { alg: 'ES256', jwk: { ...es, x: es.y, y: es.x } }, { alg: 'ES256', jwk: { ...es, x: 'AA' } },
      { alg: 'ES256', jwk: { kty: 'EC' } }, { alg: 'ES256', jwk: {} }, { alg: 'ES256', jwk: { ...es, alg: 'ES384' } },
    ];
    for (const body of bad) {
      const r = assertProblem(await make(body), 'validation_failed');
      assert.ok(r.body.errors[0].pointer.startsWith('/jwk'), r.text);
    }
  });

  test('revoked ones no longer verify; the last one cannot be revoked', async () => {
    const own = await stack.app('One key');
    await own.user('u');
    const token = await own.token('u');
    const first = headerOf(token).kid;
    assertProblem(await own.api('DELETE', `/v1/signing-keys/${first}`), 'last_active_key');
    assert.equal((await me(token)).status, 200);
    const second = await own.api('POST', '/v1/signing-keys', { alg: 'HS256' });
    assert.equal((await own.api('DELETE', `/v1/signing-keys/${first}`)).status, 204);
    await until(async () => (await me(token)).status === 401, { timeout: 2000, what: 'the revocation' });
    assert.ok(['unknown_kid', 'invalid_token', 'token_revoked'].includes((await me(token)).body.code));
    assert.equal(headerOf(await own.token('u')).kid, second.body.kid);
    assertProblem(await own.api('DELETE', `/v1/signing-keys/${second.body.kid}`), 'last_active_key');
    assertProblem(await own.api('DELETE', '/v1/signing-keys/abcdefghij'), 'not_found');
    const listed = (await own.api('GET', '/v1/signing-keys')).body.data.find((k) => k.kid === first);
    assert.equal(typeof listed.revoked_at, 'string');
  });
});

describe('tokens', () => {
  const introspect = (token) => app.api('POST', '/v1/tokens/introspect', { token });

  test('are minted with the claims asked for', async () => {
    const r = await app.api('POST', '/v1/tokens', { user_id: 'alice', ttl_seconds: 120, device_id: 'phone' });
    assert.equal(r.status, 201, r.text);
    const c = claimsOf(r.body.token);
    assert.equal(c.aud, app.id);
    assert.equal(c.sub, 'alice');
    assert.equal(c.exp - c.iat, 120);
    assert.equal(c.device, 'phone');
    assert.equal(typeof c.jti, 'string');
    assert.equal(headerOf(r.body.token).alg, 'HS256');
    assert.ok(Math.abs(Date.parse(r.body.expires_at) / 1000 - c.exp) <= 1);
    assert.equal(r.body.user.id, 'alice');
    assertProblem(await app.api('POST', '/v1/tokens', { user_id: 'nobody' }), 'not_found');
    assert.equal((await app.api('POST', '/v1/tokens', { user_id: 'fresh', create_user: true })).status, 201);
    assert.equal((await app.api('GET', '/v1/users/fresh')).status, 200);
    for (const [body, pointer] of [[{}, '/user_id'], [{ user_id: 'alice', ttl_seconds: 86401 }, '/ttl_seconds'], [{ user_id: 'alice', ttl_seconds: 0 }, '/ttl_seconds'], [{ user_id: 7 }, '/user_id'],
      [{ user_id: 'alice', device_id: '' }, '/device_id']]) assertProblem(await app.api('POST', '/v1/tokens', body), 'validation_failed', { pointer });
  });

  test('are introspected: good or why not', async () => {
    const token = await app.token('alice');
    const good = await introspect(token);
    assert.equal(good.status, 200, good.text);
    assert.equal(good.body.active, true);
    assert.equal(good.body.claims.sub, 'alice');
    const other = await stack.app('Another');
    await other.user('alice');
    const foreign = await introspect(await other.token('alice'));
    assert.equal(foreign.body.active, false);
    assert.equal(foreign.body.code, 'invalid_token');
    for (const [text, code] of [['nonsense', 'invalid_token'], ['a.b.c', 'invalid_token'], [`${token}x`, 'invalid_token'], [token.slice(0, -6), 'invalid_token']]) {
      const r = await introspect(text);
      assert.equal(r.status, 200, r.text);
      assert.equal(r.body.active, false);
      assert.equal(r.body.code, code, r.text);
      assert.equal(typeof r.body.detail, 'string');
    }
    assert.equal((await introspect('nonsense')).body.claims, null);
  });

  test('are revoked one by one, per user and per app', async () => {
    const revoked = async (token, what) => {
      await until(async () => (await me(token)).status === 401, { timeout: 2000, what });
      assertProblem(await me(token), 'token_revoked');
      assert.equal((await introspect(token)).body.code, 'token_revoked');
    };
    const [one, two, bob] = [await app.token('alice'), await app.token('alice'), await app.token('bob')];
    for (const token of [one, two, bob]) assert.equal((await me(token)).status, 200);
    assert.equal((await app.api('POST', '/v1/users/alice/token-revocations', { jti: claimsOf(one).jti })).status, 204);
    await revoked(one, 'the revocation of a jti');
    assert.equal((await me(two)).status, 200, 'the other stays');
    await sleep(1100);
    assert.equal((await app.api('POST', '/v1/users/alice/token-revocations', {})).status, 204);
    await revoked(two, "the revocation of a user's tokens");
    assert.equal((await me(bob)).status, 200);
    await sleep(1100);
    assert.equal((await me(await app.token('alice'))).status, 200, 'a new token is good');
    const before = await app.api('POST', '/v1/token-revocations', { issued_before: new Date(Date.now() - 500).toISOString() });
    assert.equal(before.status, 202, before.text);
    await revoked(bob, "the revocation of the app's tokens");
    assertProblem(await app.api('POST', '/v1/users/nobody/token-revocations', {}), 'not_found');
    assertProblem(await app.api('POST', '/v1/users/alice/token-revocations', { issued_before: new Date(Date.now() + 60000).toISOString() }), 'validation_failed', { pointer: '/issued_before' });
    assert.equal((await app.api('POST', '/v1/token-revocations')).status, 202, 'without a body: all up to now');
  });

  test('of a deactivated user are refused until he returns', async () => {
    await app.user('gone');
    const token = await app.token('gone');
    assert.equal((await me(token)).status, 200);
    await app.api('DELETE', '/v1/users/gone');
    await until(async () => (await me(token)).status === 403, { timeout: 2000, what: 'the deactivation' });
    assertProblem(await me(token), 'user_banned');
  });
});
