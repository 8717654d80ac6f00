// Credentials on the socket: every refusal has its code in CONNECT_ERROR, and what is revoked later ends live sockets.
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect, dial } from '../lib/client.mjs';
import { claimsOf, errorCodes, headerOf, jwt } from '../lib/spec.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, other, gateway, key, issuer;
before(async () => {
  stack = await Stack.start();
  gateway = stack.endpoints.realtime[0];
  [app, other] = [await stack.app('Auth'), await stack.app('Other')];
  for (const id of ['alice', 'bob', 'carol', 'dave']) await app.user(id);
  await other.user('alice');
  const made = (await app.api('POST', '/v1/signing-keys', { alg: 'HS256' })).body;
  key = { alg: 'HS256', kid: made.kid, secret: Buffer.from(made.secret, 'base64url') };
  issuer = claimsOf(await app.token('alice')).iss;
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const codes = errorCodes();
const now = () => Math.floor(Date.now() / 1000);
const claims = (extra = {}) => {
  const c = { iss: issuer, aud: app.id, sub: 'alice', iat: now(), exp: now() + 600, jti: randomUUID(), ...extra };
  for (const [name, value] of Object.entries(c)) if (value === undefined) delete c[name];
  return c;
};

async function refused(auth, code, options = {}) {
  const c = dial(gateway, auth, options);
  const error = await c.wait('connect_error', () => true, 10000);
  const event = c.events.find((e) => e.name === 'connect_error');
  assert.ok([code].flat().includes(error?.code), `expected ${code}, got ${event.message} ${JSON.stringify(error)}`);
  assert.equal(event.message, error.code, 'the message is the code');
  assert.equal(typeof error.detail, 'string');
  assert.equal(error.retryable, codes[error.code].retryable);
  assert.equal(c.ready(), undefined);
  await c.close();
  return error;
}

describe('CONNECT is refused', () => {
  test('without a token', async () => {
    await refused(undefined, 'missing_credentials');
    await refused({}, 'missing_credentials');
    await refused({ token: '' }, 'missing_credentials');
    await refused({ token: null }, ['missing_credentials', 'invalid_token']);
    await refused({ token: 7 }, ['missing_credentials', 'invalid_token', 'validation_failed']);
    await refused({ token: { a: 1 } }, ['missing_credentials', 'invalid_token', 'validation_failed']);
  });

  for (const transports of [['polling'], ['websocket']]) {
    test(`over ${transports}, with the same words`, async () => {
      await refused({ token: 'nonsense' }, 'invalid_token', { transports });
      await refused(undefined, 'missing_credentials', { transports });
    });
  }

  const good = () => jwt(key, claims());
  const none = (alg) => `${Buffer.from(JSON.stringify({ alg, typ: 'JWT', kid: key.kid })).toString('base64url')}.${Buffer.from(JSON.stringify(claims())).toString('base64url')}.`;
  const [head, body] = [(h) => jwt(key, claims(), h), (c) => jwt(key, claims(c))];
  const byHand = (head, body) => {
    const text = [head ?? JSON.stringify({ alg: 'HS256', typ: 'JWT', kid: key.kid }), body ?? JSON.stringify(claims())].map((part) => Buffer.from(part).toString('base64url')).join('.');
    return `${text}.${createHmac('sha256', key.secret).update(text).digest('base64url')}`;
  };
  const cases = {
    'expired': [() => body({ iat: now() - 700, exp: now() - 100 }), 'token_expired'],
    'forged: another secret': [() => jwt({ ...key, secret: 'x'.repeat(32) }, claims()), 'invalid_token'],
    'forged: no signature': [() => `${good().split('.').slice(0, 2).join('.')}.`, 'invalid_token'],
    'forged: two parts': [() => good().split('.').slice(0, 2).join('.'), 'invalid_token'],
    'forged: four parts': [() => `${good()}.x`, 'invalid_token'],
    'forged: another body': [() => { const p = good().split('.'); return `${p[0]}.${Buffer.from(JSON.stringify(claims({ sub: 'bob' }))).toString('base64url')}.${p[2]}`; }, 'invalid_token'],
    'forged: padding': [() => `${good()}=`, 'invalid_token'],
    'forged: a space': [() => ` ${good()}`, 'invalid_token'],
    'alg none': [() => none('none'), 'invalid_token'],
    'alg None': [() => none('None'), 'invalid_token'],
    'alg nOnE': [() => none('nOnE'), 'invalid_token'],
    'alg none with an unknown kid': [() => jwt({ alg: 'none', kid: 'unknown-kid' }, claims()), ['invalid_token', 'unknown_kid']],
    'alg HS512': [() => head({ alg: 'HS512' }), 'invalid_token'],
    'alg ES256 with a secret': [() => head({ alg: 'ES256' }), 'invalid_token'],
    'alg is a list': [() => head({ alg: ['HS256'] }), 'invalid_token'],
    'alg is null': [() => head({ alg: null }), 'invalid_token'],
    'typ JWE': [() => head({ typ: 'JWE' }), 'invalid_token'],
    'crit': [() => head({ crit: ['exp'] }), 'invalid_token'],
    'b64 false': [() => head({ b64: false, crit: ['b64'] }), 'invalid_token'],
    'zip': [() => head({ zip: 'DEF' }), 'invalid_token'],
    'an embedded jwk': [() => { const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return jwt({ alg: 'ES256', kid: key.kid, privateKey: pair.privateKey }, claims(), { jwk: pair.publicKey.export({ format: 'jwk' }) }); }, 'invalid_token'],
    'jku': [() => head({ jku: 'http://127.0.0.1:1/jwks' }), 'invalid_token'],
    'unknown kid': [() => head({ kid: 'never-made-key' }), 'invalid_token'],
    'no kid': [() => head({ kid: undefined }), ['invalid_token', 'unknown_kid']],
    'an empty kid': [() => head({ kid: '' }), ['invalid_token', 'unknown_kid']],
    'kid with a path': [() => head({ kid: '../../etc/passwd' }), ['invalid_token', 'unknown_kid']],
    'kid with SQL': [() => head({ kid: "' or 1=1 --" }), ['invalid_token', 'unknown_kid']],
    'kid of 10 kB': [() => head({ kid: 'k'.repeat(10000) }), ['invalid_token', 'unknown_kid']],
    'kid is a number': [() => head({ kid: 7 }), ['invalid_token', 'unknown_kid']],
    'no exp': [() => body({ exp: undefined }), 'invalid_token'],
    'exp is a string': [() => body({ exp: String(now() + 600) }), 'invalid_token'],
    'exp negative': [() => body({ exp: -1 }), ['invalid_token', 'token_expired']],
    'exp in ten years': [() => body({ exp: now() + 315360000 }), 'invalid_token'],
    'exp beyond 2^53': [() => body({ exp: 9007199254740993 }), 'invalid_token'],
    'no iat': [() => body({ iat: undefined }), 'invalid_token'],
    'iat in the future': [() => body({ iat: now() + 300, exp: now() + 900 }), 'invalid_token'],
    'nbf in the future': [() => body({ nbf: now() + 300 }), 'invalid_token'],
    'no aud': [() => body({ aud: undefined }), 'invalid_token'],
    'aud is a list': [() => body({ aud: [app.id] }), 'invalid_token'],
    'aud of another app': [() => body({ aud: other.id }), ['unknown_kid', 'invalid_token']],
    'aud of no app': [() => body({ aud: 'app_00000000000000000000000000' }), ['unknown_kid', 'invalid_token']],
    'aud and more': [() => body({ aud: `${app.id}x` }), 'invalid_token'],
    'another issuer': [() => body({ iss: 'https://evil.example' }), 'invalid_token'],
    'no issuer': [() => body({ iss: undefined }), 'invalid_token'],
    'no sub': [() => body({ sub: undefined }), 'invalid_token'],
    'an empty sub': [() => body({ sub: '' }), 'invalid_token'],
    'a sub of odd form': [() => body({ sub: 'a\u0000b' }), 'invalid_token'],
    'a sub that is no user': [() => body({ sub: 'nobody' }), 'invalid_token'],
    'no jti': [() => body({ jti: undefined }), 'invalid_token'],
    'alg twice': [() => byHand(`{"alg":"none","alg":"HS256","typ":"JWT","kid":"${key.kid}"}`), 'invalid_token'],
    'sub twice': [() => byHand(undefined, JSON.stringify(claims()).replace('{', '{"sub":"bob",')), 'invalid_token'],
    'exp 1e400': [() => byHand(undefined, JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e400')), 'invalid_token'],
    'claims are no UTF-8': [() => byHand(undefined, Buffer.concat([Buffer.from('{"x":"'), Buffer.from([0xff]), Buffer.from('"}')])), 'invalid_token'],
    'claims are a list': [() => jwt(key, []), 'invalid_token'],
    'claims nested 10,000 deep': [() => jwt(key, '['.repeat(5000)), 'invalid_token'],
    "another app's token with our aud": [async () => { const t = await other.token('alice'); return jwt({ alg: 'HS256', kid: headerOf(t).kid, secret: key.secret }, claims()); }, ['unknown_kid', 'invalid_token']],
    'an API key': [() => app.key, 'invalid_token'],
    "the operator's key": [() => stack.endpoints.admin_key, 'invalid_token'],
  };
  for (const [name, [make, code]] of Object.entries(cases)) {
    test(name, async () => { await refused({ token: await make() }, code); });
  }

  test('after a deactivation, and not after the return', async () => {
    const token = await app.token('dave');
    await app.api('DELETE', '/v1/users/dave');
    await until(async () => (await refusal(token)) === 'user_banned', { timeout: 2000, every: 200, what: 'the deactivation' });
    await app.api('POST', '/v1/users/dave/reactivations');
    await until(async () => (await refusal(await app.token('dave'))) === 'none', { timeout: 2000, every: 200, what: 'the return' });
  });

  test('when the app is suspended', async () => {
    const brief = await stack.app('Brief');
    await brief.user('u');
    const token = await brief.token('u');
    await (await connect(gateway, token)).close();
    await stack.admin('PATCH', `/v1/apps/${brief.id}`, { status: 'suspended' });
    await until(async () => (await refusal(token)) === 'app_suspended', { timeout: 2000, every: 200, what: 'the suspension' });
    await refused({ token }, 'app_suspended');
  });

  test('for a namespace that is off or unknown', async () => {
    await refused({ token: await app.token('alice') }, 'feature_disabled', { namespace: '/game' });
    const c = dial(gateway, await app.token('alice'), { namespace: '/nothing' });
    await until(() => c.events.some((e) => e.name === 'connect_error' && e.message === 'Invalid namespace'), { what: 'the refusal, in the words of the reference server' });
    await c.close();
  });

  test('with 1 MiB of it', async () => {
    for (const transports of [['polling'], ['websocket']]) {
      const c = dial(gateway, { token: 'x'.repeat(1 << 20) }, { transports });
      const name = await until(() => c.events.find((e) => ['connect_error', 'disconnect'].includes(e.name))?.name, { timeout: 10000, what: `an answer over ${transports}` });
      assert.equal(c.ready(), undefined, name);
      await c.close();
    }
    const after = await connect(gateway, await app.token('alice'));
    assert.equal((await after.send('server.ping', { t: 1 })).ok, true, 'the gateway lives');
    await after.close();
    assert.ok(!stack.logs().includes('x'.repeat(1000)));
  });

  test('with fields that are none of it', async () => {
    await refused({ token: await app.token('alice'), device_id: 'd'.repeat(200) }, ['validation_failed', 'invalid_token']);
    const c = dial(gateway, { token: await app.token('alice'), device_id: 7 });
    await until(() => c.events.length > 0, { what: 'an answer' });
    assert.notEqual(c.ready()?.device_id, 7);
    await c.close();
  });
});

/** The code of the refusal, or 'none' when the session starts. */
async function refusal(token) {
  const c = dial(gateway, token);
  const event = await until(() => c.events.find((e) => ['connect_error', 'session.ready'].includes(e.name)), { timeout: 5000, what: 'an answer' });
  await c.close();
  return event.name === 'session.ready' ? 'none' : event.data?.code;
}

describe('CONNECT is accepted', () => {
  test('with tokens signed outside, of each algorithm, and within the leeway', async () => {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }), rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const keys = [key];
    for (const [alg, pair] of [['ES256', ec], ['RS256', rsa]]) {
      const made = await app.api('POST', '/v1/signing-keys', { alg, jwk: pair.publicKey.export({ format: 'jwk' }) });
      assert.equal(made.status, 201, made.text);
      keys.push({ alg, kid: made.body.kid, privateKey: pair.privateKey });
    }
    for (const k of keys) {
      const c = await connect(gateway, jwt(k, claims()));
      assert.equal(c.ready().user.id, 'alice', k.alg);
      await c.close();
    }
    const late = await connect(gateway, jwt(key, claims({ iat: now() - 600, exp: now() - 30 })));
    await late.close();
    const early = await connect(gateway, jwt(key, claims({ iat: now() + 30 })));
    await early.close();
  });

  test('with the device of the token, or of the auth object', async () => {
    const byToken = await connect(gateway, await app.token('alice', { device_id: 'phone' }));
    assert.equal(byToken.ready().device_id, 'phone');
    await byToken.close();
    const byAuth = await connect(gateway, { token: await app.token('alice'), device_id: 'tablet' });
    assert.equal(byAuth.ready().device_id, 'tablet');
    await byAuth.close();
  });
});

describe('live sockets end within 2 s', () => {
  const ended = (c, what) => until(() => c.events.some((e) => e.name === 'disconnect'), { timeout: 2000, what });

  // Before the revocations below, which end all older tokens of the app.
  test('when the token runs out', async () => {
    const c = await connect(gateway, jwt(key, claims({ iat: now() - 600, exp: now() - 57 })));
    await until(() => c.events.some((e) => e.name === 'disconnect'), { timeout: 8000, what: 'the end of the leeway' });
  });

  test('when their token is revoked, by jti, user and app', async () => {
    const [one, two] = [await app.token('alice'), await app.token('alice')];
    const [a, b, c] = await Promise.all([connect(gateway, one), connect(gateway, two), connect(gateway, await app.token('bob'))]);
    await app.api('POST', '/v1/users/alice/token-revocations', { jti: claimsOf(one).jti });
    await ended(a, 'the end of the revoked one');
    await sleep(300);
    assert.equal(b.of('disconnect').length, 0, 'the other token of the user stays');
    await refused({ token: one }, 'token_revoked');
    await sleep(1100);
    await app.api('POST', '/v1/users/alice/token-revocations', {});
    await ended(b, "the end of the user's sockets");
    assert.equal(c.of('disconnect').length, 0, 'other users stay');
    await refused({ token: two }, 'token_revoked');
    await sleep(1100);
    await app.api('POST', '/v1/token-revocations', {});
    await ended(c, "the end of the app's sockets");
    await sleep(1100);
    const again = await connect(gateway, await app.token('alice'));
    await again.close();
  });

  test('when the user is deactivated', async () => {
    await sleep(1100);
    const c = await connect(gateway, await app.token('carol'));
    await app.api('DELETE', '/v1/users/carol');
    await ended(c, 'the end');
  });

  test('when the app is suspended or deleted', async () => {
    for (const finish of [(id) => stack.admin('PATCH', `/v1/apps/${id}`, { status: 'suspended' }), (id) => stack.admin('DELETE', `/v1/apps/${id}?confirm=Ends`)]) {
      const ends = await stack.app('Ends');
      await ends.user('u');
      const c = await connect(gateway, await ends.token('u'));
      await finish(ends.id);
      await ended(c, 'the end');
    }
  });

  test('when the signing key is revoked', async () => {
    const made = (await app.api('POST', '/v1/signing-keys', { alg: 'HS256' })).body;
    const c = await connect(gateway, jwt({ alg: 'HS256', kid: made.kid, secret: Buffer.from(made.secret, 'base64url') }, claims()));
    await app.api('DELETE', `/v1/signing-keys/${made.kid}`);
    await ended(c, 'the end');
  });
});

test('tokens and keys are in no log', async () => {
  const token = await app.token('alice');
  const c = await connect(gateway, token);
  await c.close();
  const logs = stack.logs();
  assert.ok(!logs.includes(token.split('.')[2]));
  assert.ok(!logs.includes(app.key.slice(22)));
  assert.ok(!logs.includes(stack.endpoints.admin_key.slice(21)));
});
