// Sessions survive any balancer: what lands at the wrong gateway is served by the session's own, as if it had landed there. Directly, through a real HAProxy that
// sends each request to the next gateway, and when either side dies or somebody else speaks on the relay's port.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { connect as dialTcp, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import WebSocket from 'ws';
import { closeAll, connect, texts } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

const SLOW = { timeout: 20000 };
const EIO = '/socket.io/?EIO=4&transport=polling';
const UNKNOWN = '{"code":1,"message":"Session ID unknown"}';
let stack, app, A, B;
const agents = [], sockets = [];

before(async () => {
  stack = await Stack.start({ gateways: 2, env: { PARLEY_CONNECT_TIMEOUT_MS: '30000', PARLEY_CONNECTIONS_PER_ADDRESS: '10000' } });
  [A, B] = stack.endpoints.realtime;
  app = await stack.app('Relay', { limits: { sends_per_user: 1000, sends_per_conversation: 5000, connections_per_user: 1000 } });
  for (const id of ['alice', 'bob']) await app.user(id);
});
afterEach(() => {
  closeAll();
  for (const s of sockets.splice(0)) s.destroy ? s.destroy() : s.terminate();
  for (const a of agents.splice(0)) a.destroy();
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const metricsOf = (n) => stack.endpoints.metrics.find((u) => u.includes(`:${Number(stack.env.PARLEY_REALTIME_ADMIN_PORT) + n - 1}/`));
const metric = (n, name, match) => stack.metric(name, metricsOf(n), match);

// ---- clients by hand ----

/** The end of a TCP connection, in peace or not. */
const closed = (c) => until(() => c.resume().destroyed, { ...SLOW, what: 'the end of the connection' });

/** One HTTP request on a connection of its own: {status, text, headers}; `.request` can be destroyed. */
function http1(method, url, body, headers = {}) {
  const agent = new http.Agent();
  agents.push(agent);
  let request;
  const p = new Promise((resolve, reject) => {
    request = http.request(url, { method, agent, headers: { ...(body !== undefined ? { 'content-length': Buffer.byteLength(body), 'content-type': 'text/plain;charset=UTF-8' } : {}), ...headers } }, (r) => {
      const chunks = [];
      r.on('data', (d) => chunks.push(d)).on('error', reject)
        .on('end', () => resolve({ status: r.statusCode, text: Buffer.concat(chunks).toString(), headers: r.headers }));
    });
    request.on('error', reject);
    request.end(body);
  });
  p.catch(() => {});
  return Object.assign(p, { request });
}
const get = (base, sid, headers) => http1('GET', `${base}${EIO}&sid=${sid}`, undefined, headers);
const post = (base, sid, body, headers) => http1('POST', `${base}${EIO}&sid=${sid}`, body, headers);
const handshake = async (base) => JSON.parse((await http1('GET', `${base}${EIO}`)).text.slice(1)).sid;

/** A polling session at `base` that has joined as a user of its own: its sid. The packets of the join are consumed. */
let users = 0;
async function joined(base, { user, via = base } = {}) {
  const sid = await handshake(base);
  user ??= (await app.user(`u${users++}`)).id;
  const token = await app.token(user);
  assert.equal((await post(via, sid, `40${JSON.stringify({ token })}`)).text, 'ok');
  for (let seen = ''; !seen.includes('session.ready');) {
    const r = await get(via, sid);
    assert.equal(r.status, 200, r.text);
    seen += r.text;
  }
  return sid;
}

/** Whether a session still is one, as the gateway that has it says: a POST that means nothing. */
const alive = async (base, sid) => (await post(base, sid, '6')).status === 200;
const ended = (base, sid) => until(async () => !(await alive(base, sid)), { ...SLOW, every: 100, what: 'the end of the session' });

function websocket(base, sid) {
  const ws = new WebSocket(`${base.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${sid ? `&sid=${sid}` : ''}`);
  const w = { ws, got: [], closed: null };
  sockets.push(ws);
  ws.on('message', (d, binary) => w.got.push(binary ? d : d.toString()));
  ws.on('close', (code) => { w.closed = code; });
  ws.on('error', (e) => { w.error = e; });
  w.open = () => until(() => ws.readyState === WebSocket.OPEN || w.error || w.closed !== null, { ...SLOW, what: 'a WebSocket' });
  w.wait = (match, what = match) => until(() => w.got.find((m) => (typeof m === 'string' && (match instanceof RegExp ? match.test(m) : m === match))), { ...SLOW, what: () => `${what} (got ${w.got.map(String).join(' | ').slice(0, 300)})` });
  w.end = () => until(() => w.closed !== null, { ...SLOW, what: 'the end of the WebSocket' });
  return w;
}

/** A session of `owner` whose transport is a WebSocket at `front`. */
async function upgraded(owner, front, user) {
  const sid = await joined(owner, { user });
  const w = websocket(front, sid);
  await w.open();
  w.ws.send('2probe');
  await w.wait('3probe');
  w.ws.send('5');
  w.ws.send('42["server.ping",{"t":1}]');
  w.sid = sid;
  return w;
}

describe('polling that lands at the wrong gateway', () => {
  test('is answered as if it had landed right: GET, POST, GET that waits', async () => {
    const sid = await joined(A, { via: B });
    const waiting = get(B, sid);
    await sleep(100);
    assert.equal((await post(B, sid, '421["server.ping",{"t":7}]')).text, 'ok');
    const r = await waiting;
    assert.equal(r.status, 200);
    assert.match(r.text, /^431\[\{"ok":true/);
    assert.equal(r.headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(r.headers['cache-control'], 'no-store');
  });

  test('answers are the same, byte for byte, at both gateways', async () => {
    const strip = ({ status, text, headers: { date, ...headers } }) => ({ status, text, headers });
    const cases = [
      ['POST', '', '4not a packet'], ['POST', '', ''], ['POST', '', '7'], ['POST', '', 'b@@@'], ['POST', '', '1'], ['POST', '', '6'], ['PUT', '', undefined],
      ['DELETE', '', undefined], ['GET', '&transport=websocket', undefined], ['GET', '&transport=nonsense', undefined], ['POST', '', '4', { 'content-type': 'application/octet-stream' }],
      ['POST', '', '6', { origin: 'http://example.com' }], ['OPTIONS', '', undefined, { origin: 'http://example.com', 'access-control-request-headers': 'x-y' }],
      ['GET', '&transport=websocket', undefined, { origin: 'http://example.com' }], ['POST', '', `4${'x'.repeat(70000)}`], ['POST', '', 'x'.repeat(1000001)], ['POST', '', '\x1e6'],
    ];
    for (const [method, query, body, headers] of cases) {
      const answers = [];
      for (const base of [A, B]) {
        const sid = await handshake(A);
        answers.push(strip(await http1(method, `${base}${EIO}&sid=${sid}${query}`, body, headers)));
        answers.push(await alive(A, sid));
      }
      assert.deepEqual(answers.slice(2), answers.slice(0, 2), `${method} ${query} ${String(body).slice(0, 20)}`);
    }
  });

  test('a body over the limit before the token is refused with 413, at its head, and the session stays', async () => {
    const sid = await handshake(A);
    const r = await post(B, sid, `4${'x'.repeat(70000)}`);
    assert.equal(r.status, 413);
    assert.ok(await alive(A, sid));
    const late = dialTcp(Number(stack.env.PARLEY_REALTIME_PORT) + 1, '127.0.0.1');
    sockets.push(late);
    let text = '';
    late.on('data', (d) => { text += d; }).on('error', () => {});
    late.write(`POST ${EIO}&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n`);
    await until(() => /^HTTP\/1.1 413/.test(text), { ...SLOW, what: '413 before the body' });
    assert.ok(await alive(A, sid));
  });

  test('binary goes both ways', async () => {
    const sid = await joined(A);
    assert.equal((await post(B, sid, '451-1["server.ping",{"_placeholder":true,"num":0}]\x1ebAQID')).text, 'ok');
    const r = await get(B, sid);
    assert.match(r.text, /^431\[\{"ok":false,"error":\{"code":"validation_failed"/, 'it has arrived as an event with an attachment, which this one does not take');
  });

  test('a large body arrives whole', async () => {
    const sid = await joined(A);
    const packets = [...Array.from({ length: 200 }, () => `6${'x'.repeat(4900)}`), '425["server.ping",{"t":1}]'];
    for (let i = 0; i < 3; i++) {
      assert.equal((await post(B, sid, packets.join('\x1e'))).text, 'ok');
      assert.match((await get(B, sid)).text, /^435\[\{"ok":true/);
    }
  });

  test('the client hangs up: the owner ends the session', async () => {
    const sid = await joined(A);
    const waiting = get(B, sid);
    await until(async () => (await metric(1, 'parley_relay_requests_total', 'owner')) > 0, SLOW);
    await sleep(100);
    assert.ok(await alive(A, sid));
    waiting.request.destroy();
    await ended(A, sid);
  });

  test('a POST that is cut off ends the session', async () => {
    const sid = await joined(A);
    const half = dialTcp(Number(stack.env.PARLEY_REALTIME_PORT) + 1, '127.0.0.1').on('error', () => {});
    sockets.push(half);
    half.write(`POST ${EIO}&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n6`);
    await sleep(200);
    half.destroy();
    await ended(A, sid);
  });

  for (const [first, second] of [['A', 'B'], ['B', 'A'], ['B', 'B']]) {
    test(`overlapping GETs, one at ${first}, one at ${second}: both are answered, the session ends`, async () => {
      const at = { A, B };
      const sid = await joined(A);
      const one = get(at[first], sid);
      await sleep(300);
      const two = await get(at[second], sid);
      assert.deepEqual([two.status, two.text], [400, '']);
      assert.deepEqual([(await one).status, (await one).text], [200, '1']);
      assert.ok(!(await alive(A, sid)));
    });
  }

  test('the client says goodbye: the GET that waits elsewhere gets a noop', async () => {
    const sid = await joined(A);
    const waiting = get(B, sid);
    await sleep(200);
    assert.equal((await post(A, sid, '1')).text, 'ok');
    assert.equal((await waiting).text, '6');
    const later = await get(B, sid);
    assert.deepEqual([later.status, later.text], [400, UNKNOWN]);
  });

  test('an unknown node and an unknown session of a known one are refused at once', async () => {
    const sid = await handshake(A);
    for (const other of [`@@@${sid.slice(3)}`, `${sid.slice(0, 3)}${'x'.repeat(17)}`, `___${sid.slice(3)}`]) {
      for (const base of [A, B]) {
        const begun = Date.now();
        for (const r of await Promise.all([get(base, other), post(base, other, '6')])) assert.deepEqual([r.status, r.text], [400, UNKNOWN]);
        assert.ok(Date.now() - begun < 2500, `${Date.now() - begun} ms`);
      }
    }
    assert.ok(await alive(A, sid));
  });

  test('a pipelined request behind a body does not stop the gateway', async () => {
    const sid = await joined(A);
    const c = dialTcp(Number(stack.env.PARLEY_REALTIME_PORT) + 1, '127.0.0.1').on('error', () => {});
    sockets.push(c);
    c.write(`GET /livez HTTP/1.1\r\nHost: x\r\n\r\nPOST ${EIO}&sid=${sid} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n6`);
    await closed(c);
    assert.equal((await http1('GET', `${B}/livez`)).status, 200);
    assert.ok(await alive(A, sid), 'nothing of it was read');
  });
});

describe('WebSockets that land at the wrong gateway', () => {
  test('probe, upgrade, traffic both ways, polling refused afterwards', async () => {
    const sid = await joined(A);
    const waiting = get(A, sid);
    const w = websocket(B, sid);
    await w.open();
    w.ws.send('2probe');
    await w.wait('3probe');
    assert.equal((await waiting).text, '6');
    w.ws.send('5');
    w.ws.send('429["server.ping",{"t":5}]');
    await w.wait(/^439\[\{"ok":true/);
    for (const base of [A, B]) assert.deepEqual((({ status, text }) => [status, text])(await get(base, sid)), [400, '{"code":3,"message":"Bad request"}']);
    assert.equal(await metric(2, 'parley_relay_websockets', 'front'), 1);
    assert.equal(await metric(1, 'parley_relay_websockets', 'owner'), 1);
    w.ws.close(1000);
    await until(async () => (await metric(1, 'parley_relay_websockets', 'owner')) === 0 && (await metric(2, 'parley_relay_websockets', 'front')) === 0, { ...SLOW, what: 'the end at both sides' });
    const later = await get(A, sid);
    assert.deepEqual([later.status, later.text], [400, UNKNOWN]);
  });

  test('a second one, one that does not probe and an unknown session are closed; the session lives', async () => {
    const w = await upgraded(A, B);
    const second = websocket(B, w.sid);
    await second.end();
    assert.ok([1000, 1005].includes(second.closed), String(second.closed));
    const sid = await joined(A);
    const impatient = websocket(B, sid);
    await impatient.open();
    impatient.ws.send('4hi');
    await impatient.end();
    assert.ok(await alive(B, sid));
    const unknown = websocket(B, `${sid.slice(0, 3)}${'x'.repeat(17)}`);
    await unknown.end();
    const nowhere = websocket(B, `@@@${sid.slice(3)}`);
    await nowhere.end();
    assert.match(String(nowhere.error), /400/);
    w.ws.send('423["server.ping",{"t":1}]');
    await w.wait(/^423?|^433\[\{"ok":true/);
    assert.equal(w.closed, null);
  });

  test('close codes: 1009 for a message over the limit, none for nonsense', async () => {
    const big = await upgraded(A, B);
    big.ws.send(`4${'x'.repeat(1000001)}`);
    await big.end();
    assert.equal(big.closed, 1009);
    const odd = await upgraded(A, B);
    odd.ws.send('xyz');
    await odd.end();
    assert.equal(odd.closed, 1005);
  });

  test('messages in pieces, binary attachments, large ones', async () => {
    const w = await upgraded(A, B);
    w.ws.send('421["server.p', { fin: false });
    w.ws.send('ing",{"t":', { fin: false });
    w.ws.send('3}]', { fin: true });
    await w.wait(/^431\[\{"ok":true/);
    w.ws.send('451-2["server.ping",{"_placeholder":true,"num":0}]');
    w.ws.send(Buffer.alloc(900000, 7));
    await w.wait(/^432\[\{"ok":false,"error":\{"code":"validation_failed"/);
    w.ws.send(`423["server.ping",{"t":1,"x":"${'é'.repeat(300000)}"}]`);
    await w.wait(/^433\[/);
  });

  test('pings of the WebSocket protocol are answered where they land, between frames', async () => {
    const w = await upgraded(A, B);
    let pongs = 0;
    w.ws.on('pong', () => pongs++);
    for (let i = 0; i < 5; i++) {
      w.ws.ping('x');
      for (let n = 0; n < 10; n++) w.ws.send(`42${100 + 10 * i + n}["server.ping",{"t":1}]`);
      await until(() => pongs === i + 1, { ...SLOW, what: 'a pong' });
    }
    await w.wait(/^43149\[/);
  });

  test('the heartbeat is the owner\'s: an upgraded session outlives several', async () => {
    const other = await Stack.start({ gateways: 2, env: { PARLEY_PING_INTERVAL_MS: '400', PARLEY_PING_TIMEOUT_MS: '4000' } });
    try {
      const [one, two] = other.endpoints.realtime;
      const a = await other.app('Beat');
      await a.user('alice');
      const sid = JSON.parse((await http1('GET', `${one}${EIO}`)).text.slice(1)).sid;
      const w = websocket(two, sid);
      await w.open();
      w.ws.on('message', (d) => d.toString() === '2' && w.ws.send('3'));
      for (const p of ['2probe', '5', `40${JSON.stringify({ token: await a.token('alice') })}`]) w.ws.send(p);
      await w.wait(/session\.ready/);
      await until(() => w.got.filter((m) => m === '2').length >= 5, { timeout: 30000, what: '5 pings' });
      assert.equal(w.closed, null);
      w.ws.removeAllListeners('message');
      await w.end();
    } finally {
      await other.stop();
    }
  });

  test('a reader that stands still is cut at the budget of the owner', { timeout: 120000 }, async () => {
    const group = await app.group(['alice', 'bob']);
    const w = await upgraded(A, B, 'bob');
    const cut = () => metric(1, 'parley_slow_consumers_total');
    const before = await cut();
    w.ws._socket.pause();
    const rss = () => Number(readFileSync(`/proc/${stack.pid('realtime-2')}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]);
    const from = rss();
    const a = await connect(A, await app.token('alice'), { transports: ['websocket'] });
    let sent = 0;
    while (await cut() === before && sent < 2000) {
      const acks = await Promise.all(Array.from({ length: 20 }, () => a.send('message.send', { conversation_id: group.id, text: 'z'.repeat(19000) }, 30000)));
      assert.ok(acks.every((x) => x.ok), JSON.stringify(acks.find((x) => !x.ok)));
      sent += 20;
    }
    assert.equal(await cut(), before + 1);
    assert.ok(rss() - from < 60000, `the front kept ${rss() - from} kB`);
    w.ws._socket.resume();
    await w.end();
    assert.equal((await a.send('server.ping', { t: 1 })).ok, true);
    await until(async () => (await metric(2, 'parley_relay_websockets', 'front')) === 0, SLOW);
  });
});

// ---- HAProxy ----

async function freePort() {
  const s = createServer().listen(0, '127.0.0.1');
  await once(s, 'listening');
  const { port } = s.address();
  await new Promise((resolve) => s.close(resolve));
  return port;
}

/** A balancer that knows nothing: each request goes to the next gateway. `mode`: how HAProxy treats the connections. */
async function haproxy(mode) {
  const dir = mkdtempSync(join(tmpdir(), 'parley-haproxy-'));
  const port = await freePort();
  const servers = [A, B].map((url, i) => `    server gateway-${i + 1} ${url.replace('http://', '')}`).join('\n');
  writeFileSync(join(dir, 'haproxy.cfg'), `global
    maxconn 4000
defaults
    mode http
    option ${mode}
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend socketio
    bind 127.0.0.1:${port}
    default_backend gateways
backend gateways
    balance roundrobin
${servers}
`);
  const child = spawn('haproxy', ['-db', '-f', join(dir, 'haproxy.cfg')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (d) => { said += d; });
  const gone = once(child, 'exit');
  await until(() => new Promise((resolve) => {
    if (child.exitCode !== null) throw new Error(`haproxy: ${said}`);
    const s = dialTcp(port, '127.0.0.1').once('connect', () => { s.destroy(); resolve(true); }).once('error', () => resolve(false));
  }), { ...SLOW, what: 'haproxy' });
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGKILL');
      await gone;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

describe('behind an HAProxy in plain round-robin', () => {
  for (const mode of ['http-server-close', 'http-keep-alive']) {
    for (const [name, options] of [['polling only', { transports: ['polling'] }], ['polling, then upgrade', { transports: ['polling', 'websocket'] }]]) {
      test(`${mode}, ${name}: 32 clients connect at the first try, and nothing is lost or out of order`, { timeout: 180000 }, async () => {
        const proxy = await haproxy(mode);
        const relayed = () => Promise.all([1, 2].map((n) => metric(n, 'parley_relay_requests_total', 'front')));
        const before = await relayed();
        try {
          const members = Array.from({ length: 8 }, (_, i) => `m${i}`);
          for (const id of members) await app.user(id);
          const group = await app.group(members);
          const clients = [];
          for (let round = 0; round < 4; round++) { // with traffic under way from the first round on
            const more = await Promise.all(members.map(async (id, i) => connect(proxy.url, await app.token(id, { device_id: `d${round}-${i}` }), { ...options, timeout: 30000 })));
            for (const c of more) c.from = texts(c, group.id).length;
            clients.push(...more);
            clients.forEach((c, i) => { c.sends = [...(c.sends ?? []), ...Array.from({ length: 3 }, (_, n) => c.send('message.send', { conversation_id: group.id, text: `${i}:${round * 3 + n}` }, 60000))]; });
          }
          const acks = await Promise.all(clients.flatMap((c) => c.sends));
          assert.ok(acks.every((a) => a.ok), JSON.stringify(acks.find((a) => !a.ok)));
          const last = Math.max(...acks.map((a) => a.message.seq));
          const seqs = (c) => c.of('message.new').filter((m) => m.conversation_id === group.id).map((m) => m.seq);
          await Promise.all(clients.map((c, i) => until(() => seqs(c).at(-1) === last, { timeout: 60000, what: `the last message at client ${i}` })));
          for (const c of clients) {
            const got = seqs(c);
            assert.deepEqual(got, Array.from({ length: got.length }, (_, n) => got[0] + n), 'in order, without a gap, each once');
            assert.deepEqual(c.of('connect_error'), []);
            assert.deepEqual(c.of('disconnect'), []);
          }
          for (let i = 0; i < clients.length; i++) {
            const own = texts(clients[0], group.id).filter((t) => t.startsWith(`${i}:`)).map((t) => Number(t.split(':')[1]));
            assert.deepEqual(own, [...own].sort((x, y) => x - y), 'in the order of the sender');
          }
          if (options.transports.length === 2) await until(() => clients.every((c) => c.socket.io.engine.transport.name === 'websocket'), { ...SLOW, what: 'every client upgraded' });
          const now = await relayed();
          assert.ok(now.every((n, i) => n > before[i]), 'both gateways have relayed');
        } finally {
          closeAll();
          await proxy.stop();
        }
      });
    }
  }
});

// ---- strangers on the port ----

const nodes = async () => (await stack.sql("select node_id, address from leases where state = 'live' and kind = 'realtime' order by started_at")).map(([id, address]) => ({ id, host: address.split(':')[0], port: Number(address.split(':')[1]) }));
const nodeOf = async (sid) => (await nodes()).find((n) => n.id.startsWith(sid.slice(0, 3)));

function name(text) {
  const b = Buffer.alloc(24);
  b.write(text);
  return b;
}
const secretOf = (master) => Buffer.from(hkdfSync('sha256', master, '', 'relay', 32));
const derive = (secret, label, transcript) => {
  const b = Buffer.alloc(32);
  b.write(label);
  return createHmac('sha256', secret).update(b).update(transcript).digest();
};

/** A front made by hand, as far as it gets: {shaken, socket, frame(), bytes()}. */
async function stranger(to, { master = stack.secret('master_key'), from = `zz${Math.random().toString(36).slice(2, 3)}-stranger`, target = to.id } = {}) {
  const socket = dialTcp(to.port, to.host).on('error', () => {});
  sockets.push(socket);
  const s = { socket, ended: false, received: Buffer.alloc(0), number: 0n };
  socket.on('data', (d) => { s.received = Buffer.concat([s.received, d]); }).on('close', () => { s.ended = true; });
  await once(socket, 'connect');
  const hello = Buffer.concat([Buffer.from('PRL1'), name(from), name(target), randomBytes(32)]);
  socket.write(hello);
  await until(() => s.ended || s.received.length >= 68, SLOW);
  if (s.ended) return s;
  const challenge = s.received.subarray(0, 68);
  const transcript = Buffer.concat([hello, challenge.subarray(0, 36)]);
  const secret = secretOf(master);
  s.ownerProven = challenge.subarray(36).equals(derive(secret, "relay owner's proof", transcript));
  s.received = s.received.subarray(68);
  s.proof = derive(secret, "relay front's proof", transcript);
  s.sent = [hello, s.proof];
  const key = derive(secret, "relay front's frames", transcript);
  socket.write(s.proof);
  s.frame = (type, stream, payload = Buffer.alloc(0), { number, length } = {}) => {
    const head = Buffer.alloc(17);
    head.writeUInt32BE(length ?? payload.length, 0);
    head.writeBigUInt64BE(number ?? s.number++, 4);
    head.writeUInt32BE(stream, 12);
    head[16] = type;
    const body = Buffer.concat([head, payload]);
    return Buffer.concat([body, createHmac('sha256', key).update(body).digest().subarray(0, 16)]);
  };
  s.closed = () => until(() => s.ended, { ...SLOW, what: 'the end of the connection' });
  return s;
}
const PING = 0, REQUEST = 2, BODY = 3, WROTE = 7, GONE = 8, ANSWER = 10;

describe('the relay\'s port', () => {
  let sid, owner, w;
  before(async () => {
    w = await upgraded(A, B);
    sockets.length = 0; // it lives through all of these
    sid = w.sid;
    owner = await nodeOf(sid);
  });
  afterEach(async () => {
    const mark = w.got.length;
    w.ws.send('4299["server.ping",{"t":1}]');
    await until(() => w.got.slice(mark).some((m) => /^4399\[/.test(m)), { ...SLOW, what: 'an answer over the relay that exists' });
    assert.equal(w.closed, null);
  });
  after(() => w.ws.terminate());

  test('speaks the protocol that this test speaks', async () => {
    const s = await stranger(owner);
    assert.ok(s.ownerProven);
    s.socket.write(s.frame(PING, 0));
    await until(() => s.received.length >= 33, { ...SLOW, what: 'a pong' });
    const request = Buffer.concat([Buffer.from([0, 0]), Buffer.alloc(8, 255), Buffer.from(`${sid.slice(0, 3)}${'x'.repeat(17)}`)]);
    s.socket.write(s.frame(REQUEST, 1, request));
    await until(() => s.received.includes('Session ID unknown'), { ...SLOW, what: 'an answer' });
    assert.equal(s.received[33 + 16], ANSWER);
  });

  test('a wrong secret, another target, garbage, silence: dropped', { timeout: 60000 }, async () => {
    const wrong = await stranger(owner, { master: 'f'.repeat(64) });
    assert.ok(!wrong.ownerProven);
    await wrong.closed();
    const elsewhere = await stranger(owner, { target: 'someone-else' });
    assert.ok(elsewhere.ended);
    for (const bytes of [randomBytes(200), Buffer.from('GET / HTTP/1.1\r\n\r\n'.repeat(8)), Buffer.alloc(100000), Buffer.from('PRL1')]) {
      const c = dialTcp(owner.port, owner.host).on('error', () => {});
      sockets.push(c);
      c.write(bytes);
      await closed(c);
    }
    assert.ok((await metric(1, 'parley_relay_errors_total', 'hello')) >= 4);
    assert.ok((await metric(1, 'parley_relay_errors_total', 'auth')) >= 1);
    assert.match(stack.logs(/relay_refused/), /relay_refused/);
  });

  test('recorded bytes are of no use', async () => {
    const s = await stranger(owner);
    const replay = dialTcp(owner.port, owner.host).on('error', () => {});
    sockets.push(replay);
    replay.write(Buffer.concat(s.sent));
    await closed(replay);
    const ping = s.frame(PING, 0);
    s.socket.write(Buffer.concat([ping, ping]));
    await s.closed();
  });

  for (const [what, make] of [
    ['a huge length', (s) => s.frame(BODY, 1, Buffer.alloc(0), { length: 0xffffffff })],
    ['a length above the bound', (s) => s.frame(BODY, 1, Buffer.alloc(0), { length: 65537 })],
    ['a number left out', (s) => s.frame(PING, 0, undefined, { number: 5n })],
    ['a frame of the other direction', (s) => s.frame(ANSWER, 1, Buffer.alloc(9))],
    ['an unknown type', (s) => s.frame(99, 0)],
    ['a changed byte', (s) => { const f = s.frame(BODY, 1, Buffer.from('abc')); f[18] ^= 1; return f; }],
    ['a request that is none', (s) => s.frame(REQUEST, 1, Buffer.alloc(30, 250))],
    ['a stream that begins twice', (s) => {
      const r = Buffer.concat([Buffer.from([1, 0]), Buffer.alloc(7), Buffer.from([5]), Buffer.from('x'.repeat(20))]);
      return Buffer.concat([s.frame(REQUEST, 1, r), s.frame(REQUEST, 1, r)]);
    }],
    ['a piece of a message without its head', (s) => s.frame(6, 1, Buffer.alloc(4))],
  ]) {
    test(`${what}: dropped`, async () => {
      const s = await stranger(owner);
      s.socket.write(make(s));
      await s.closed();
    });
  }

  test('more bytes written than were sent, for a WebSocket: dropped', async () => {
    const s = await stranger(owner);
    const own = await joined(A);
    s.socket.write(s.frame(5, 1, Buffer.from(own)));
    s.socket.write(s.frame(WROTE, 1, Buffer.from([0, 0, 1, 0])));
    await s.closed();
    assert.ok(await alive(A, own), 'a probe that was lost');
  });

  test('an answer that its client was no longer there for ends the session: what it held is lost', async () => {
    const s = await stranger(owner);
    const own = await joined(A);
    assert.equal((await post(A, own, '421["server.ping",{"t":1}]')).text, 'ok');
    await until(() => s.ownerProven, SLOW);
    s.socket.write(s.frame(REQUEST, 1, Buffer.concat([Buffer.from([0, 0]), Buffer.alloc(8, 255), Buffer.from(own)])));
    await until(() => s.received.includes('431[{"ok":true'), { ...SLOW, what: 'the answer' });
    assert.ok(await alive(A, own));
    s.socket.write(s.frame(GONE, 1, Buffer.concat([Buffer.from([2]), Buffer.from(own)])));
    await ended(A, own);
  });

  test('half a frame and then nothing: only its connection waits, and not for ever', { timeout: 60000 }, async () => {
    const s = await stranger(owner);
    s.socket.write(s.frame(PING, 0).subarray(0, 20));
    await s.closed();
  });

  test('a hundred silent connections do not keep gateways from each other', async () => {
    const many = Array.from({ length: 100 }, () => dialTcp(owner.port, owner.host).on('error', () => {}));
    sockets.push(...many);
    await Promise.all(many.map((c) => (c.readyState === 'open' ? null : once(c, 'connect').catch(() => {}))));
    const s = await stranger(owner);
    assert.ok(s.ownerProven);
  });
});

/** Starts it again, once the old process has gone. */
async function revive(pid) {
  await until(() => {
    try { return /^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8')); } catch { return true; }
  }, { ...SLOW, what: 'the end of the process' });
  await stack.up();
}

describe('the end of a gateway', () => {
  let pids;
  beforeEach(() => { pids = [1, 2].map((n) => stack.pid(`realtime-${n}`)); });

  test('the front is drained: a GET is let go, a WebSocket closed with 1001; the owner keeps the polling session', { timeout: 60000 }, async () => {
    const sid = await joined(A);
    const w = await upgraded(A, B);
    const waiting = get(B, sid);
    await sleep(300);
    stack.kill('realtime-2', 'SIGTERM');
    assert.deepEqual((({ status, text }) => [status, text])(await waiting), [200, '6']);
    await w.end();
    assert.equal(w.closed, 1001);
    assert.ok(await alive(A, sid));
    await ended(A, w.sid);
    await revive(pids[1]);
  });

  test('the owner is drained: its clients elsewhere are told as its own are', { timeout: 60000 }, async () => {
    const sid = await joined(A);
    const w = await upgraded(A, B);
    const waiting = get(B, sid);
    await sleep(300);
    stack.kill('realtime-1', 'SIGTERM');
    const r = await waiting;
    assert.equal(r.status, 200);
    assert.match(r.text, /server\.draining|^1$/);
    await w.end();
    assert.equal(w.closed, 1001);
    await revive(pids[0]);
  });

  test('the owner is killed: 400 code 1 at once, WebSockets closed', { timeout: 60000 }, async () => {
    const sid = await joined(A);
    const w = await upgraded(A, B);
    const waiting = get(B, sid);
    await sleep(300);
    const begun = Date.now();
    stack.kill('realtime-1');
    const r = await waiting;
    assert.deepEqual([r.status, r.text], [400, UNKNOWN]);
    await w.end();
    const again = await post(B, sid, '6');
    assert.deepEqual([again.status, again.text], [400, UNKNOWN]);
    assert.ok(Date.now() - begun < 5000, `${Date.now() - begun} ms`);
    await revive(pids[0]);
    const next = await joined(A, { via: B }); // the new one is found
    assert.ok(await alive(B, next));
  });

  test('the front is killed: the owner ends what it held', { timeout: 60000 }, async () => {
    const sid = await joined(A);
    const w = await upgraded(A, B);
    get(B, sid);
    await sleep(300);
    stack.kill('realtime-2');
    await Promise.all([ended(A, sid), ended(A, w.sid)]);
    assert.equal(await metric(1, 'parley_relay_websockets', 'owner'), 0);
    await revive(pids[1]);
    await joined(A, { via: B });
  });

  test('the owner stands still: after some seconds its sessions count as unknown', { timeout: 90000 }, async () => {
    const sid = await joined(A);
    const waiting = get(B, sid);
    await sleep(300);
    const pid = stack.pid('realtime-1');
    process.kill(pid, 'SIGSTOP');
    try {
      const r = await waiting;
      assert.deepEqual([r.status, r.text], [400, UNKNOWN]);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });
});

test('HAProxy is the real one', () => {
  assert.match(execFileSync('haproxy', ['-v']).toString(), /HAProxy version/);
});
