// A token's life on live sockets: the warning, the refresh, the end behind the leeway, and that what is revoked ends everywhere within a second.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import { closeAll, connect, dial } from '../lib/client.mjs';
import { claimsOf, jwt } from '../lib/spec.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, other, urls, key, issuer;
before(async () => {
  stack = await Stack.start({ gateways: 2 });
  urls = stack.endpoints.realtime;
  [app, other] = [await stack.app('Life', { features: { games: true } }), await stack.app('Other')];
  for (const id of ['alice', 'bob', 'carol', 'dave']) await app.user(id);
  await other.user('alice');
  const made = (await app.api('POST', '/v1/signing-keys', { alg: 'HS256' })).body;
  key = { alg: 'HS256', kid: made.kid, secret: Buffer.from(made.secret, 'base64url') };
  issuer = claimsOf(await app.token('alice')).iss;
});
afterEach(closeAll);
after(async () => {
  closeAll();
  await stack?.stop();
});

const now = () => Math.floor(Date.now() / 1000);
const LEEWAY = 60;
/** A token of `user` that ends in `seconds`, negative ones within the leeway. */
const ending = (seconds, user = 'alice', extra = {}) => jwt(key, { iss: issuer, aud: app.id, sub: user, iat: now() - 120, exp: now() + seconds, jti: randomUUID(), ...extra });
const expiry = (token) => new Date(claimsOf(token).exp * 1000).toISOString();
const ends = (c, timeout = 10000) => c.wait('disconnect', () => true, timeout);

describe('token.expiring', () => {
  test('comes 60 s before the end, once', async () => {
    const token = ending(63);
    const c = await connect(urls[0], token);
    await sleep(500);
    assert.equal(c.of('token.expiring').length, 0);
    assert.deepEqual(await c.wait('token.expiring', () => true, 6000), { expires_at: expiry(token) });
    assert.ok(Date.now() >= (claimsOf(token).exp - 60) * 1000);
    await sleep(500);
    assert.equal(c.of('token.expiring').length, 1);
    assert.equal((await c.send('server.ping', {})).ok, true);
  });

  test('comes at once, behind session.ready, when the token has less', async () => {
    for (const namespace of ['/', '/game']) {
      const token = ending(20);
      const c = await connect(urls[1], token, { namespace });
      await c.wait('token.expiring');
      assert.deepEqual(c.events.slice(0, 2).map((e) => e.name), ['session.ready', 'token.expiring']);
      assert.equal(c.ready().token_expires_at, expiry(token));
      await c.close();
    }
  });
});

describe('the end behind the leeway', () => {
  test('is a DISCONNECT, in both namespaces, since the same token is of no use', async () => {
    const token = ending(2 - LEEWAY);
    const clients = await Promise.all([connect(urls[0], token, { reconnection: true }), connect(urls[1], token, { namespace: '/game' })]);
    for (const c of clients) assert.equal(await ends(c), 'io server disconnect');
    assert.ok(Date.now() >= (claimsOf(token).exp + LEEWAY) * 1000, 'not before');
    assert.ok(Date.now() <= (claimsOf(token).exp + LEEWAY) * 1000 + 2000, 'not long behind');
    const again = dial(urls[0], token);
    assert.equal((await again.wait('connect_error')).code, 'token_expired');
  });
});

describe('token.refresh', () => {
  for (const namespace of ['/', '/game']) {
    test(`in ${namespace} moves the warning and the end`, async () => {
      const old = ending(2 - LEEWAY), fresh = ending(62);
      const c = await connect(urls[0], old, { namespace });
      assert.deepEqual(await c.send('token.refresh', { token: fresh }), { ok: true, expires_at: expiry(fresh) });
      await c.wait('token.expiring', (x) => x.expires_at === expiry(fresh), 6000);
      await until(() => Date.now() > (claimsOf(old).exp + LEEWAY) * 1000 + 1500, { timeout: 8000, what: "the old token's end" });
      assert.equal((await c.send('server.ping', {})).ok, true, 'it lives on');
      const soon = ending(2 - LEEWAY);
      assert.equal((await c.send('token.refresh', { token: soon })).ok, true);
      assert.equal(await ends(c), 'io server disconnect', 'a shorter life counts too');
    });
  }

  test('is refused with its reason, and the session goes on', async () => {
    const c = await connect(urls[0], { token: ending(600), device_id: 'phone' });
    const revoked = await app.token('alice');
    assert.equal((await app.api('POST', '/v1/users/alice/token-revocations', { jti: claimsOf(revoked).jti })).status, 204);
    const cases = [[ending(600, 'bob'), 'invalid_token'], [await other.token('alice'), 'invalid_token'], [ending(600, 'alice', { device: 'tablet' }), 'invalid_token'], ['nonsense', 'invalid_token'],
      [ending(-LEEWAY - 5), 'token_expired'], [revoked, 'token_revoked']];
    for (const [token, code] of cases) {
      const answer = await c.send('token.refresh', { token });
      assert.deepEqual([answer.ok, answer.error?.code, answer.error?.retryable], [false, code, false], JSON.stringify(answer));
      await sleep(1100); // they are limited to one a second
    }
    assert.equal((await c.send('token.refresh', {})).error.code, 'validation_failed');
    assert.equal((await c.send('server.ping', {})).ok, true);
    assert.equal((await c.send('token.refresh', { token: ending(600, 'alice', { device: 'phone' }) })).ok, true);
  });

  test('is limited in its frequency', async () => {
    const c = await connect(urls[1], ending(600));
    const answers = await Promise.all(Array.from({ length: 20 }, () => c.send('token.refresh', { token: ending(600) })));
    const refused = answers.filter((a) => !a.ok);
    assert.ok(refused.length >= 10, `${refused.length}`);
    for (const a of refused) {
      assert.deepEqual([a.error.code, a.error.retryable], ['rate_limited', true]);
      assert.ok(a.error.retry_after_ms > 0);
    }
    assert.ok(answers.some((a) => a.ok));
  });

  test('makes the new token the one that counts for revocations', async () => {
    const [one, two] = [await app.token('dave'), await app.token('dave')];
    const c = await connect(urls[0], one);
    assert.equal((await c.send('token.refresh', { token: two })).ok, true);
    await app.api('POST', '/v1/users/dave/token-revocations', { jti: claimsOf(one).jti });
    await sleep(500);
    assert.equal((await c.send('server.ping', {})).ok, true, 'the old one does not count any more');
    await app.api('POST', '/v1/users/dave/token-revocations', { jti: claimsOf(two).jti });
    assert.equal(await ends(c, 2000), 'io server disconnect');
  });
});

describe('a revocation ends the sockets of all nodes within a second', () => {
  const ways = {
    'of one token': async (a, tokens) => a.api('POST', '/v1/users/u/token-revocations', { jti: claimsOf(tokens[0]).jti }),
    'of a user': async (a) => a.api('POST', '/v1/users/u/token-revocations', {}),
    'of an app': async (a) => a.api('POST', '/v1/token-revocations', {}),
    'by deactivating the user': async (a) => a.api('DELETE', '/v1/users/u'),
    'by suspending the app': async (a) => stack.admin('PATCH', `/v1/apps/${a.id}`, { status: 'suspended' }),
    'by deleting the app': async (a) => stack.admin('DELETE', `/v1/apps/${a.id}?confirm=Revoked`),
  };
  for (const [name, revoke] of Object.entries(ways)) {
    test(name, async () => {
      const took = [];
      for (let attempt = 0; attempt < 3; attempt++) { // the machine is shared: the best of three
        const a = await stack.app('Revoked', { features: { games: true } });
        await a.user('u');
        const token = await a.token('u');
        const clients = await Promise.all(urls.flatMap((url) => [...['polling', 'websocket'].map((t) => connect(url, token, { transports: [t] })), connect(url, token, { namespace: '/game' })]));
        const r = await revoke(a, [token]);
        assert.ok(r.status < 300, r.text);
        const begun = performance.now();
        for (const c of clients) assert.equal(await ends(c, 5000), 'io server disconnect');
        took.push(Math.max(...clients.map((c) => c.events.find((e) => e.name === 'disconnect').at)) - begun);
        await Promise.all(clients.map((c) => c.close()));
        if (took.at(-1) <= 1000) return;
      }
      assert.fail(`it took ${took.map((ms) => Math.round(ms))} ms`);
    });
  }

  test('of an app with many sockets', async () => {
    const many = await stack.app('Many', { limits: { connections_per_user: 1000 } });
    for (let i = 0; i < 10; i++) await many.user(`u${i}`);
    const tokens = await Promise.all(Array.from({ length: 10 }, (_, i) => many.token(`u${i}`)));
    const clients = await Promise.all(Array.from({ length: 200 }, (_, i) => connect(urls[i % 2], tokens[i % 10], { transports: ['websocket'], timeout: 30000 })));
    await many.api('POST', '/v1/token-revocations', {});
    await Promise.all(clients.map((c) => ends(c, 5000)));
  });

  test('also those that are just connecting', async () => {
    const a = await stack.app('Racing');
    for (let round = 0; round < 10; round++) {
      const id = `u${round}`;
      await a.user(id);
      const token = await a.token(id);
      await (await connect(urls[0], token)).close(); // what is known of it is cached
      const clients = Array.from({ length: 6 }, (_, i) => dial(urls[i % 2], token, { transports: ['websocket'] }));
      await sleep(round * 4);
      const r = await a.api('POST', `/v1/users/${id}/token-revocations`, {});
      assert.equal(r.status, 204);
      for (const c of clients) await until(() => c.events.some((e) => ['disconnect', 'connect_error'].includes(e.name)), { timeout: 5000, what: 'the end' });
      for (const c of clients) await c.close();
    }
  });
});
