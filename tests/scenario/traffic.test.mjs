// Traffic: what 1,000 messages cost. Postgres sees commit batches and nothing else; Redis sees no publish, since every online member sits on one gateway.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { closeAll, connect } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

const MESSAGES = 1000;
const WINDOW = 50; // sends under way at once
const MEMBERS = ['ann', 'ben', 'cem', 'dia', 'eva'];
// What the process does each second for itself, traffic or not: health and lease.
const BACKGROUND = /^(PING|SCHEMA_VERSION|LEASE_[A-Z]+)$/;

let stack, app, gateway;
before(async () => {
  stack = await Stack.start();
  gateway = stack.endpoints.realtime[0];
  app = await stack.app('Traffic', { limits: { sends_per_user: 1000, sends_per_conversation: 1000 } });
  for (const id of MEMBERS) await app.user(id);
});
after(async () => {
  closeAll();
  await stack?.stop();
});

/** {label value: number} of a counter with one label. */
async function counters(name) {
  const text = await (await fetch(stack.endpoints.metrics[1])).text();
  const rows = [...text.matchAll(new RegExp(`^${name}\\{[a-z_]+="([^"]*)"\\} (\\S+)$`, 'gm'))];
  return Object.fromEntries(rows.map((m) => [m[1], Number(m[2])]));
}

/** calls of a Redis command so far; the calls made inside scripts count too. */
async function calls(command) {
  const stats = await stack.redis('INFO', 'commandstats');
  return Number(stats.match(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm'))?.[1] ?? 0);
}

async function snapshot() {
  const [statements, batches, committed, publishes, frames] = await Promise.all([counters('parley_pg_statements_total'),
    stack.metric('parley_commit_batches_total'), stack.metric('parley_messages_committed_total'), calls('publish'), counters('parley_bus_messages_total')]);
  return { statements, batches, committed, publishes, out: frames.out ?? 0, at: performance.now() };
}

const grown = (from, to) => Object.fromEntries(Object.keys(to).map((k) => [k, to[k] - (from[k] ?? 0)]).filter(([, n]) => n !== 0));

async function sendAll(c, conversation, count, prefix) {
  const acks = new Array(count);
  let next = 0;
  await Promise.all(Array.from({ length: WINDOW }, async () => {
    while (next < count) {
      const i = next++;
      acks[i] = await c.send('message.send', { conversation_id: conversation, text: `${prefix}${i}`, client_msg_id: `${prefix}${i}` }, 30000);
    }
  }));
  return acks;
}

describe('1,000 messages into a group whose online members sit on one gateway', () => {
  let group, clients, before_, after_, acks;

  before(async () => {
    group = await app.group(MEMBERS);
    clients = await Promise.all(MEMBERS.map(async (id) => connect(gateway, await app.token(id), { acks: false })));
    const warm = await sendAll(clients[0], group.id, 20, 'warm');
    assert.ok(warm.every((a) => a.ok), JSON.stringify(warm.find((a) => !a.ok)));
    await Promise.all(clients.map((c) => until(() => c.of('message.new').length === 20, { what: 'the warm-up' })));
    await sleep(2500); // watermarks of the warm-up are written, leases and checks are in their rhythm
    before_ = await snapshot();
    acks = await sendAll(clients[0], group.id, MESSAGES, 'm');
    await Promise.all(clients.map((c) => until(() => c.of('message.new').length >= 20 + MESSAGES, { timeout: 30000, what: 'all messages' })));
    after_ = await snapshot();
  });
  after(closeAll); // of two connections of one device the slower counts, and these never acknowledge

  test('every send is acked with a number of its own, without a gap', () => {
    assert.ok(acks.every((a) => a.ok), JSON.stringify(acks.find((a) => !a.ok)));
    assert.ok(acks.every((a) => !a.duplicate));
    assert.deepEqual(acks.map((a) => a.message.seq).sort((x, y) => x - y), Array.from({ length: MESSAGES }, (_, i) => i + 22));
  });

  test('every member has got each once, in order', async () => {
    const wanted = Array.from({ length: 20 + MESSAGES }, (_, i) => i + 2);
    const bySeq = new Map(acks.map((a, i) => [a.message.seq, `m${i}`]));
    for (const c of clients) {
      const got = c.of('message.new');
      assert.deepEqual(got.map((m) => m.seq), wanted);
      for (const m of got.slice(20)) assert.equal(m.text, bySeq.get(m.seq));
      assert.ok(got.every((m) => m.provisional !== true || m.seq !== undefined));
    }
    assert.deepEqual(await stack.sql(`select count(*), min(seq), max(seq) from entries where sender_id = 'ann' and client_msg_id ~ '^m[0-9]+$'`),
      [[String(MESSAGES), '22', String(21 + MESSAGES)]]);
  });

  test('Postgres has seen nothing but commit batches', () => {
    const seconds = (after_.at - before_.at) / 1000;
    const rows = Object.entries(grown(before_.statements, after_.statements));
    const appends = rows.find(([name]) => name === 'APPEND')?.[1] ?? 0;
    const rest = rows.filter(([name]) => name !== 'APPEND' && !BACKGROUND.test(name));
    const batches = after_.batches - before_.batches;
    assert.equal(after_.committed - before_.committed, MESSAGES);
    assert.equal(appends, batches, 'one statement a batch');
    assert.ok(batches > 0 && batches < MESSAGES / 2, `${batches} batches for ${MESSAGES} messages: they travel together`);
    assert.deepEqual(rest, [], 'no look-up, no write but the commits');
    const background = rows.filter(([name]) => BACKGROUND.test(name)).reduce((n, [, k]) => n + k, 0);
    assert.ok(background <= 8 * (seconds + 2), `${background} statements of the process for itself in ${seconds.toFixed(1)} s`);
  });

  test('Redis has published nothing for them', async () => {
    assert.equal(after_.out - before_.out, 0, 'no frame went out');
    // What is left is the heartbeat of the gateway to itself and the API's word about nothing: one publish a second and node.
    const seconds = (after_.at - before_.at) / 1000;
    const idle = await snapshot();
    await sleep(3000);
    const later = await snapshot();
    const rate = (later.publishes - idle.publishes) / ((later.at - idle.at) / 1000);
    assert.ok(rate <= 1.7, `${rate.toFixed(2)} publishes a second while nothing happens`);
    assert.ok(after_.publishes - before_.publishes <= Math.ceil(seconds) + 1, `${after_.publishes - before_.publishes} publishes in ${seconds.toFixed(1)} s`);
  });
});

describe('clients that acknowledge what they get', () => {
  test('cost one statement a second for all their watermarks, not one a message', async () => {
    const group = await app.group(MEMBERS);
    const clients = await Promise.all(MEMBERS.map(async (id) => connect(gateway, await app.token(id), { transports: ['websocket'] })));
    const count = (c) => c.of('message.new').filter((m) => m.conversation_id === group.id).length;
    await sendAll(clients[0], group.id, 20, 'w');
    await Promise.all(clients.map((c) => until(() => count(c) === 20, { what: 'the warm-up' })));
    await sleep(2500);
    const from = await snapshot();
    const acks = await sendAll(clients[1], group.id, 300, 'k');
    assert.ok(acks.every((a) => a.ok), JSON.stringify(acks.find((a) => !a.ok)));
    await Promise.all(clients.map((c) => until(() => count(c) === 320, { timeout: 30000, what: 'all messages' })));
    await sleep(2500);
    const to = await snapshot();
    const seconds = (to.at - from.at) / 1000;
    const rows = Object.entries(grown(from.statements, to.statements)).filter(([name]) => name !== 'APPEND' && !BACKGROUND.test(name));
    assert.deepEqual(rows.filter(([name]) => name !== 'MARKS_RAISE'), []);
    const marks = rows.reduce((n, [, k]) => n + k, 0);
    assert.ok(marks > 0 && marks <= MEMBERS.length * Math.ceil(seconds + 1), `${marks} statements for watermarks in ${seconds.toFixed(1)} s`);
    assert.equal(to.out - from.out, 0);
    await until(async () => (await stack.sql(`select count(*) from marks where user_id in ('ann', 'eva') and device_id <> '*' and delivered_seq = 321`))[0][0] === '2',
      { what: 'the stored watermarks' });
    await Promise.all(clients.map((c) => c.close()));
  });
});
