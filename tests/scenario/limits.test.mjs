// Limits of connections and events: the deployment's, lower ones of an app, what clients are told of them; and overload, which refuses before it reads.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { closeAll, connect, dial } from '../lib/client.mjs';
import { assertProblem } from '../lib/spec.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

const EIO = '/socket.io/?EIO=4&transport=';
afterEach(closeAll);

/** A WebSocket by hand that answers pings: {ws, packets, send, wait(part), close}. */
function raw(url) {
  const ws = new WebSocket(`${url.replace('http', 'ws')}${EIO}websocket`);
  const c = { ws, packets: [] };
  ws.on('message', (data) => {
    c.packets.push(String(data));
    if (String(data) === '2') ws.send('3');
  });
  ws.on('close', (code) => { c.close = { code }; });
  ws.on('error', () => {});
  c.send = (data) => new Promise((resolve) => ws.send(data, resolve));
  c.wait = (part, timeout = 10000) => until(() => c.packets.find((p) => p.includes(part)), { timeout, what: () => `${part} (seen: ${c.packets.map((p) => p.slice(0, 60))}; ${JSON.stringify(c.close)})` });
  c.closed = (timeout = 10000) => until(() => c.close, { timeout, what: () => `the end (seen: ${c.packets.map((p) => p.slice(0, 60))})` });
  return c;
}

async function joined(url, token) {
  const c = raw(url);
  await c.wait('0{"sid"');
  await c.send(`40${JSON.stringify({ token })}`);
  await c.wait('session.ready');
  return c;
}

describe('limits', () => {
  let stack, url;
  before(async () => {
    stack = await Stack.start({ env: { PARLEY_REFUSED_EVENTS: '50', PARLEY_ATTACHMENTS: '5' } });
    url = stack.endpoints.realtime[0];
  });
  after(async () => {
    closeAll();
    await stack?.stop();
  });

  const withLimits = async (limits, users = ['alice']) => {
    const app = await stack.app('Limits', { limits });
    for (const id of users) await app.user(id);
    return app;
  };
  const disconnects = (reason) => stack.metric('parley_disconnects_total', stack.endpoints.metrics[1], `"${reason}"`);
  const refusals = (reason) => stack.metric('parley_refused_total', stack.endpoints.metrics[1], `"${reason}"`);

  test('are told in session.ready: the deployment\'s, and lower ones of the app', async () => {
    const plain = await withLimits({});
    const c = await connect(url, await plain.token('alice'));
    const all = { max_payload: 1000000, message_chars: 20000, group_members: 10000, sends_per_user: 10, sends_per_conversation: 100, connections_per_user: 20, events_per_second: 50, events_burst: 200,
      events_in_flight: 256, refused_events: 50, attachments: 5, attachment_bytes: 4000000, attachment_ms: 30000, event_name_bytes: 64, json_depth: 32, packets_per_post: 256, send_queue: 262144 };
    assert.deepEqual(c.ready().limits, all);
    const own = { max_payload: 20000, events_per_second: 7, events_burst: 9, events_in_flight: 3, attachments: 1, attachment_bytes: 5000, connections_per_user: 2, message_chars: 100 };
    const strict = await connect(url, await (await withLimits(own)).token('alice'));
    assert.deepEqual(strict.ready().limits, { ...all, ...own });
  });

  test('of an app are at most the deployment\'s', async () => {
    const app = await withLimits({});
    const patch = (limits) => stack.admin('PATCH', `/v1/apps/${app.id}`, { limits });
    for (const [name, most] of [['max_payload', 1000000], ['attachments', 5], ['attachment_bytes', 4000000], ['events_per_second', 50], ['events_burst', 200], ['events_in_flight', 256], ['connections_per_app', 200000]]) {
      assertProblem(await patch({ [name]: most + 1 }), 'validation_failed', { pointer: `/limits/${name}` });
      assertProblem(await patch({ [name]: 0 }), 'validation_failed', { pointer: `/limits/${name}` });
      assert.equal((await patch({ [name]: most })).status, 200, name);
      const r = await patch({ [name]: null });
      assert.deepEqual([r.status, r.body.limits[name]], [200, undefined], name);
    }
    assert.equal((await patch({ events_per_user: 1000 })).status, 200, 'others may be above their default');
  });

  test('a packet may have as many bytes as the app allows', async () => {
    const app = await withLimits({ max_payload: 20000 });
    const token = await app.token('alice');
    const ping = (n) => `420["server.ping",{"t":"${'x'.repeat(n)}"}]`;
    const c = await joined(url, token);
    await c.send(ping(19900));
    await c.wait('430[');
    await c.send(ping(20000));
    assert.equal((await c.closed()).code, 1009);
    // A polling body may be larger than a packet, up to what the handshake said.
    const open = JSON.parse((await (await fetch(`${url}${EIO}polling`)).text()).slice(1));
    assert.equal(open.maxPayload, 1000000);
    const path = `${url}${EIO}polling&sid=${open.sid}`;
    const post = (body) => fetch(path, { method: 'POST', body, headers: { 'content-type': 'text/plain' } });
    const poll = async () => (await fetch(path)).text();
    await post(`40${JSON.stringify({ token })}`);
    let text = '';
    while (!text.includes('session.ready')) text += await poll();
    assert.equal((await post([ping(15000), ping(15000), ping(15000)].join('\x1e'))).status, 200);
    while (text.split('430[').length < 4) text += await poll();
    const before_ = await disconnects('payload too large');
    await post(ping(20000));
    await until(async () => (await disconnects('payload too large')) === before_ + 1, { what: 'the end' });
  });

  test('before a token is known a packet is small', async () => {
    const c = raw(url);
    await c.wait('0{"sid"');
    await c.send(`40${JSON.stringify({ token: 'x'.repeat(70000) })}`);
    assert.equal((await c.closed()).code, 1009);
  });

  test('attachments are as many and as large as the app allows', async () => {
    const token = await (await withLimits({ attachments: 2, attachment_bytes: 5000 })).token('alice');
    const header = (n) => `45${n}-0["server.ping",${Array.from({ length: n }, (_, i) => `{"_placeholder":true,"num":${i}}`).join(',')}]`;
    const good = await joined(url, token);
    await good.send(header(2));
    await good.send(Buffer.alloc(2500));
    await good.send(Buffer.alloc(2500));
    await good.wait('validation_failed'); // server.ping takes none, but the packet is whole
    const many = await joined(url, token);
    await many.send(header(3));
    await many.closed();
    const large = await joined(url, token);
    await large.send(header(2));
    await large.send(Buffer.alloc(2500));
    await large.send(Buffer.alloc(2501));
    await large.closed();
  });

  test('events beyond the rate get rate_limited and when to come again; unknown ones count too', async () => {
    const app = await withLimits({ events_per_second: 5, events_burst: 10 });
    for (const name of ['server.ping', 'no.such.event']) {
      const c = await connect(url, await app.token('alice'));
      const answers = await Promise.all(Array.from({ length: 20 }, () => c.send(name, {})));
      const limited = answers.filter((a) => a.error?.code === 'rate_limited');
      assert.ok(limited.length >= 5 && limited.length <= 10, `${limited.length} of 20`);
      for (const a of limited) {
        assert.equal(a.error.retryable, true);
        assert.ok(a.error.retry_after_ms > 0 && a.error.retry_after_ms <= 1000, String(a.error.retry_after_ms));
      }
      await sleep(Math.max(...limited.map((a) => a.error.retry_after_ms)) + 100);
      assert.equal((await c.send('server.ping', {})).ok, true);
      await c.close();
    }
  });

  test('the events of all connections of a user, and of an app, count together', async () => {
    for (const [limits, who] of [[{ events_per_user: 5 }, 'of this user'], [{ events_per_app: 10 }, 'of this app']]) {
      const app = await withLimits(limits, ['alice', 'bob']);
      const users = who === 'of this user' ? ['alice', 'alice', 'alice'] : ['alice', 'bob', 'alice'];
      const clients = await Promise.all(users.map(async (u) => connect(url, await app.token(u))));
      const answers = (await Promise.all(clients.map((c) => Promise.all(Array.from({ length: 12 }, () => c.send('server.ping', {})))))).flat();
      const limited = answers.filter((a) => !a.ok);
      assert.ok(limited.length > 0 && limited.length <= 16, `${limited.length} of 36`);
      assert.ok(limited.every((a) => a.error.code === 'rate_limited' && a.error.message.includes(who)), JSON.stringify(limited[0]));
    }
  });

  test('who does not slow down is closed by the transport, so that the client comes back', async () => {
    const app = await withLimits({ events_per_second: 5, events_burst: 5, sends_per_user: 1 }, ['alice', 'bob']);
    const group = await app.group(['alice', 'bob']);
    for (const [event, payload] of [['server.ping', {}], ['no.such.event', {}], ['message.send', { conversation_id: group.id, text: 'x' }]]) {
      const before_ = await disconnects('rate limited');
      const c = await connect(url, await app.token('alice'), { transports: ['websocket'] });
      const answers = Array.from({ length: 100 }, () => c.send(event, payload).catch(() => undefined));
      assert.equal(await c.wait('disconnect'), 'transport close', event);
      const refused = (await Promise.all(answers)).filter((a) => a?.error?.code === 'rate_limited');
      assert.ok(refused.length >= 30, `told ${refused.length} times before`);
      assert.equal(await disconnects('rate limited'), before_ + 1);
      const again = await connect(url, await app.token('bob'));
      assert.equal((await again.send('server.ping', {})).ok, true, 'others are served');
      await again.close();
    }
  });

  test('events that wait for their answer are bounded', async () => {
    const app = await withLimits({ events_in_flight: 5, sends_per_user: 1000 }, ['alice', 'bob']);
    const group = await app.group(['alice', 'bob']);
    const c = await connect(url, await app.token('alice'));
    const lock = stack.sql('begin; lock table entries in access exclusive mode; select pg_sleep(2); rollback');
    await until(async () => (await stack.sql("select 1 from pg_locks where relation = 'entries'::regclass and mode = 'AccessExclusiveLock' and granted")).length > 0, { what: 'the lock' });
    const sends = Array.from({ length: 12 }, (_, i) => c.send('message.send', { conversation_id: group.id, text: String(i), client_msg_id: `m${i}` }, 20000));
    const answers = await Promise.all(sends);
    await lock;
    const limited = answers.filter((a) => a.error?.code === 'rate_limited');
    assert.deepEqual([answers.filter((a) => a.ok).length, limited.length], [5, 7], JSON.stringify(answers.find((a) => !a.ok)));
    assert.ok(limited.every((a) => a.error.retry_after_ms > 0));
    assert.equal((await c.send('message.send', { conversation_id: group.id, text: 'again', client_msg_id: 'm11' })).ok, true);
  });

  test('a name of more than 64 bytes is none, and the session goes on', async () => {
    const c = await connect(url, await (await withLimits({})).token('alice'));
    const { error } = await c.send('n'.repeat(5000), {});
    assert.equal(error.code, 'unknown_event');
    assert.ok(error.message.length < 200);
    assert.equal((await c.send('server.ping', {})).ok, true);
  });

  test('connections of an app: one too many is closed, not refused, and gets in when there is room', async () => {
    const app = await withLimits({ connections_per_app: 3 });
    const token = await app.token('alice');
    const clients = await Promise.all(Array.from({ length: 3 }, () => connect(url, token)));
    const before_ = await refusals('app');
    const late = dial(url, token, { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 300 });
    await until(async () => (await refusals('app')) > before_, { what: 'a refusal' });
    await sleep(500);
    assert.deepEqual([late.ready(), late.of('connect_error').length], [undefined, 0]);
    assert.ok(clients.every((c) => c.socket.connected));
    const other = await withLimits({});
    await connect(url, await other.token('alice'));
    await clients[0].close();
    await late.wait('session.ready', () => true, 10000);
  });
});

describe('the gateway', () => {
  let stack, url, app;
  before(async () => {
    stack = await Stack.start({ env: { PARLEY_CONNECTIONS_PER_ADDRESS: '40', PARLEY_CONNECTS_WAITING: '3', PARLEY_CONNECT_TIMEOUT_MS: '60000' } });
    url = stack.endpoints.realtime[0];
    app = await stack.app('Overload');
    for (let i = 0; i < 10; i++) await app.user(`u${i}`);
  });
  after(async () => {
    closeAll();
    await stack?.stop();
  });

  const metric = (name, match = '') => stack.metric(name, stack.endpoints.metrics[1], match);

  test('takes so many sockets and sessions from one address', async () => {
    const before_ = await metric('parley_refused_total', '"address"');
    const sids = [];
    for (let i = 0; i < 40; i++) {
      const r = await fetch(`${url}${EIO}polling`, { headers: { origin: 'http://page.example', connection: 'close' } });
      assert.equal(r.status, 200);
      sids.push(JSON.parse((await r.text()).slice(1)).sid);
    }
    const full = await fetch(`${url}${EIO}polling`, { headers: { origin: 'http://page.example', connection: 'close' } });
    assert.equal(full.status, 503);
    assert.ok(Number(full.headers.get('retry-after')) >= 1);
    assert.equal(full.headers.get('access-control-allow-origin'), 'http://page.example');
    const upgrade = new WebSocket(`${url.replace('http', 'ws')}${EIO}websocket`);
    const refused = await new Promise((resolve) => { upgrade.once('unexpected-response', (_, r) => resolve(r)).once('error', () => {}); });
    assert.equal(refused.statusCode, 503);
    assert.ok((await metric('parley_refused_total', '"address"')) >= before_ + 2);
    for (const sid of sids) await fetch(`${url}${EIO}polling&sid=${sid}`, { method: 'POST', body: '1', headers: { connection: 'close' } });
    await until(async () => (await metric('parley_sockets')) < 5, { what: 'no sockets' });

    const sockets = await Promise.all(Array.from({ length: 60 }, () => new Promise((resolve) => {
      const s = net.connect(Number(new URL(url).port), '127.0.0.1');
      s.on('error', () => {}).on('close', () => { s.gone = true; }).on('data', () => {}).on('connect', () => resolve(s));
    })));
    await until(() => sockets.filter((s) => s.gone).length >= 20, { what: 'the end of those beyond' });
    await sleep(200);
    assert.ok(sockets.filter((s) => !s.gone).length >= 35);
    for (const s of sockets) s.destroy();
    await until(async () => (await metric('parley_sockets')) < 5, { what: 'no sockets' });
    await (await connect(url, await app.token('u0'))).close();
  });

  test('under overload refuses before it reads, serves those who are there, and ends by itself', async () => {
    const tokens = await Promise.all(Array.from({ length: 10 }, (_, i) => app.token(`u${i}`)));
    const here = await joined(url, tokens[0]);
    const waiting = [raw(url), raw(url), raw(url)], late = raw(url);
    for (const c of [...waiting, late]) await c.wait('0{"sid"');
    const { sid } = JSON.parse((await (await fetch(`${url}${EIO}polling`)).text()).slice(1));
    const count = () => Promise.all([metric('parley_disconnects_total', '"overload"'), metric('parley_disconnects_total', '"parse error"'), metric('parley_refused_total', '"overload"')]);
    const before_ = await count();
    await sleep(1100); // what is known of users is older than a second now

    const lock = stack.sql('begin; lock table users in access exclusive mode; select pg_sleep(2.5); rollback');
    await until(async () => (await stack.sql("select 1 from pg_locks where relation = 'users'::regclass and mode = 'AccessExclusiveLock' and granted")).length > 0, { what: 'the lock' });
    await Promise.all(waiting.map((c, i) => c.send(`40${JSON.stringify({ token: tokens[i + 1] })}`)));
    await until(async () => (await metric('parley_overloaded')) === 1, { what: 'overload' });

    const polling = await fetch(`${url}${EIO}polling`, { headers: { origin: 'http://page.example' } });
    assert.equal(polling.status, 503);
    assert.ok(Number(polling.headers.get('retry-after')) >= 1);
    assert.equal(polling.headers.get('access-control-allow-origin'), 'http://page.example');
    const upgrade = new WebSocket(`${url.replace('http', 'ws')}${EIO}websocket`);
    const refused = await new Promise((resolve) => { upgrade.once('unexpected-response', (_, r) => resolve(r)).once('error', () => {}); });
    assert.equal(refused.statusCode, 503);
    assert.ok(Number(refused.headers['retry-after']) >= 1);
    await late.send('40{this is never parsed');
    await late.closed();
    assert.deepEqual(late.packets.slice(1).filter((p) => p.startsWith('4')), [], 'neither CONNECT_ERROR nor DISCONNECT');
    await fetch(`${url}${EIO}polling&sid=${sid}`, { method: 'POST', body: '40{nor this', headers: { 'content-type': 'text/plain' } });
    const back = dial(url, tokens[5], { reconnection: true, reconnectionDelay: 200, reconnectionDelayMax: 500 });
    await back.wait('connect_error');
    await here.send('40{}'); // as clients do; it is connected
    await here.send('421["server.ping",{"t":1}]');
    await here.wait('431[');
    const now = await count();
    assert.deepEqual([now[0] - before_[0], now[1] - before_[1]], [2, 0], 'closed for overload, not for what they sent');
    assert.ok(now[2] - before_[2] >= 5);

    await lock;
    await Promise.all(waiting.map((c) => c.wait('session.ready')));
    await until(async () => (await metric('parley_overloaded')) === 0, { what: 'the end of it' });
    await back.wait('session.ready', () => true, 10000);
    assert.equal(here.close, undefined);
    assert.match(stack.logs(/"overload"|overload:|overload /), /connects/);
    assert.notEqual(stack.logs(/overload_over/), '');
    for (const c of [here, ...waiting]) c.ws.terminate();
  });
});
