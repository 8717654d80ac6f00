// driver.mjs: raw TCP, HTTP/1.1 and WebSocket by hand, so that a row may send what no library would; the states a session can be brought into; and the judge of
// what came of it.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect as dial } from 'node:net';

export const EIO = '/socket.io/?EIO=4&transport=polling';
export const WS = '/socket.io/?EIO=4&transport=websocket';
const SEPARATOR = '\x1e';
const PATIENCE = 15000; // for what should come at once, on a slow machine

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const bytes = (x) => (Buffer.isBuffer(x) ? x : Buffer.from(x, 'utf8'));
const show = (x) => JSON.stringify(bytes(x).subarray(0, 160).toString('latin1'));

// ---- TCP ----

/** A connection that remembers what came and not yet was taken. end: '' while open, then 'fin' or 'rst'. */
export class Tcp {
  static async open(run) {
    const c = new Tcp();
    c.in = Buffer.alloc(0);
    c.end = '';
    c.fault = undefined;
    c.waiters = new Set();
    const wake = () => { for (const w of [...c.waiters]) w(); };
    c.socket = dial({ port: run.port, host: '127.0.0.1', localAddress: run.address, allowHalfOpen: true, noDelay: true });
    c.socket.on('data', (d) => { c.in = c.in.length === 0 ? d : Buffer.concat([c.in, d]); wake(); });
    c.socket.on('end', () => { c.end ||= 'fin'; wake(); });
    c.socket.on('error', () => { c.end ||= 'rst'; wake(); });
    c.socket.on('close', () => { c.end ||= 'rst'; wake(); });
    await new Promise((resolve, reject) => c.socket.once('connect', resolve).once('error', reject));
    return c;
  }

  write(data) {
    if (this.socket.writable) this.socket.write(bytes(data), () => {});
  }

  /** Writes as fast as the peer takes it, until all is written or the connection has ended. */
  async pour(data, size = 65536) {
    const all = bytes(data);
    this.pouring = true;
    for (let i = 0; i < all.length && !this.end && this.socket.writable; i += size) {
      if (!this.socket.write(all.subarray(i, i + size), () => {})) {
        await this.wait(() => this.end || this.socket.writableLength < 1048576, 'the peer to read', 30000, 'drain');
      }
    }
    this.pouring = false;
    if (this.behind) this.write(this.behind);
  }

  /** Until fn() is truthy: after every arrival and at the end; `also` names a further event. */
  wait(fn, what, ms = PATIENCE, also) {
    return new Promise((resolve, reject) => {
      let timer;
      const look = () => {
        if (this.fault) return finish(() => reject(this.fault));
        const value = fn();
        return value ? finish(() => resolve(value)) : undefined;
      };
      const finish = (how) => {
        clearTimeout(timer);
        this.waiters.delete(look);
        if (also) this.socket.off(also, look);
        how();
      };
      timer = setTimeout(() => finish(() => reject(new Error(`${what} did not come within ${ms} ms; unread: ${show(this.in)} end: ${this.end || 'open'}`))), ms);
      this.waiters.add(look);
      if (also) this.socket.on(also, look);
      look();
    });
  }

  ended(ms) {
    return this.wait(() => this.end, 'the end of the connection', ms);
  }

  /** What must not stand within what is being poured. */
  writeBehind(data) {
    if (this.pouring) this.behind = data;
    else this.write(data);
  }

  fin() { this.socket.end(); }
  reset() { this.socket.resetAndDestroy(); }
  destroy() { this.socket.destroy(); }

  // ---- HTTP ----

  /** Takes one complete answer from what has come, or undefined. */
  take() {
    const at = this.in.indexOf('\r\n\r\n');
    if (at < 0) return undefined;
    const [line, ...lines] = this.in.subarray(0, at).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(line)?.[1]);
    const headers = {};
    for (const l of lines) headers[l.slice(0, l.indexOf(':')).toLowerCase()] = l.slice(l.indexOf(':') + 1).trim();
    const bodiless = status < 200 || status === 204;
    let length = bodiless ? 0 : Number(headers['content-length'] ?? NaN);
    const rest = this.in.subarray(at + 4);
    if (Number.isNaN(length)) {
      if (!this.end) return undefined;
      length = rest.length;
    }
    if (rest.length < length) return undefined;
    this.in = rest.subarray(length);
    return { status, headers, body: rest.subarray(0, length).toString('utf8') };
  }

  /** The next answer; undefined: the connection ended without one. */
  async answer(ms) {
    let got;
    await this.wait(() => (got = this.take()) || this.end, 'an answer', ms);
    return got ?? this.take();
  }
}

/** A request's bytes. `lines`: header lines. */
export function request(method, target, lines = [], body) {
  const head = [`${method} ${target} HTTP/1.1`, 'Host: 127.0.0.1', ...lines];
  if (body !== undefined) head.push(`Content-Length: ${bytes(body).length}`);
  return Buffer.concat([Buffer.from([...head, '', ''].join('\r\n'), 'latin1'), bytes(body ?? '')]);
}

export const handshakeLines = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'];
const ACCEPT = createHash('sha1').update('dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');

// ---- WebSocket ----

/** A frame's bytes. length: the one announced; wide: 2 or 8 = bytes of its length field even if fewer would do. */
export function frame(opcode, payload = '', { mask = true, key = randomBytes(4), fin = true, rsv = 0, length, wide } = {}) {
  const data = bytes(payload);
  const n = BigInt(length ?? data.length);
  const first = Buffer.from([(fin ? 0x80 : 0) | rsv | opcode]);
  const bit = mask ? 0x80 : 0;
  let size;
  if (n < 126n && !wide) size = Buffer.from([bit | Number(n)]);
  else if (n < 65536n && wide !== 8) size = Buffer.from([bit | 126, Number(n >> 8n), Number(n & 255n)]);
  else {
    size = Buffer.alloc(9);
    size[0] = bit | 127;
    size.writeBigUInt64BE(n, 1);
  }
  if (!mask) return Buffer.concat([first, size, data]);
  const masked = Buffer.from(data);
  for (let i = 0; i < masked.length; i++) masked[i] ^= key[i & 3];
  return Buffer.concat([first, size, key, masked]);
}

export const closeFrame = (code, reason = '') => frame(8, code === undefined ? '' : Buffer.concat([Buffer.from([code >> 8, code & 255]), bytes(reason)]));

/** The frames of a server on a connection: packets (text as strings, binary as buffers), pongs, and the close code once it came (1005: a frame without one). */
export class Ws {
  constructor(tcp) {
    Object.assign(this, { tcp, packets: [], pongs: [], code: undefined, answersPings: true, answersClose: true });
    tcp.waiters.add(() => this.read());
    this.read();
  }

  read() {
    try {
      this.frames();
    } catch (e) {
      this.tcp.fault ??= e; // whoever waits for something fails by it
    }
  }

  frames() {
    for (;;) {
      const b = this.tcp.in;
      if (b.length < 2) return;
      let n = b[1] & 127;
      let at = 2;
      if (n === 126) { if (b.length < 4) return; n = b.readUInt16BE(2); at = 4; }
      else if (n === 127) { if (b.length < 10) return; n = Number(b.readBigUInt64BE(2)); at = 10; }
      if (b.length < at + n) return;
      assert.equal(b[0] & 0xf0, 0x80, `a whole frame without reserved bits: ${show(b)}`);
      assert.equal(b[1] & 0x80, 0, 'a server does not mask');
      const payload = Buffer.from(b.subarray(at, at + n));
      this.tcp.in = b.subarray(at + n);
      this.frame(b[0] & 15, payload);
    }
  }

  frame(opcode, payload) {
    if (opcode === 8) {
      assert.equal(this.code, undefined, `one close frame, and not another: ${show(payload)}`);
      assert.notEqual(payload.length, 1);
      this.code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
      if (this.answersClose) this.tcp.writeBehind(frame(8, payload.subarray(0, 2)));
    } else if (opcode === 10) this.pongs.push(payload);
    else if (opcode === 1 && payload.equals(Buffer.from('2'))) { if (this.answersPings) this.send('3'); }
    else if (opcode === 1) this.packets.push(payload.toString('utf8'));
    else if (opcode === 2) this.packets.push(payload);
    else assert.fail(`opcode ${opcode} from the server`);
    assert.ok(this.code === undefined || opcode === 8, 'nothing after a close frame');
  }

  send(...packets) {
    this.tcp.write(Buffer.concat(packets.map((p) => frame(Buffer.isBuffer(p) ? 2 : 1, p))));
  }

  wait(match, what) {
    const find = () => this.packets.findIndex((p) => (match instanceof RegExp ? typeof p === 'string' && match.test(p) : p === match));
    return this.tcp.wait(() => find() >= 0 || this.code !== undefined || this.tcp.end, what ?? String(match)).then(() => {
      assert.ok(find() >= 0, `${what ?? match} and not the end (code ${this.code}, ${this.tcp.end}) behind ${this.packets.map(show)}`);
      return this.packets.splice(0, find() + 1);
    });
  }

  /** Close frame or end: the code, 0 when the connection ended without a frame. */
  async closed(ms) {
    await this.tcp.wait(() => this.code !== undefined || this.tcp.end, 'a close frame', ms);
    return this.code ?? 0;
  }
}

// ---- sessions ----

const PING = (id) => `42${id}["server.ping",{"t":${id}}]`;
const ECHO = 900;

/** An Engine.IO session as a row uses it. `joined`: in the namespace "/". */
export class Session {
  constructor(t, fields) {
    Object.assign(this, { t, joined: false, seen: [], over: false, spare: [] }, fields);
    t.sessions.push(this);
  }

  get connect() { return `40${JSON.stringify({ token: this.t.token })}`; }

  /** Sends packets as the transport does: frames in one segment, or one POST. Returns the answer to the POST. */
  async send(...packets) {
    if (this.ws) return this.ws.send(...packets);
    return this.post(packets.map((p) => (Buffer.isBuffer(p) ? `b${p.toString('base64')}` : p)).join(SEPARATOR));
  }

  url(transport = 'polling') { return `/socket.io/?EIO=4&transport=${transport}&sid=${this.sid}`; }

  async post(body, lines = ['Content-Type: text/plain;charset=UTF-8']) {
    const c = await this.line('poster');
    c.write(request('POST', this.url(), lines, body));
    return c.answer();
  }

  async get() {
    const c = await this.line('getter');
    c.write(request('GET', this.url()));
    return c.answer(45000);
  }

  async line(name) {
    if (!this[name] || this[name].end) this[name] = await this.t.tcp();
    return this[name];
  }

  /** Everything up to the first packet that matches, without pings. */
  async until(match, what) {
    if (this.ws) return this.ws.wait(match, what);
    for (;;) {
      const at = this.seen.findIndex((p) => (match instanceof RegExp ? match.test(p) : p === match));
      if (at >= 0) return this.seen.splice(0, at + 1);
      const r = await this.get();
      assert.equal(r?.status, 200, `${what ?? match}: a poll is answered with ${JSON.stringify(r)} behind ${this.seen}`);
      const packets = r.body.split(SEPARATOR);
      assert.ok(packets.length <= 16, 'at most 16 packets in one answer');
      if (packets.includes('2')) await this.post('3');
      this.seen.push(...packets.filter((p) => p !== '2' && p !== '6'));
      assert.ok(!packets.includes('1'), `${what ?? match} and not the end: ${this.seen}`);
    }
  }

  async join() {
    const answer = await this.send(this.connect);
    if (!this.ws) assert.deepEqual([answer?.status, answer?.body], [200, 'ok']);
    const before = await this.until(/^42\["session\.ready",/, 'session.ready');
    assert.match(before.at(-2), /^40\{"sid":"[\w-]{20}"\}$/);
    this.joined = true;
    return before.slice(0, -2);
  }

  /** Still alive: it echoes (after joining, if it has not). Returns what had come before. */
  async survives() {
    const before = this.joined ? [] : await this.join();
    const answer = await this.send(PING(ECHO));
    if (!this.ws) assert.deepEqual([answer?.status, answer?.body], [200, 'ok'], 'the POST of the echo');
    const packets = await this.until(new RegExp(`^43${ECHO}\\[\\{"ok":true,`), 'the echo');
    return [...before, ...packets.slice(0, -1)];
  }

  /** The session is no more: `reason` is what the gateway counts it as. */
  gone(reason) {
    assert.ok(!this.over, 'a session ends once');
    this.over = true;
    this.t.run.reasons[reason] = (this.t.run.reasons[reason] ?? 0) + 1;
  }

  async unknown() {
    const c = await this.t.tcp();
    c.write(request('GET', this.url()));
    const r = await c.answer();
    c.destroy();
    assert.deepEqual([r?.status, r?.body], [400, UNKNOWN_SID]);
  }

  /** Ends a session that is still alive as a client does. */
  async leave() {
    if (this.over) return;
    if (this.ws) {
      this.ws.tcp.write(closeFrame(1000));
      await this.ws.tcp.ended();
    } else {
      const r = await this.post('1');
      assert.deepEqual([r?.status, r?.body], [200, 'ok']);
      await this.unknown();
    }
    this.gone('transport close');
  }
}

export const UNKNOWN_SID = '{"code":1,"message":"Session ID unknown"}';
export const BAD_REQUEST = '{"code":3,"message":"Bad request"}';

/** What one row works with. */
class Row {
  constructor(run, index) {
    Object.assign(this, { run, sessions: [], connections: [], token: run.tokens[index % run.tokens.length], user: run.users[index % run.users.length] });
  }

  async tcp() {
    const c = await Tcp.open(this.run);
    this.connections.push(c);
    return c;
  }

  async sent(data) {
    const c = await this.tcp();
    c.write(data);
    return c;
  }

  async exchange(data, ms) {
    const c = await this.sent(data);
    return { c, r: await c.answer(ms) };
  }

  /** Takes over the session of a handshake's answer. */
  adopt(body) {
    assert.match(body, /^0\{"sid":"[\w-]{20}","upgrades":\["websocket"\],"pingInterval":\d+,"pingTimeout":\d+,"maxPayload":1000000\}$/);
    return new Session(this, { sid: JSON.parse(body.slice(1)).sid });
  }

  async polling(query = '') {
    const { c, r } = await this.exchange(request('GET', EIO + query));
    assert.equal(r?.status, 200);
    const s = this.adopt(r.body);
    s.getter = c;
    return s;
  }

  /** A WebSocket past 101. */
  async websocket(target = WS, { behind = '', lines = handshakeLines, on } = {}) {
    const tcp = on ?? await this.tcp();
    tcp.write(Buffer.concat([request('GET', target, lines), bytes(behind)]));
    const r = await tcp.answer();
    assert.equal(r?.status, 101, JSON.stringify(r));
    assert.equal(r.headers['sec-websocket-accept'], ACCEPT);
    assert.equal(r.headers['sec-websocket-extensions'], undefined);
    return new Ws(tcp);
  }

  async ws(target = WS, options) {
    const ws = await this.websocket(target, options);
    return this.opened(ws);
  }

  async opened(ws) {
    const [open] = await ws.wait(/^0\{/, 'the open packet');
    const { sid, upgrades } = JSON.parse(open.slice(1));
    assert.deepEqual(upgrades, []);
    return new Session(this, { sid, ws });
  }

  /** A session may have been made, that ends for this reason. */
  maybe(reason) {
    this.run.perhaps[reason] = (this.run.perhaps[reason] ?? 0) + 1;
  }

  /** A WebSocket beside a polling session. */
  probe(s) {
    return this.websocket(s.url('websocket'));
  }

  async clean() {
    for (const s of this.sessions) await s.leave();
    for (const c of this.connections) c.destroy();
  }
}

const joinedOf = async (s) => { await s.join(); return s; };

/** How to bring a session into its state. */
export const states = {
  polling: (t) => t.polling(),
  'joined polling': async (t) => joinedOf(await t.polling()),
  ws: (t) => t.ws(),
  'joined ws': async (t) => joinedOf(await t.ws()),
  'joined ws with b64=1': async (t) => joinedOf(await t.ws(`${WS}&b64=1`)),
  held: async (t) => {
    const s = await joinedOf(await t.polling());
    s.held = await s.line('getter');
    s.held.write(request('GET', s.url()));
    await sleep(100); // nothing tells when the gateway has read it
    return s;
  },
  posting: async (t) => {
    const s = await joinedOf(await t.polling());
    s.posting = await s.line('poster');
    s.posting.write(Buffer.concat([request('POST', s.url(), ['Content-Type: text/plain', 'Content-Length: 40']), Buffer.from('42')]));
    await sleep(100);
    return s;
  },
  probing: async (t) => {
    const s = await joinedOf(await t.polling());
    s.probe = await t.probe(s);
    return s;
  },
  probed: async (t) => {
    const s = await states.probing(t);
    s.probe.send('2probe');
    await s.probe.wait('3probe');
    return s;
  },
  upgraded: async (t) => {
    const s = await states.probed(t);
    s.probe.send('5');
    s.ws = s.probe;
    assert.deepEqual(await s.survives(), []);
    return s;
  },
  left: async (t) => {
    const s = await states['joined ws'](t);
    s.ws.send('41');
    s.joined = false;
    return s;
  },
  refused: async (t) => {
    const s = await t.ws();
    s.ws.send('40{"token":"a.b.c"}');
    await s.until(/^44\{"message":"invalid_token"/);
    return s;
  },
  'two namespaces': async (t) => { // joined to "/", refused by "/game"
    const s = await states['joined ws'](t);
    s.ws.send(`40/game,${JSON.stringify({ token: t.token })}`);
    await s.until(/^44\/game,\{"message":"feature_disabled"/);
    return s;
  },
  'both namespaces': async (t) => {
    t.token = t.run.gamer;
    const s = await states['joined ws'](t);
    s.ws.send(`40/game,${JSON.stringify({ token: t.token })}`);
    await s.until(/^42\/game,\["session\.ready",/);
    return s;
  },
};

// ---- outcomes ----

/** The session survives, and `replies` (strings, patterns) and nothing else came before its echo. */
export const S = (...replies) => ({ kind: 'S', replies });
/** The session is closed: reason as counted; code of the close frame (0: none, the connection is cut); post: the answer to the POST; owed: the client's next poll
 * hears of the end. replies: what comes before it. */
export const C = (reason = 'parse error', { code = 1005, post = [400, BAD_REQUEST], owed = true, replies = [], within } = {}) => ({ kind: 'C', reason, code, post, owed, replies, within });
/** The request is refused (or answered): status and exact body (or pattern). then: what becomes of the connection, 'keep' or 'close'. 'none' as status: hung up on
 * without an answer. */
export const R = (status, body, then = 'keep', headers = {}) => ({ kind: 'R', status, body, then, headers });

function match(packets, wanted) {
  const ok = packets.length === wanted.length && wanted.every((w, i) => (w instanceof RegExp ? typeof packets[i] === 'string' && w.test(packets[i]) : w === packets[i]));
  assert.ok(ok, `expected ${wanted.map(String).join(' , ') || 'nothing'}; got ${packets.map(show).join(' , ') || 'nothing'}`);
}

/** Judges a session that has been sent what the row sends; `answer` is the POST's. */
export async function judge(s, want, answer) {
  if (want.kind === 'S') {
    if (!s.ws && answer) assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    const early = [];
    if (!s.joined && s.ws) { // a CONNECT while one is being answered would be ignored
      await s.ws.tcp.wait(() => s.ws.packets.length >= want.replies.length || s.ws.code !== undefined, 'the replies');
      early.push(...s.ws.packets.splice(0));
    }
    match([...early, ...(await s.survives())], want.replies);
    return;
  }
  s.gone(want.reason);
  if (s.ws) {
    assert.equal(await s.ws.closed(want.within), want.code, `the close code (behind ${s.ws.packets.map(show)})`);
    match(s.ws.packets, want.replies);
    await s.ws.tcp.ended();
  } else {
    assert.deepEqual([answer?.status, answer?.body], want.post);
    if (want.owed) {
      const r = await s.get();
      assert.equal(r?.status, 200, 'the end is told to the next poll');
      const packets = [...s.seen, ...r.body.split(SEPARATOR)];
      assert.equal(packets.pop(), '1');
      match(packets, want.replies);
    }
  }
  await s.unknown();
}

/** Judges the answer to a request on connection c. */
export async function judgeAnswer(c, want, ms) {
  const r = await c.answer(ms);
  if (want.status === 'none') {
    assert.equal(r, undefined, 'no answer');
    return r;
  }
  assert.equal(r?.status, want.status, JSON.stringify(r));
  if (want.body instanceof RegExp) assert.match(r.body, want.body);
  else if (want.body !== undefined) assert.equal(r.body, want.body);
  for (const [name, value] of Object.entries(want.headers)) {
    if (value instanceof RegExp) assert.match(r.headers[name] ?? '', value, name);
    else assert.equal(r.headers[name], value ?? undefined, name);
  }
  if (want.then === 'close') {
    await c.ended();
    assert.equal(c.in.length, 0, `nothing behind the answer: ${show(c.in)}`);
  } else {
    c.write(request('GET', '/livez'));
    const again = await c.answer();
    assert.deepEqual([again?.status, again?.body], [200, '{"status":"ok"}'], 'the connection is good for another request');
  }
  return r;
}

/** Plays a row: {name, state, send, want} or {name, play(t)}. */
async function play(row, t) {
  if (row.play) return row.play(t);
  const s = await states[row.state](t);
  if (row.mute) s.ws.answersClose = false;
  const send = typeof row.send === 'function' ? await row.send(s, t) : row.send;
  let answer;
  if (send?.raw !== undefined) await s.ws.tcp.pour(send.raw);
  else if (send?.body !== undefined) answer = await s.post(send.body, send.lines);
  else if (Array.isArray(send)) answer = await s.send(...send);
  else answer = send;
  return judge(s, row.want, answer);
}

async function one(row, index, run) {
  const t = new Row(run, index);
  const begun = performance.now();
  try {
    await play(row, t);
    await t.clean();
    await run.check?.();
  } catch (e) {
    run.failures.push(`${row.name}: ${e.message.split('\n').slice(0, 6).join(' | ')}`);
    for (const c of t.connections) c.destroy();
  }
  run.longest.push([Math.round(performance.now() - begun), row.name]);
}

/** Plays all rows, `width` at a time; slow ones (they only wait) run beside them from the start. */
export async function playAll(rows, run, width) {
  run.failures = [];
  run.reasons = {};
  run.perhaps = {};
  run.longest = [];
  const numbered = rows.map((row, i) => [row, i]);
  const pool = async (list, n) => {
    const left = [...list];
    await Promise.all(Array.from({ length: n }, async () => {
      for (let next; (next = left.shift());) await one(next[0], next[1], run);
    }));
  };
  await Promise.all([pool(numbered.filter(([r]) => r.slow), width === 1 ? 1 : 64), pool(numbered.filter(([r]) => !r.slow), width)]);
}
