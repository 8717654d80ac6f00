// A gateway that ends: who is told what and when, which end each transport sees, that nothing acknowledged is lost and nothing is left hanging.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import WebSocket from 'ws';
import { closeAll, connect, dial, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

let stack, app, urls, victim;
before(async () => {
  stack = await Stack.start({ gateways: 2, env: { PARLEY_CONNECTIONS_PER_ADDRESS: '10000' } });
  urls = stack.endpoints.realtime;
  app = await stack.app('Drain', { features: { games: true }, limits: { sends_per_user: 1000, sends_per_conversation: 10000, connections_per_user: 1000 } });
  for (const id of ['alice', 'bob', 'carol']) await app.user(id);
});
afterEach(async () => {
  closeAll();
  if (victim?.exitCode === null) victim.kill('SIGKILL');
  victim = undefined;
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const TIMEOUT = 6000;

let environment;
const alive = (pid) => { try { return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8')); } catch { return false; } };

/** The second gateway's place is taken by a child of ours with settings of its own, since only a parent learns the exit status. */
async function gateway2(settings = {}) {
  if (!environment) {
    const pid = stack.pid('realtime-2');
    environment = Object.fromEntries(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean).map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)]));
    process.kill(pid, 'SIGTERM');
    await until(() => !alive(pid), { timeout: 10000, what: 'the end of the first one' });
  }
  const env = { ...environment, PARLEY_SHUTDOWN_TIMEOUT_MS: String(TIMEOUT), PARLEY_DRAIN_WAIT_MS: '300', PARLEY_DRAIN_SPREAD_MS: '2000', ...settings };
  victim = spawn(join(stack.env.PARLEY_BIN, 'parley-realtime'), [], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const child = victim;
  let log = '';
  child.stderr.on('data', (d) => { log += d; });
  const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal, at: performance.now() })));
  await until(() => fetch(readyz()).then((r) => r.status === 200, () => false), { timeout: 15000, what: () => `readiness (${log.slice(-500)})` });
  return {
    ended,
    log: () => log,
    /** SIGTERM; the result of the end, which must be clean and in time. */
    async drain() {
      const begun = performance.now();
      child.kill('SIGTERM');
      const result = await ended;
      assert.deepEqual([result.code, result.signal], [0, null], log.slice(-2000));
      assert.doesNotMatch(log, /Sanitizer|runtime error|reply_mismatch/);
      assert.ok(result.at - begun < TIMEOUT + 1500, `${result.at - begun} ms`);
      return result.at - begun;
    },
    kill: (signal) => child.kill(signal),
  };
}

const readyz = () => stack.endpoints.metrics[2].replace('/metrics', '/readyz');
const EIO = '/socket.io/?EIO=4&transport=';

/** A WebSocket past session.ready that answers pings: {ws, packets, close: {code, at}}. */
function raw(token, { answers = true } = {}) {
  const ws = new WebSocket(`${urls[1].replace('http', 'ws')}${EIO}websocket`);
  const c = { ws, packets: [] };
  ws.on('message', (data) => {
    const text = String(data);
    c.packets.push({ text, at: performance.now() });
    if (text.startsWith('0')) ws.send(`40${JSON.stringify({ token })}`);
    if (text === '2' && answers) ws.send('3');
  });
  ws.on('close', (code) => { c.close = { code, at: performance.now() }; });
  ws.on('error', () => {});
  c.wait = (part, timeout = 20000) => until(() => c.packets.find((p) => p.text.includes(part)), { timeout, what: part });
  return c;
}

test('300 WebSockets see 1001, each at its moment, spread over the window', async () => {
  const g = await gateway2();
  const token = await app.token('alice');
  const clients = [];
  for (let i = 0; i < 300; i += 50) {
    const some = Array.from({ length: 50 }, () => raw(token));
    await Promise.all(some.map((c) => c.wait('session.ready')));
    clients.push(...some);
  }
  await g.drain();
  await until(() => clients.every((c) => c.close), { what: 'all ends' });
  assert.deepEqual([...new Set(clients.map((c) => c.close.code))], [1001]);
  const told = clients.map((c) => c.packets.find((p) => p.text.includes('server.draining')));
  const moments = told.map((p) => JSON.parse(p.text.slice(2))[1].reconnect_in_ms);
  assert.ok(Math.max(...moments) < 2000 && Math.max(...moments) > 1500 && Math.min(...moments) < 500, 'spread');
  for (let from = 0; from < 2000; from += 500) {
    const share = moments.filter((m) => m >= from && m < from + 500).length;
    assert.ok(share > 30 && share < 130, `${share} of 300 between ${from} and ${from + 500} ms`);
  }
  clients.forEach((c, i) => assert.ok(c.close.at - told[i].at >= moments[i] - 100, `closed ${c.close.at - told[i].at} ms after it was told ${moments[i]}`));
});

test('is not ready at once, takes no new sessions, and serves those who are there meanwhile', async () => {
  const g = await gateway2({ PARLEY_DRAIN_WAIT_MS: '1500', PARLEY_DRAIN_SPREAD_MS: '1000' });
  const group = await app.group(['alice', 'bob']);
  const [a, b] = [await connect(urls[1], await app.token('alice')), await connect(urls[0], await app.token('bob'))];
  const late = new WebSocket(`${urls[1].replace('http', 'ws')}${EIO}websocket`);
  await new Promise((resolve) => late.once('message', resolve));
  const lateEnd = new Promise((resolve) => late.once('close', resolve));
  const end = g.drain();
  await until(() => fetch(readyz()).then((r) => r.status === 503), { timeout: 1000, what: 'not ready' });
  const polling = await fetch(`${urls[1]}${EIO}polling`, { headers: { origin: 'http://page.example' } });
  assert.equal(polling.status, 503);
  assert.ok(Number(polling.headers.get('retry-after')) >= 1);
  assert.equal(polling.headers.get('access-control-allow-origin'), 'http://page.example');
  const upgrade = new WebSocket(`${urls[1].replace('http', 'ws')}${EIO}websocket`);
  const refused = await new Promise((resolve) => { upgrade.once('unexpected-response', (_, r) => resolve(r)); upgrade.once('error', () => {}); });
  assert.equal(refused.statusCode, 503);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  late.send(`40${JSON.stringify({ token: await app.token('carol') })}`);
  assert.equal(await lateEnd, 1001, 'a CONNECT now closes the transport');
  const sent = await a.send('message.send', { conversation_id: group.id, text: 'still served' });
  assert.equal(sent.ok, true, JSON.stringify(sent));
  await b.wait('message.new', (m) => m.id === sent.message.id);
  const back = await b.send('message.send', { conversation_id: group.id, text: 'both ways' });
  await a.wait('message.new', (m) => m.id === back.message.id);
  assert.equal(a.of('server.draining').length, 0, 'told only after the wait');
  const { reconnect_in_ms: moment } = await a.wait('server.draining');
  assert.ok(moment >= 0 && moment < 1000);
  assert.equal(await a.wait('disconnect'), 'transport close');
  await end;
});

test('traffic through the end: what was acked is stored once and reaches all, every send has an outcome, clients go on elsewhere', async () => {
  const g = await gateway2();
  const group = await app.group(['alice', 'bob', 'carol']);
  const b = await connect(urls[0], await app.token('bob'));
  const outcomes = [];
  const senders = await Promise.all(['alice', 'carol', 'alice', 'carol'].map(async (user, n) => {
    const token = await app.token(user), device_id = `d${n}`;
    const transports = n < 2 ? ['websocket'] : ['polling'];
    const c = await connect(urls[1], { token, device_id }, { transports });
    let moved;
    const talk = async () => {
      for (let i = 0; !c.of('disconnect').length; i++) {
        const id = `s${n}-${i}`;
        const answer = await c.send('message.send', { conversation_id: group.id, text: id, client_msg_id: id }, 15000).catch((e) => ({ gone: e.message }));
        outcomes.push({ id, n, answer });
        if (!answer.ok) break;
      }
      await c.wait('disconnect', () => true, 10000);
      moved = await connect(urls[0], { token, device_id }, { transports });
      for (const o of outcomes.filter((x) => x.n === n && !x.answer.ok)) {
        o.answer = await moved.send('message.send', { conversation_id: group.id, text: o.id, client_msg_id: o.id });
      }
      return [c, moved];
    };
    return { n, talk: talk() };
  }));
  await sleep(500);
  await g.drain();
  const pairs = await Promise.all(senders.map((s) => s.talk));
  for (const [c] of pairs) assert.ok(['transport close', 'transport error'].includes(c.of('disconnect')[0]), c.of('disconnect')[0]);
  assert.ok(outcomes.length > 40, `${outcomes.length} sends`);
  assert.ok(outcomes.every((o) => o.answer.ok), JSON.stringify(outcomes.find((o) => !o.answer.ok)));
  await until(() => texts(b, group.id).length === outcomes.length, { timeout: 10000, what: () => `${outcomes.length} messages (${texts(b, group.id).length})` });
  assert.deepEqual(texts(b, group.id).sort(), outcomes.map((o) => o.id).sort(), 'each once');
  for (const [c, moved] of pairs) {
    const got = () => new Set([...texts(c, group.id), ...texts(moved, group.id)]);
    await until(() => got().size === outcomes.length, { timeout: 10000, what: () => `all at a sender (${got().size} of ${outcomes.length})` });
  }
});

test('the official client comes back by itself and loses nothing', async () => {
  const group = await app.group(['alice', 'bob']);
  const g = await gateway2();
  // What a balancer does: the same address leads to a gateway that is ready.
  let first = 0;
  const targets = [urls[1], urls[0]].map((u) => Number(new URL(u).port));
  const balancer = net.createServer((socket) => {
    const up = net.connect(targets[first], '127.0.0.1', () => { socket.pipe(up).pipe(socket); });
    socket.on('error', () => up.destroy()).on('close', () => up.destroy());
    up.on('error', () => socket.destroy()).on('close', () => socket.destroy());
  });
  await new Promise((resolve) => balancer.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${balancer.address().port}`;
  try {
    const [b, a] = [await connect(url, { token: await app.token('bob'), device_id: 'phone' }, { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 500, transports: ['websocket'] }), await connect(urls[0], await app.token('alice'))];
    assert.equal(new Set([a.ready().node, b.ready().node]).size, 2);
    let running = true, n = 0;
    const talk = (async () => {
      for (; running; n++) assert.equal((await a.send('message.send', { conversation_id: group.id, text: String(n) })).ok, true);
    })();
    first = 1;
    await g.drain();
    assert.equal(await b.wait('disconnect'), 'transport close');
    await until(() => b.of('session.ready').length === 2, { timeout: 10000, what: 'its return' });
    await sleep(300);
    running = false;
    await talk;
    await until(() => new Set(texts(b, group.id)).size === n, { what: () => `all ${n} messages (${new Set(texts(b, group.id)).size})` });
    const seqs = b.of('message.new').filter((m) => m.conversation_id === group.id).map((m) => m.seq);
    assert.deepEqual([...new Set(seqs)].sort((x, y) => x - y), Array.from({ length: n }, (_, i) => i + 2));
    assert.equal((await b.send('server.ping', {})).ok, true);
  } finally {
    balancer.close();
  }
});

test('polling clients get "1", those between two polls at the next', async () => {
  const g = await gateway2({ PARLEY_DRAIN_SPREAD_MS: '0' });
  const token = await app.token('carol');
  const agent = () => new http.Agent({ keepAlive: false, maxSockets: 1 });
  const call = (method, path, body) => new Promise((resolve, reject) => {
    const r = http.request(urls[1] + path, { method, agent: agent(), timeout: 15000 }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; }).on('end', () => resolve({ status: res.statusCode, text }));
    });
    r.on('error', reject).end(body);
  });
  const open = async () => {
    const sid = JSON.parse((await call('GET', `${EIO}polling`)).text.slice(1)).sid;
    const path = `${EIO}polling&sid=${sid}`;
    await call('POST', path, `40${JSON.stringify({ token })}`);
    let text = '';
    while (!text.includes('session.ready')) text += (await call('GET', path)).text;
    return { path };
  };
  const [held, between, never] = [await open(), await open(), await open()];
  const waiting = (async () => {
    let text = '';
    while (!/(^|\x1e)1$/.test(text)) text = (await call('GET', held.path)).text;
    return text;
  })();
  const end = g.drain();
  assert.match(await waiting, /(^|\x1e)1$/);
  const next = await call('GET', between.path);
  assert.equal(next.status, 200);
  assert.match(next.text, /server\.draining.*(\x1e)1$/s);
  assert.ok(never.path);
  assert.ok((await end) < TIMEOUT);
});

test('peers that answer nothing or read nothing delay nobody and the end', async () => {
  const g = await gateway2({ PARLEY_DRAIN_SPREAD_MS: '500' });
  const token = await app.token('alice');
  // A WebSocket by hand that reads and never answers the close frame, and one that stops reading.
  const silent = async (reads) => {
    const socket = net.connect(Number(new URL(urls[1]).port), '127.0.0.1');
    let bytes = Buffer.alloc(0);
    socket.on('data', (d) => { bytes = Buffer.concat([bytes, d]); }).on('error', () => {});
    socket.write(`GET ${EIO}websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    const frame = (text) => {
      const data = Buffer.from(text), size = data.length < 126 ? Buffer.from([0x81, 0x80 | data.length]) : Buffer.from([0x81, 0xfe, data.length >> 8, data.length & 255]);
      return Buffer.concat([size, Buffer.alloc(4), data]);
    };
    await until(() => bytes.includes('0{"sid"'), { what: 'the open packet' });
    socket.write(frame(`40${JSON.stringify({ token })}`));
    await until(() => bytes.includes('session.ready'), { what: 'session.ready' });
    if (!reads) socket.pause();
    return { socket, bytes: () => bytes };
  };
  const [mute, deaf] = [await silent(true), await silent(false)];
  const well = Array.from({ length: 10 }, () => raw(token));
  await Promise.all(well.map((c) => c.wait('session.ready')));
  assert.ok((await g.drain()) < TIMEOUT);
  await until(() => well.every((c) => c.close), { what: 'all ends' });
  assert.deepEqual([...new Set(well.map((c) => c.close.code))], [1001]);
  assert.ok(mute.bytes().includes(Buffer.from([0x88, 0x02, 0x03, 0xe9])), 'the mute one was sent 1001');
  mute.socket.destroy();
  deaf.socket.destroy();
});

test('a second signal changes nothing, without clients the end is quick', async () => {
  const g = await gateway2();
  const token = await app.token('alice');
  const clients = Array.from({ length: 20 }, () => raw(token));
  await Promise.all(clients.map((c) => c.wait('session.ready')));
  const end = g.drain();
  await clients[0].wait('server.draining');
  g.kill('SIGTERM');
  g.kill('SIGINT');
  await end;
  await until(() => clients.every((c) => c.close), { what: 'all ends' });
  assert.deepEqual([...new Set(clients.map((c) => c.close.code))], [1001]);
  const empty = await gateway2();
  assert.ok((await empty.drain()) < 2500);
});

test('both namespaces of a session are told the same moment and end together', async () => {
  const g = await gateway2();
  const token = await app.token('bob');
  const c = raw(token);
  await c.wait('session.ready');
  c.ws.send(`40/game,${JSON.stringify({ token })}`);
  await c.wait('/game,["session.ready"');
  await g.drain();
  await until(() => c.close, { what: 'the end' });
  assert.equal(c.close.code, 1001);
  const told = c.packets.filter((p) => p.text.includes('server.draining')).map((p) => p.text.replace('/game,', ''));
  assert.equal(told.length, 2);
  assert.equal(told[0], told[1]);
});

test('with storage away the end is in time, and sends without an outcome are not acknowledged', async () => {
  const g = await gateway2({ PARLEY_DRAIN_SPREAD_MS: '300' });
  const group = await app.group(['alice', 'bob']);
  const c = await connect(urls[1], await app.token('alice'));
  assert.equal((await c.send('message.send', { conversation_id: group.id, text: 'before' })).ok, true);
  const lock = stack.sql('begin; lock table entries in access exclusive mode; select pg_sleep(8); rollback').catch(() => undefined);
  await sleep(500);
  const send = c.send('message.send', { conversation_id: group.id, text: 'into the dark', client_msg_id: 'dark' }, 20000).catch((e) => ({ gone: e.message }));
  await sleep(200);
  assert.ok((await g.drain()) < TIMEOUT + 1500);
  const outcome = await send;
  assert.ok(outcome.gone !== undefined || outcome.error?.retryable, JSON.stringify(outcome));
  await lock;
  const again = await connect(urls[0], await app.token('alice'));
  assert.equal((await again.send('message.send', { conversation_id: group.id, text: 'into the dark', client_msg_id: 'dark' }, 20000)).ok, true);
});
