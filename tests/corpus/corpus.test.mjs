// Bad input against the real gateway: every row has its stated outcome; meanwhile two official clients chat undisturbed; afterwards the same process serves new
// clients, nothing is left over and the memory is back to what it was. One row alone: CORPUS_ONLY='part of its name'. One by one: CORPUS_WIDTH=1. Without those that
// take their time: CORPUS_QUICK=1.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { closeAll, connect } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';
import { playAll } from './driver.mjs';
import { rows as http } from './http.mjs';
import { rows as frames } from './frames.mjs';
import { rows as packets } from './packets.mjs';
import { rows as polling } from './polling.mjs';
import { rows as upgrade } from './upgrade.mjs';

const only = process.env.CORPUS_ONLY;
const width = Number(process.env.CORPUS_WIDTH ?? 12);
const rows = [...http, ...polling, ...upgrade, ...frames, ...packets].filter((r) => (!only || r.name.includes(only)) && !(process.env.CORPUS_QUICK && r.slow));
const USERS = 40;
const NOISE_BYTES = 16384; // what caches and pools may differ by between two runs

let stack, app, gateway, run, witness;

/** The gateway as a child of this process, so that its exit status is known; its output goes to the stack's logs. */
async function startGateway() {
  stack.kill('realtime-1', 'SIGTERM');
  const old = stack.pid('realtime-1');
  await until(() => { try { process.kill(old, 0); return false; } catch { return true; } }, { timeout: 15000, what: 'the end of the gateway of the stack' });
  const log = openSync(join(stack.dir, 'logs', 'realtime-corpus.log'), 'a');
  const secret = (name) => join(stack.dir, 'secrets', name);
  const { PARLEY_BIN, PARLEY_DATA_DIR, PARLEY_DEV_DEMO, GATEWAYS, ...env } = stack.env;
  const child = spawn(join(PARLEY_BIN, 'parley-realtime'), [], {
    stdio: ['ignore', log, log],
    env: {
      ...env, ASAN_OPTIONS: 'detect_leaks=1:exitcode=99:quarantine_size_mb=1', UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
      PARLEY_DATABASE: `host=${stack.sockets} dbname=parley`, PARLEY_REDIS: join(stack.sockets, 'redis.sock'), PARLEY_REDIS_PASSWORD_FILE: secret('redis'),
      PARLEY_MASTER_KEY_FILE: secret('master_key'), PARLEY_WRITER_PASSWORD_FILE: secret('parley_writer'), PARLEY_DATABASE_PASSWORD_FILE: secret('parley_gateway'),
      PARLEY_ORIGINS: 'https://good.example, https://also.example', PARLEY_PING_INTERVAL_MS: '10000', PARLEY_PING_TIMEOUT_MS: '10000', PARLEY_CONNECT_TIMEOUT_MS: '10000',
    },
  });
  child.status = new Promise((resolve) => child.on('exit', (code, signal) => { child.over = true; resolve([code, signal]); }));
  await until(async () => child.over || (await fetch(stack.endpoints.metrics[1].replace('/metrics', '/readyz')).catch(() => ({}))).status === 200, { timeout: 20000, what: 'the gateway' });
  assert.ok(!child.over, stack.logs());
  return child;
}

/** The gauges and counters of the gateway that the corpus looks at. */
async function measure() {
  const text = await (await fetch(stack.endpoints.metrics[1])).text();
  const number = (name) => text.split('\n').filter((l) => l.startsWith(name) && /^[ {]/.test(l.slice(name.length))).reduce((n, l) => n + Number(l.slice(l.lastIndexOf(' ') + 1)), 0);
  const reasons = Object.fromEntries([...text.matchAll(/^parley_disconnects_total\{reason="([^"]+)"\} (\d+)$/gm)].map(([, k, v]) => [k, Number(v)]));
  return { sessions: number('parley_connections'), sockets: number('parley_sockets'), addresses: number('parley_addresses'), heap: number('parley_heap_bytes'), files: number('process_open_fds'), reasons };
}

/** Seconds of CPU that the gateway has used. */
function cpu() {
  const fields = readFileSync(`/proc/${gateway.pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Once nothing but the witnesses is connected and the memory has come to rest. */
async function atRest(what) {
  const told = new Promise((resolve) => witness.once('message', resolve));
  witness.postMessage('pause');
  assert.deepEqual(await told, { paused: true });
  let m;
  await until(async () => (m = await measure()).sessions === 2 && m.sockets === 2 && m.addresses === 1, { timeout: 45000, every: 200, what: () => `rest ${what}: ${JSON.stringify(m)}` });
  let lowest = m;
  for (let same = 0; same < 8;) { // presence and the like are given back some seconds later
    await sleep(500);
    m = await measure();
    same = m.heap < lowest.heap - 1024 ? 0 : same + 1;
    if (m.heap < lowest.heap) lowest = m;
  }
  let share = 1;
  for (let i = 0; i < 3 && share >= 0.5; i++) {
    const busy = cpu();
    await sleep(500);
    share = (cpu() - busy) / 0.5;
  }
  witness.postMessage('go');
  assert.ok(share < 0.5, `the gateway uses ${(share * 100).toFixed(0)} % of a core while nothing happens`);
  return { ...m, heap: lowest.heap };
}

/** The sessions ended for the reasons that the rows state; what did not fit. Starts the next count. */
function compareReasons(from, to) {
  const bad = [];
  const names = new Set([...Object.keys(to), ...Object.keys(run.reasons)]);
  for (const name of names) {
    const n = (to[name] ?? 0) - (from[name] ?? 0);
    const stated = run.reasons[name] ?? 0;
    if (n < stated || n > stated + (run.perhaps[name] ?? 0)) bad.push(`${n} sessions ended by "${name}", ${stated} to ${stated + (run.perhaps[name] ?? 0)} were stated`);
  }
  run.reasons = {};
  return bad;
}

async function pass(name) {
  const from = await measure();
  const begun = Date.now();
  let counted = from.reasons;
  if (width === 1) { // each row's sessions by themselves, which names the row
    run.check = async () => {
      const { reasons } = await measure();
      const bad = compareReasons(counted, reasons);
      counted = reasons;
      assert.deepEqual(bad, []);
    };
  }
  await playAll(rows, run, width);
  const played = Date.now() - begun;
  const rest = await atRest(`after ${name}`);
  if (run.failures.length === 0) run.failures.push(...compareReasons(counted, rest.reasons));
  const longest = run.longest.sort((a, b) => b[0] - a[0]).filter(([, n]) => !rows.find((r) => r.name === n).slow).slice(0, 3).map(([ms, n]) => `${ms} ms «${n}»`);
  console.log(`${name}: ${played} ms; longest of the quick ones: ${longest.join(', ')}; heap ${rest.heap}, descriptors ${rest.files}`);
  assert.ok(!gateway.over, 'the gateway lives');
  return rest;
}

before(async () => {
  stack = await Stack.start();
  gateway = await startGateway();
  app = await stack.app('Corpus', { limits: { sends_per_user: 1000, connections_per_user: 100 } });
  const users = Array.from({ length: USERS }, (_, i) => `u${i}`);
  for (const id of [...users, 'bob', 'w0', 'w1', 'bad']) await app.user(id);
  run = { port: Number(stack.env.PARLEY_REALTIME_PORT), address: '127.0.0.2', users, tokens: [] };
  for (const id of users) run.tokens.push(await app.token(id));
  run.readers = [];
  for (const id of ['r0', 'r1']) {
    await app.user(id);
    run.readers.push({ id, token: await app.token(id) });
  }
  const games = await stack.app('Games', { features: { games: true } });
  await games.user('gamer');
  run.gamer = await games.token('gamer');
  run.other = await app.token('bob');
  run.revoked = await app.token('bad');
  assert.ok((await app.api('POST', '/v1/users/bad/token-revocations', {})).status < 300);
  run.message = async (to) => {
    const { id } = (await app.api('PUT', `/v1/conversations/direct/bob/${to}`)).body;
    return (await app.api('POST', `/v1/conversations/${id}/messages`, { sender_id: 'bob', text: 'corpus' })).body;
  };
  run.retry = async (fn) => {
    for (let i = 0; i < 100; i++) {
      const got = await fn();
      if (got) return got;
      await sleep(50);
    }
    throw new Error('tried a hundred times');
  };
  witness = new Worker(new URL('./witness.mjs', import.meta.url), { workerData: { url: stack.endpoints.realtime[0], names: ['w0', 'w1'], tokens: [await app.token('w0'), await app.token('w1')] } });
  const first = await new Promise((resolve, reject) => witness.once('message', resolve).once('error', reject));
  assert.deepEqual(first, { ready: true });
});

after(async () => {
  closeAll();
  await witness?.terminate();
  if (gateway && !gateway.over) gateway.kill('SIGKILL');
  await stack?.stop();
});

describe('corpus', () => {
  let warm;

  test('the rows', () => {
    console.log(`corpus: ${rows.length} cases`);
    if (!only && !process.env.CORPUS_QUICK) assert.ok(rows.length >= 400, String(rows.length));
    const names = rows.map((r) => r.name);
    assert.deepEqual(names.filter((n, i) => names.indexOf(n) !== i), [], 'each row once');
  });

  test('every row has its outcome', { timeout: 300000 }, async () => {
    warm = await pass('first run');
    assert.equal(run.failures.length, 0, `${run.failures.length} rows:\n${run.failures.join('\n')}`);
  });

  test('and again, after which sessions, sockets, addresses, descriptors and memory are what they were', { timeout: 300000 }, async () => {
    const now = await pass('second run');
    assert.equal(run.failures.length, 0, `${run.failures.length} rows:\n${run.failures.join('\n')}`);
    assert.deepEqual([now.sessions, now.sockets, now.addresses, now.files], [2, 2, 1, warm.files]);
    assert.ok(now.heap <= warm.heap + NOISE_BYTES, `the heap has grown from ${warm.heap} to ${now.heap}`);
  });

  test('a new client connects and is answered', { timeout: 60000 }, async () => {
    for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
      const c = await connect(stack.endpoints.realtime[0], run.tokens[0], { transports });
      assert.equal((await c.send('server.ping', { t: 1 })).ok, true);
      await c.close();
    }
  });

  test('nothing was stored that came before CONNECT', async () => {
    assert.deepEqual(await stack.sql("select count(*) from entries where convert_from(body, 'UTF8') like '%unseen%'"), [['0']]);
  });

  test('the witnesses have seen every message, in order, and every ack in time', { timeout: 60000 }, async () => {
    const done = new Promise((resolve) => witness.on('message', (m) => m.result && resolve(m.result)));
    witness.postMessage('end');
    const result = await done;
    console.log(`witnesses: ${result.sent} messages, the slowest ack took ${Math.round(result.slowest)} ms`);
    assert.deepEqual(result.faults, []);
    assert.equal(result.acked, result.sent);
    if (!only) assert.ok(result.sent >= 100, String(result.sent));
    assert.ok(result.slowest < 5000, `${result.slowest} ms`);
  });

  test('the gateway ends by SIGTERM with status 0 and without a report', { timeout: 60000 }, async () => {
    gateway.kill('SIGTERM');
    assert.deepEqual(await gateway.status, [0, null], stack.logs(/realtime|Sanitizer/));
    assert.equal(stack.logs(/shutdown_cut|handles were left open|Sanitizer|runtime error/), '');
  });
});
