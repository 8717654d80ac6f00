// Tenant isolation, generated from the tables: every route and every event that takes an id is called as app B with app A's ids and answers as for an id that
// does not exist; A's rows stay as they were; twin apps see nothing of each other in answers, frames, logs, metrics and Redis; the schema has its fences.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect } from '../lib/client.mjs';
import { events, restDocument, routes } from '../lib/spec.mjs';
import { Stack, call, sleep, until } from '../lib/stack.mjs';

const MARK = { a: 'markeralpha7f3', b: 'markerbravo9c1' };
const SECRET_TEXT = 'onlyinalpha5d2';
let stack, gateway, a, b;

before(async () => {
  stack = await Stack.start();
  gateway = stack.endpoints.realtime[0];
  [a, b] = [await furnish('a'), await furnish('b')];
  [UNKNOWN, UNKNOWN_DIRECT] = [a.group.id, a.direct.id].map((id) => id.slice(4, -4) + (id.endsWith('0000') ? '1111' : '0000'));
  // What A has and B has not.
  for (const id of ['only-a', 'only-a-2', 'only-a-3', 'only-a-4']) await a.app.user(id, { name: SECRET_TEXT });
  await a.app.api('PUT', '/v1/roles/only-a-role', { permissions: ['send_messages'] });
  await a.app.api('PUT', '/v1/conversations/direct/alice/only-a');
});
after(async () => {
  closeAll();
  await stack?.stop();
});

/** A twin: the same user ids, group names, external ids, client ids; the twin's marker in every text. */
async function furnish(name) {
  const mark = MARK[name], app = await stack.app(`Twin ${mark}`, { metadata: { note: mark } });
  const ok = (r) => (assert.ok(r.status < 300, r.text), r.body);
  for (const id of ['alice', 'bob', 'carol']) ok(await app.api('PUT', `/v1/users/${id}`, { name: `${id} ${mark}`, avatar_url: `https://${mark}.example/x.png`, metadata: { note: mark } }));
  ok(await app.api('PUT', '/v1/roles/helper', { permissions: ['send_messages'] }));
  const group = ok(await app.api('POST', '/v1/groups', { name: 'Twins', external_id: 'twin', metadata: { note: mark }, members: ['alice', 'bob'].map((user_id) => ({ user_id, role: 'admin' })) }));
  const named = ok(await app.api('POST', '/v1/groups', { name: `Group ${mark}`, member_ids: ['alice', 'bob'] }));
  const direct = ok(await app.api('PUT', '/v1/conversations/direct/alice/bob'));
  const message = ok(await app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: `hello ${mark}`, client_msg_id: 'same-id', metadata: { note: mark } }));
  ok(await app.api('POST', `/v1/conversations/${direct.id}/messages`, { sender_id: 'alice', text: `direct ${mark}`, client_msg_id: 'same-id' }));
  const key = ok(await app.api('POST', '/v1/api-keys', { name: `key ${mark}`, scopes: ['users:read'] }));
  const jwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' });
  const signing = ok(await app.api('POST', '/v1/signing-keys', { alg: 'ES256', jwk, issuer: `https://${mark}.example` }));
  return { name, mark, app, group, named, direct, message, key, signing, token: await app.token('alice') };
}

/** Every row of A, as one hash for each table. */
let sums;
async function checksum() {
  if (!sums) {
    const tables = await stack.sql(`select table_name from information_schema.columns where table_schema = 'public' and column_name = 'app_id' order by 1`);
    const [[uuid]] = await stack.sql(`select app_id from apps where name like '%${MARK.a}%'`);
    sums = tables.map(([t]) => `select '${t}', count(*), md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from ${t} t where app_id = '${uuid}'`).join(' union all ');
  }
  return Object.fromEntries((await stack.sql(sums)).map(([t, n, sum]) => [t, `${n} ${sum}`]));
}

/** An answer without what differs in every answer. */
const plain = (value, ids) => {
  let text = typeof value === 'string' ? value : JSON.stringify(value) ?? '';
  for (const id of ids) text = text.replaceAll(encodeURIComponent(id), '<id>').replaceAll(id, '<id>');
  return text.replace(/req_[0-9a-z]{26}/g, '<request>').replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>').replace(/(grp|dir|msg|key)_[0-9a-z]{26}/g, '<made>').replace(/"(jti|token|sid|secret|last4)":"[^"]*"/g, '"$1":"<>"');
};

let UNKNOWN, UNKNOWN_DIRECT; // the 26 characters of ids in due form that nobody has
// For each id parameter: what A has, and what nobody has.
const foreign = () => ({
  app_id: [[a.app.id, `app_${UNKNOWN}`]],
  key_id: [[a.key.id, `key_${UNKNOWN}`]],
  kid: [[a.signing.kid, 'never-made-kid']],
  user_id: [['only-a', 'never-was']],
  group_id: [[a.group.id, `grp_${UNKNOWN}`], [a.named.id, `grp_${UNKNOWN}`]],
  conversation_id: [[a.group.id, `grp_${UNKNOWN}`], [a.direct.id, `dir_${UNKNOWN_DIRECT}`]],
  name: [['only-a-role', 'never-was-role']],
  user_a: [['only-a', 'never-was']],
  user_b: [['only-a', 'never-was']],
});
const own = { user_id: 'bob', user_a: 'alice', user_b: 'bob', name: 'helper' };
const PUBLIC = new Set(['apps.jwks']); // public keys, for everybody

function exampleBody(document, route) {
  const content = document.paths[route.path][route.method.toLowerCase()].requestBody?.content?.['application/json'];
  return content ? content.example ?? Object.values(content.examples ?? {})[0]?.value ?? {} : undefined;
}

describe('routes', () => {
  const document = restDocument();
  const withIds = routes().filter((r) => r.path.includes('{'));

  test('every parameter has its ids here', () => {
    const names = new Set(withIds.flatMap((r) => [...r.path.matchAll(/\{(\w+)\}/g)].map((m) => m[1])));
    for (const name of names) assert.ok(name in foreign(), `parameter ${name}: say what A has and B has not`);
  });
  for (const route of withIds) {
    test(`${route.operation} with A's ids is as with unknown ones`, async () => {
      const before_ = await checksum();
      const params = [...route.path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
      const document_ = exampleBody(document, route);
      const callers = [['key', b.app.key]];
      if (['U', 'KU'].includes(route.auth)) callers.push(['user', b.token]);
      if (route.auth === 'NONE') callers.push(['nobody', null]);
      for (const subject of params) {
        for (const [theirs, unknown] of foreign()[subject]) {
          for (const [who, credential] of callers) {
            const ask = async (id) => {
              const path = route.path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(name === subject ? id : own[name] ?? foreign()[name][0][1]));
              const query = route.operation === 'apps.delete' ? '?confirm=x' : '';
              const base = route.listener === 'ADMIN' ? stack.endpoints.admin : stack.endpoints.api;
              return call(base, credential, route.method, path + query, document_);
            };
            const [there, nowhere] = [await ask(theirs), await ask(unknown)];
            const what = `${route.method} ${route.path} ${subject}=${theirs} by B's ${who}: ${there.status} ${there.text} / ${nowhere.status} ${nowhere.text}`;
            if (PUBLIC.has(route.operation)) {
              assert.ok(!there.text.includes(MARK.a) && !there.text.includes('"d"'), what);
              continue;
            }
            assert.equal(there.status, nowhere.status, what);
            assert.equal(plain(there.text, [theirs]), plain(nowhere.text, [unknown]), what);
            const creates = ['users.upsert', 'roles.put'].includes(route.operation);
            assert.ok(creates ? [200, 201].includes(there.status) : there.status >= 400 && there.status < 500, what);
            assert.ok(!there.text.includes(SECRET_TEXT) && !there.text.includes(MARK.a), what);
          }
        }
      }
      assert.deepEqual(await checksum(), before_, "A's rows are unchanged");
      // B's own resources of those names, made just now, must not blur the next route.
      if (route.operation === 'users.upsert') await stack.sql(`delete from users where user_id in ('only-a', 'never-was') and name <> '${SECRET_TEXT}'`);
      if (route.operation === 'roles.put') await b.app.api('DELETE', '/v1/roles/only-a-role').then(() => b.app.api('DELETE', '/v1/roles/never-was-role'));
    });
  }

  test("A's ids in bodies, queries and headers are as unknown ones", async () => {
    const before_ = await checksum();
    const send = `/v1/conversations/${b.group.id}/messages`;
    const cases = [
      (x) => ['POST', '/v1/groups', { name: 'x', member_ids: ['alice', x.user] }],
      (x) => ['POST', '/v1/groups', { name: 'x', members: [{ user_id: 'alice', role: x.role }] }],
      (x) => ['PUT', `/v1/groups/${b.group.id}/members/alice`, { role: x.role }],
      (x) => ['PUT', `/v1/groups/${b.group.id}/members/${x.user}`, {}],
      (x) => ['POST', `/v1/groups/${b.group.id}/members/batch`, { items: [{ user_id: x.user }] }],
      (x) => ['POST', send, { sender_id: x.user, text: 'x' }],
      (x) => ['POST', '/v1/tokens', { user_id: x.user }],
      (x) => ['POST', '/v1/tokens/introspect', { token: x.token }],
      (x) => ['GET', `/v1/groups?member=${x.user}`],
      (x) => ['GET', `/v1/groups?external_id=${x.external}`],
      (x) => ['GET', `/v1/conversations?member=${x.user}`],
      (x) => ['GET', `/v1/users?q=${x.text}`],
      (x) => ['GET', `/v1/users?role=${x.role}`],
      (x) => ['POST', `/v1/users/alice/token-revocations`, { jti: x.jti }],
      (x) => ['GET', '/v1/app', undefined, { 'parley-app': x.app }],
    ];
    const claims = JSON.parse(Buffer.from(a.token.split('.')[1], 'base64url'));
    const theirs = { user: 'only-a', role: 'only-a-role', token: a.token, external: 'twin-a', text: SECRET_TEXT, jti: claims.jti, app: a.app.id };
    const nobodys = { user: 'never-was', role: 'never-was-role', token: a.token.slice(0, -8) + 'AAAAAAAA', external: 'none-at', text: 'nowhereatall00', jti: randomUUID(), app: `app_${UNKNOWN}` };
    for (const make of cases) {
      const [there, nowhere] = [await b.app.api(...make(theirs)), await b.app.api(...make(nobodys))];
      const what = `${make(theirs).slice(0, 2).join(' ')}: ${there.status} ${there.text} / ${nowhere.status} ${nowhere.text}`;
      assert.equal(there.status, nowhere.status, what);
      const ids = [...Object.values(theirs), ...Object.values(nobodys)];
      assert.equal(plain(there.text, ids), plain(nowhere.text, ids), what);
    }
    assert.equal((await a.app.as(a.token)('GET', '/v1/me')).status, 200, "B cannot revoke A's token by its jti");
    assert.deepEqual(await checksum(), before_);
  });
});

describe('events', () => {
  // For each event of a client that takes ids: its payload. Those without ids stand with null.
  const payloads = {
    'server.ping': null,
    'token.refresh': null, // another app's token: scenario/token-life.test.mjs
    'message.send': [(x) => ({ conversation_id: x.conversation, text: 'x' }), (x) => ({ to: x.user, text: 'x' })],
    'history.get': [(x) => ({ conversation_id: x.conversation })],
    'sync': [(x) => ({ conversations: { [x.conversation]: 0 } })],
    'receipt.delivered': [(x) => ({ conversation_id: x.conversation, seq: 1 })],
    'receipt.read': [(x) => ({ conversation_id: x.conversation, seq: 1 })],
    'typing.set': [(x) => ({ conversation_id: x.conversation, on: true })],
    'presence.subscribe': [(x) => ({ user_ids: [x.user] })],
    'presence.unsubscribe': [(x) => ({ user_ids: [x.user] })],
    'presence.set': null,
    'group.create': [(x) => ({ client_id: x.client, name: 'x', member_ids: [x.user] })],
    'group.update': [(x) => ({ conversation_id: x.group, name: 'x' })],
    'group.leave': [(x) => ({ conversation_id: x.group })],
    'member.add': [(x) => ({ conversation_id: x.group, user_ids: ['carol'] }), (x) => ({ conversation_id: b.group.id, user_ids: [x.user] })],
    'member.remove': [(x) => ({ conversation_id: x.group, user_id: 'bob' }), (x) => ({ conversation_id: b.group.id, user_id: x.user })],
    'member.role': [(x) => ({ conversation_id: x.group, user_id: 'bob', role: 'member' }), (x) => ({ conversation_id: b.group.id, user_id: x.user, role: 'member' }),
      (x) => ({ conversation_id: b.group.id, user_id: 'bob', role: x.role })],
  };
  let witness, intruder;
  before(async () => {
    [witness, intruder] = [await connect(gateway, await a.app.token('alice')), await connect(gateway, b.token)];
  });
  after(async () => { await Promise.all([witness?.close(), intruder?.close()]); });

  test('all have their payloads here', () => {
    assert.deepEqual(events().filter((e) => e.dir === 'in').map((e) => e.name).sort(), Object.keys(payloads).sort());
  });

  for (const event of events().filter((e) => e.dir === 'in' && payloads[e.name])) {
    test(`${event.name} with A's ids is as with unknown ones`, async () => {
      await sleep(1300); // watermarks of what A's witness acked are stored
      const before_ = await checksum(), heard = witness.events.length;
      for (const make of payloads[event.name]) {
        for (const kind of ['grp', 'dir']) {
          const theirs = { user: 'only-a', conversation: kind === 'grp' ? a.group.id : a.direct.id, group: a.group.id, role: 'only-a-role', client: 'client-1' };
          const unknown = { user: 'never-was', conversation: kind === 'grp' ? `grp_${UNKNOWN}` : `dir_${UNKNOWN_DIRECT}`, group: `grp_${UNKNOWN}`, role: 'never-was-role', client: 'client-1' };
          if (!event.ack) {
            intruder.socket.emit(event.name, make(theirs));
            continue;
          }
          const [there, nowhere] = [await intruder.send(event.name, make(theirs)), await intruder.send(event.name, make(unknown))];
          const what = `${event.name} ${JSON.stringify(make(theirs))}: ${JSON.stringify(there)} / ${JSON.stringify(nowhere)}`;
          assert.equal(plain(there, Object.values(theirs)), plain(nowhere, Object.values(unknown)), what);
          if (!['sync', 'presence.subscribe', 'presence.unsubscribe'].includes(event.name)) assert.equal(there.ok, false, what);
          assert.ok(!JSON.stringify(there).includes(MARK.a), what);
        }
      }
      await sleep(300);
      assert.deepEqual(witness.events.slice(heard).filter((e) => e.name !== 'disconnect'), [], 'A hears nothing of it');
      assert.deepEqual(await checksum(), before_, "A's rows are unchanged");
    });
  }
});

describe('twins', () => {
  const told = { a: [], b: [] };

  test('chat at the same time under the same names', async () => {
    const clients = {};
    for (const twin of [a, b]) {
      clients[twin.name] = await Promise.all(['alice', 'bob'].map(async (user) => connect(gateway, { token: await twin.app.token(user), device_id: 'same' })));
    }
    const acts = async (twin) => {
      const [alice, bob] = clients[twin.name];
      const keep = async (promise) => { const r = await promise; told[twin.name].push(JSON.stringify(r)); return r; };
      await keep(alice.send('presence.subscribe', { user_ids: ['bob', 'carol'] }));
      await keep(bob.send('presence.set', { status: 'busy', text: twin.mark }));
      alice.socket.emit('typing.set', { conversation_id: twin.group.id, on: true });
      for (let i = 0; i < 5; i++) {
        assert.equal((await keep(alice.send('message.send', { conversation_id: twin.group.id, text: `${i} ${twin.mark}`, client_msg_id: `same-${i}`, metadata: { note: twin.mark } }))).ok, true);
        assert.equal((await keep(bob.send('message.send', { to: 'alice', type: 'custom', data: { note: twin.mark }, client_msg_id: `same-${i}` }))).ok, true);
      }
      const made = await keep(alice.send('group.create', { client_id: 'same', name: `Made ${twin.mark}`, member_ids: ['bob'], metadata: { note: twin.mark } }));
      assert.equal(made.ok, true, JSON.stringify(made));
      assert.equal((await keep(alice.send('group.update', { conversation_id: made.group.id, name: `Again ${twin.mark}` }))).ok, true);
      await keep(bob.send('receipt.read', { conversation_id: twin.group.id, seq: 3 }));
      await keep(bob.send('history.get', { conversation_id: twin.group.id }));
      await keep(bob.send('sync', { conversations: { [twin.group.id]: 0, [twin.direct.id]: 0 } }));
      await keep(alice.send('message.send', { conversation_id: twin.group.id, text: 'a mistake', colour: twin.mark }));
    };
    await Promise.all([acts(a), acts(b)]);
    await sleep(1500);
    for (const twin of [a, b]) {
      for (const c of clients[twin.name]) {
        told[twin.name].push(...c.events.map((e) => JSON.stringify([e.name, e.data])));
        await c.close();
      }
    }
    assert.ok(told.a.length > 60, String(told.a.length));
    for (const twin of [a, b]) assert.ok(told[twin.name].some((text) => text.includes(twin.mark)));
  });

  test('read everything that REST has for them', async () => {
    for (const twin of [a, b]) {
      const ids = { app_id: twin.app.id, user_id: 'alice', group_id: twin.group.id, conversation_id: twin.group.id, name: 'helper', kid: twin.signing.kid, key_id: twin.key.id };
      const needs = { 'conversations.list': '?member=alice' };
      for (const r of routes().filter((one) => one.method === 'GET')) {
        const path = r.path.replace(/\{(\w+)\}/g, (_, name) => ids[name]) + (needs[r.operation] ?? '');
        const headers = r.auth === 'K' || r.auth === 'KU' ? { 'parley-app': twin.app.id } : {};
        const credentials = r.auth === 'U' ? [twin.token] : r.auth === 'KU' ? [twin.app.key, twin.token] : [twin.app.key];
        if (r.listener === 'ADMIN') continue; // the operator sees all
        for (const credential of credentials) {
          const answer = await call(stack.endpoints.api, credential, 'GET', path, undefined, headers);
          assert.equal(answer.status < 400, true, `${r.operation}: ${answer.status} ${answer.text}`);
          told[twin.name].push(answer.text);
        }
      }
    }
  });

  test('and were told nothing of each other', () => {
    for (const [me, other] of [[a, b], [b, a]]) {
      for (const text of told[me.name]) {
        for (const secret of [other.mark, other.app.id, other.group.id, other.direct.id, other.named.id, other.message.id, other.key.id, other.signing.kid]) {
          assert.ok(!text.includes(secret), `${me.name} was told ${secret}: ${text.slice(0, 300)}`);
        }
      }
    }
    assert.ok(!told.b.some((text) => text.includes(SECRET_TEXT) || text.includes('only-a-role')));
  });

  test('no text of either is in a log or a metric', async () => {
    const dir = join(stack.dir, 'logs');
    for (const file of readdirSync(dir)) {
      const text = readFileSync(join(dir, file), 'utf8');
      for (const secret of [MARK.a, MARK.b, SECRET_TEXT, a.token.split('.')[2], b.app.key.slice(22)]) assert.ok(!text.includes(secret), `${file} holds ${secret}`);
    }
    for (const url of stack.endpoints.metrics) {
      const text = await (await fetch(url)).text();
      for (const secret of [MARK.a, MARK.b, SECRET_TEXT, 'alice', 'only-a', a.group.id, a.app.key]) assert.ok(!text.includes(secret), `${url} holds ${secret}`);
    }
  });

  test('every Redis key belongs to one app or to the deployment', async () => {
    const keys = (await stack.redis('--scan')).split('\n').filter(Boolean);
    assert.ok(keys.length > 5, keys.join('\n'));
    const uuids = (await stack.sql('select app_id from apps')).flat();
    const known = new Set(['-', a.app.id, b.app.id, ...uuids, ...uuids.map((u) => u.replaceAll('-', ''))]);
    for (const key of keys) {
      assert.match(key, /^p1:[^:]+:/, key);
      assert.ok(known.has(key.split(':')[1]), `whose is ${key}?`);
    }
    for (const key of keys) {
      const type = await stack.redis('type', key);
      const value = await stack.redis(...{ hash: ['hgetall', key], set: ['smembers', key], string: ['get', key], list: ['lrange', key, '0', '-1'], zset: ['zrange', key, '0', '-1'] }[type] ?? ['type', key]);
      const app = key.split(':')[1];
      if (app.includes(a.app.id)) assert.ok(!value.includes(MARK.b) && !value.includes(b.app.id), key);
      if (app.includes(b.app.id)) assert.ok(!value.includes(MARK.a) && !value.includes(a.app.id), key);
    }
  });
});

describe('the schema', () => {
  const WITHOUT_APP = ['leases', 'schema_migrations']; // of the deployment
  const runtime = ['parley_api', 'parley_gateway', 'parley_writer', 'parley_archiver', 'parley_platform'];

  test('every table is fenced or of the deployment', async () => {
    const tables = await stack.sql(`select c.relname, c.relrowsecurity, c.relforcerowsecurity, exists (select 1 from pg_attribute x where x.attrelid = c.oid and x.attname = 'app_id' and x.attnotnull)
      from pg_class c where c.relkind in ('r', 'p', 'm', 'f', 'v') and c.relnamespace = 'public'::regnamespace order by 1`);
    assert.ok(tables.length > 10);
    for (const [name, enabled, forced, hasApp] of tables) {
      if (WITHOUT_APP.includes(name)) continue;
      assert.deepEqual([name, enabled, forced, hasApp], [name, 't', 't', 't']);
    }
  });

  test('every unique key and foreign key starts with the app', async () => {
    const unique = await stack.sql(`select c.relname, i.indexrelid::regclass, (select attname from pg_attribute where attrelid = c.oid and attnum = i.indkey[0])
      from pg_index i join pg_class c on c.oid = i.indrelid where i.indisunique and c.relnamespace = 'public'::regnamespace`);
    for (const [table, index, first] of unique) if (!WITHOUT_APP.includes(table)) assert.equal(first, 'app_id', index);
    const foreignKeys = await stack.sql(`select k.conrelid::regclass, k.conname, exists (select 1 from unnest(k.conkey, k.confkey) u(here, there)
        join pg_attribute x on x.attrelid = k.conrelid and x.attnum = u.here join pg_attribute y on y.attrelid = k.confrelid and y.attnum = u.there where x.attname = 'app_id' and y.attname = 'app_id')
      from pg_constraint k where k.contype = 'f' and k.connamespace = 'public'::regnamespace`);
    assert.ok(foreignKeys.length > 3);
    for (const [table, name, ok] of foreignKeys) assert.equal(ok, 't', `${table} ${name}`);
  });

  test('policies are equality with the app, but for two roles that are named', async () => {
    const policies = await stack.sql(`select tablename, policyname, array_to_string(roles, ','), qual, with_check from pg_policies where schemaname = 'public'`);
    for (const [table, policy, roles, using, check] of policies) {
      if (using === 'true' || check === 'true') assert.ok((policy === 'platform' && roles === 'parley_platform') || (policy === 'writer' && roles === 'parley_writer'), `${table} ${policy} ${roles}`);
      else {
        assert.match(using, /^\(app_id = \(?current_setting\('parley\.app'::text\)\)?::uuid\)$/, `${table} ${policy}`);
        assert.equal(check, using);
      }
    }
    assert.deepEqual([...new Set(policies.filter(([, p]) => p === 'platform').map(([t]) => t))].sort(), ['api_keys', 'api_secrets', 'apps', 'signing_keys']);
  });

  test('the roles of the programs have no power over the fences', async () => {
    const roles = await stack.sql(`select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles where rolname like 'parley%' order by 1`);
    assert.equal(roles.length, runtime.length + 1);
    for (const role of roles) assert.deepEqual(role.slice(1), ['f', 'f', 'f', 'f', 'f'], role[0]);
    const list = runtime.map((r) => `'${r}'::regrole`).join(', ');
    assert.deepEqual(await stack.sql(`select relname from pg_class where relowner in (${list}) union all select proname from pg_proc where proowner in (${list})
      union all select nspname from pg_namespace where nspowner in (${list}) union all select datname from pg_database where datdba in (${list})`), []);
    assert.deepEqual(await stack.sql(`select member::regrole, roleid::regrole from pg_auth_members where member in (${list})`), [['parley_api', 'parley_platform']]);
    assert.deepEqual(await stack.sql(`select proname from pg_proc where prosecdef and pronamespace = 'public'::regnamespace`), [], 'no function of another\'s rights');
    assert.deepEqual(await stack.sql(`select table_name from information_schema.role_table_grants where grantee in ('PUBLIC', 'parley_archiver', 'parley_gateway', 'parley_api', 'parley_writer') and privilege_type in ('TRUNCATE', 'TRIGGER', 'REFERENCES')`), []);
  });

  test('without an app there is nothing to read, and with one only its own', async () => {
    const uuids = Object.fromEntries((await stack.sql(`select name, app_id from apps where name like 'Twin %'`)).map(([name, id]) => [name.slice(5), id]));
    const tables = (await stack.sql(`select relname from pg_class where relrowsecurity and relnamespace = 'public'::regnamespace`)).flat();
    const counts = await stack.sql(tables.map((t) => `select '${t}', count(*) from ${t}`).join(' union all '));
    const filled = counts.filter(([, n]) => n !== '0').map(([t]) => `'${t}'`).join(', ');
    // One session for each role: whatever is read without an app, or of another app, raises; refusals are what is wanted.
    const probe = `do $$
      declare t text; n bigint;
      begin
        foreach t in array array[${filled}] loop
          begin
            execute 'select count(*) from ' || t into n;
            raise exception 'read % without an app', t;
          exception when insufficient_privilege or undefined_object then null;
          end;
        end loop;
        foreach t in array array[${filled}] loop
          begin
            perform set_config('parley.app', '${uuids[MARK.b]}', true);
            execute format('select count(*) from %I where app_id <> $1', t) into n using '${uuids[MARK.b]}'::uuid;
            if n > 0 then raise exception 'read % rows of others in %', n, t; end if;
          exception when insufficient_privilege then null;
          end;
          begin
            set local row_security = off;
            execute 'select count(*) from ' || t into n;
            raise exception 'read % without its policies', t;
          exception when insufficient_privilege then null;
          end;
        end loop;
      end $$`;
    for (const user of ['parley_api', 'parley_gateway', 'parley_archiver']) await stack.sql(probe, user, stack.secret(user));
    const api = (text) => stack.sql(text, 'parley_api', stack.secret('parley_api'));
    await assert.rejects(api(`select set_config('parley.app', '${uuids[MARK.b]}', false); insert into users (app_id, user_id) values ('${uuids[MARK.a]}', 'smuggled')`), /row-level security/);
    assert.deepEqual(await api(`select set_config('parley.app', '${uuids[MARK.b]}', false); update users set name = 'x' where app_id = '${uuids[MARK.a]}' returning 1`), [[uuids[MARK.b]]]);
    await assert.rejects(api('set role parley_owner'), /permission denied/);
    await assert.rejects(api('select body from entries'), /parley.app|permission denied/);
    const writer = (text) => stack.sql(text, 'parley_writer', stack.secret('parley_writer'));
    for (const text of ['select body from entries', 'select name from users', 'select * from api_keys', 'select * from apps', 'select * from signing_keys', 'delete from entries', 'update entries set body = null']) {
      await assert.rejects(writer(text), /permission denied/, text);
    }
  });
});
