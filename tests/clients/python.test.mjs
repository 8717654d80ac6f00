// Debian's Python client, the one on threads and the one on asyncio, by each transport, against the real gateway.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect } from '../lib/client.mjs';
import { startEcho } from '../lib/echo.mjs';
import { Stack, root, until } from '../lib/stack.mjs';

const PYTHON = '/usr/bin/python3'; // the one for which Debian's packages are
const KINDS = ['threads', 'asyncio'];
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: null };
const BURST = 100;

const rows = KINDS.flatMap((kind) => Object.entries(TRANSPORTS).map(([by, transports]) =>
  ({ name: `${kind} by ${by}`, kind, by, transports, me: `me-${kind}-${by}`, peer: `peer-${kind}-${by}` })));

let stack, app, gateway, echo;
const running = new Set();
before(async () => {
  [stack, echo] = await Promise.all([Stack.start(), startEcho()]);
  gateway = stack.endpoints.realtime[0];
  app = await stack.app('Python', { limits: { sends_per_user: 1000, sends_per_conversation: 1000 } });
  await Promise.all(rows.flatMap((row) => [app.user(row.me), app.user(row.peer)]));
});
after(async () => {
  closeAll();
  for (const child of running) child.kill();
  await echo?.stop();
  await stack?.stop();
});

/** A Python client: events, wait, of, send and close as in lib/client.mjs, and `ended`: its exit code. */
function python(row, auth, url = gateway) {
  const child = spawn(PYTHON, [join(root, 'tests', 'clients', 'client.py'), row.kind, url, JSON.stringify(row.transports), JSON.stringify(auth)],
    { stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  const c = { events: [], acks: new Map(), complaints: '' };
  let ids = 0;
  createInterface(child.stdout).on('line', (line) => {
    const said = JSON.parse(line);
    if (said.ack !== undefined) c.acks.set(said.ack, said.args);
    else c.events.push(said.name ? { name: said.name, data: said.args[0], args: said.args } : { name: Object.keys(said)[0], data: Object.values(said)[0] });
  });
  child.stderr.on('data', (text) => { c.complaints += text; });
  child.stdin.on('error', () => {});
  c.ended = new Promise((resolve) => child.on('close', (code) => {
    running.delete(child);
    resolve(code);
  }));
  c.of = (name) => c.events.filter((e) => e.name === name).map((e) => e.data);
  const seen = () => `${c.events.map((e) => e.name).join(' ')}${c.complaints && `; stderr: ${c.complaints}`}`;
  c.wait = async (name, match = () => true) =>
    (await until(() => c.events.find((e) => e.name === name && match(e.data)), { timeout: 20000, what: () => `event ${name} (seen: ${seen()})` })).data;
  const say = (what) => child.stdin.write(`${JSON.stringify(what)}\n`);
  c.emit = (event, ...args) => say({ emit: event, args });
  c.sendAll = async (event, ...args) => {
    const id = ids++;
    say({ emit: event, args, id });
    await until(() => c.acks.has(id), { timeout: 15000, what: () => `the ack of ${event} (seen: ${seen()})` });
    return c.acks.get(id);
  };
  c.send = async (event, payload) => (await c.sendAll(event, payload))[0];
  c.close = async () => {
    say({ disconnect: true });
    assert.equal(await c.ended, 0, c.complaints);
    assert.doesNotMatch(c.complaints, /Traceback|rror|abort/);
  };
  return c;
}

const each = (title, fn) => describe(title, { concurrency: 3 }, () => {
  for (const row of rows) test(row.name, { timeout: 60000 }, () => fn(row));
});

each('connects, chats both ways and leaves', async (row) => {
  const c = python(row, { token: await app.token(row.me), device_id: 'desk' });
  const ready = await c.wait('session.ready');
  assert.equal(ready.user.id, row.me);
  assert.equal(await c.wait('transport'), row.transports?.[0] ?? 'websocket', 'the transport asked for');
  const b = await connect(gateway, await app.token(row.peer));
  const sent = await c.send('message.send', { to: row.peer, text: 'from Python: ü€𝄞' });
  assert.equal(sent.ok, true, JSON.stringify(sent));
  assert.equal((await b.wait('message.new', (m) => m.id === sent.message.id)).text, 'from Python: ü€𝄞');
  await c.wait('message.new', (m) => m.id === sent.message.id);
  const back = await b.send('message.send', { to: row.me, text: 'and back: ü€𝄞' });
  assert.equal((await c.wait('message.new', (m) => m.id === back.message.id)).text, 'and back: ü€𝄞');
  // The client acknowledges by itself when its handler has returned.
  await b.wait('receipt.updated', (r) => r.user_id === row.me && r.delivered_seq === back.message.seq, 10000);
  const wrong = await c.send('message.send', { to: row.peer, nonsense: 1 });
  assert.equal(wrong.error.code, 'validation_failed');
  await c.close();
  await b.close();
});

each('is told why it may not', async (row) => {
  const c = python(row, { token: 'nonsense' });
  const error = await c.wait('connect_error');
  assert.equal(error.message, 'invalid_token');
  assert.equal(error.data.code, 'invalid_token');
  await c.close();
});

each(`takes a burst of ${BURST} in order`, async (row) => {
  const { id } = await app.group([row.me, row.peer]);
  const token = { token: await app.token(row.me), device_id: 'burst' };
  const [c, b] = await Promise.all([python(row, token), connect(gateway, await app.token(row.peer), { transports: ['websocket'] })]);
  await c.wait('session.ready');
  await c.wait('transport');
  const taken = (x) => x.of('message.new').filter((m) => m.conversation_id === id).map((m) => m.text);
  const check = (x, mark) => {
    // On threads each event has one of its own: what they tell may overtake.
    const got = row.kind === 'threads' ? taken(x).sort() : taken(x);
    assert.deepEqual(got.filter((t) => t.startsWith(mark)), Array.from({ length: BURST }, (_, i) => `${mark}${String(i).padStart(3, '0')}`));
  };
  const burst = (mark) => Promise.all(Array.from({ length: BURST }, (_, i) => b.send('message.send', { conversation_id: id, text: `${mark}${String(i).padStart(3, '0')}` })));
  await burst('live ');
  await until(() => taken(c).length >= BURST, { timeout: 20000, what: () => `the burst (${taken(c).length} came; ${c.complaints})` });
  check(c, 'live ');
  await c.close();
  // And as what was missed: everything at once after session.ready.
  await burst('missed ');
  const again = python(row, token);
  await until(() => taken(again).filter((t) => t.startsWith('missed')).length >= BURST, { timeout: 20000, what: () => `what was missed (${taken(again).length} came; ${again.complaints})` });
  check(again, 'missed ');
  await again.close();
  await b.close();
});

each('sends and gets binary, in events and in acks', async (row) => {
  const binary = (bytes) => ({ $binary: bytes.toString('base64') });
  const payloads = [
    [binary(Buffer.from([0, 1, 0x1e, 255]))],
    [{ a: binary(randomBytes(5)), list: [binary(randomBytes(40)), { deep: binary(Buffer.alloc(0)) }], text: 'ü€𝄞', none: null }, 'second', 1.5],
    [{ large: binary(randomBytes(200000)) }],
    ['no binary'],
  ];
  const c = python(row, {}, echo.url);
  await c.wait('connect');
  await c.wait('transport');
  for (const args of payloads) {
    assert.deepEqual(await c.sendAll('message-with-ack', ...args), args);
    const before = c.events.length;
    c.emit('message', ...args);
    await until(() => c.events.length > before, { timeout: 15000, what: 'the echo' });
    const { name, args: back } = c.events[before];
    assert.deepEqual([name, back], ['message-back', args]);
  }
  await c.close();
});
