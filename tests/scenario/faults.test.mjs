// Postgres, Redis and gateways die, freeze and come back under traffic: honest answers meanwhile, nothing acked is lost, nothing is stored twice.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { closeAll, connect, dial } from '../lib/client.mjs';
import { Stack, sleep, until } from '../lib/stack.mjs';

const FALSE_WITHIN = 2000; // readiness after a store has gone
const BACK_WITHIN = 5000;  // service after it is back
const LEEWAY = 1500;       // polling, and programs that are instrumented and share two cores
let stack, app, urls;
before(async () => {
  stack = await Stack.start({ gateways: 2 });
  urls = stack.endpoints.realtime;
  app = await stack.app('Faults', { limits: { sends_per_user: 1000, sends_per_conversation: 1000 } });
  for (const id of ['alice', 'bob', 'carol']) await app.user(id);
});
afterEach(async () => {
  closeAll();
  await stack.up();
  await Promise.all(bases().map((b) => until(async () => await readiness(b) === 200, { timeout: 15000, what: 'readiness for the next test' })));
});
after(async () => {
  closeAll();
  await stack?.stop();
});

const bases = () => stack.endpoints.metrics.map((m) => m.replace(/\/metrics$/, ''));
const readiness = (base) => fetch(`${base}/readyz`, { signal: AbortSignal.timeout(1500) }).then(async (r) => { await r.text(); return r.status; }, () => 0);
const programs = () => stack.endpoints.processes.filter((p) => /^(api|realtime)/.test(p.name)).map((p) => [p.name, p.pid]);
const at = async (n, user, options) => connect(urls[n - 1], await app.token(user), { timeout: 20000, ...options });
const seqs = (c, conversation) => c.of('message.new').filter((m) => m.conversation_id === conversation && m.provisional !== true).map((m) => m.seq);

/** How long until fn holds; more than `limit` fails. */
async function within(limit, fn, what) {
  const begun = Date.now();
  await until(fn, { timeout: limit + LEEWAY, what });
  return Date.now() - begun;
}

/** Someone who goes on sending, retrying with the same client_msg_id until there is an ack. `pick` gives the client of the moment. */
function traffic(pick, conversation, name) {
  const t = { acked: new Map(), refused: [], running: true };
  t.done = (async () => {
    for (let i = 0; t.running; i++) {
      const id = `${name}-${i}`;
      for (;;) {
        const client = pick();
        const ack = client?.socket.connected
          ? await client.send('message.send', { conversation_id: conversation, text: id, client_msg_id: id }, 2500).catch(() => undefined) : undefined;
        if (ack?.ok) {
          t.acked.set(id, ack.message);
          break;
        }
        if (ack) t.refused.push(ack.error);
        if (!t.running) break;
        await sleep(ack ? 100 : 50);
      }
      await sleep(10);
    }
  })();
  t.stop = async () => {
    t.running = false;
    await t.done;
  };
  return t;
}

/** Everything acked is in the log under its number, once, and the log has no gap. */
async function checkLog(group, ...sources) {
  const rows = await stack.sql(`select seq, client_msg_id from entries where conversation_id = (select conversation_id from entries where client_msg_id = '${[...sources[0].acked.keys()][0]}') order by seq`);
  assert.deepEqual(rows.map(([seq]) => Number(seq)), Array.from({ length: rows.length }, (_, i) => i + 1), 'numbers without a gap');
  const stored = new Map();
  for (const [seq, id] of rows.filter(([, x]) => x)) {
    assert.ok(!stored.has(id), `${id} is stored once`);
    stored.set(id, Number(seq));
  }
  for (const t of sources) {
    for (const [id, message] of t.acked) assert.equal(stored.get(id), message.seq, `acked ${id}`);
    for (const error of t.refused) assert.equal(error.retryable, true, JSON.stringify(error));
  }
  const history = [];
  for (let after = 0, more = true; more; after = history.at(-1).seq) {
    const page = await app.api('GET', `/v1/conversations/${group.id}/messages?limit=200&after_seq=${after}`);
    assert.equal(page.status, 200, page.text);
    history.push(...page.body.data);
    more = page.body.has_more;
  }
  const inHistory = new Map(history.map((m) => [m.id, m.seq]));
  for (const t of sources) for (const [id, message] of t.acked) assert.equal(inHistory.get(message.id), message.seq, `${id} in history`);
  return rows.length;
}

/** Both members get the whole log, each entry once and in order, on connections that have lived throughout. */
async function checkReceivers(group, length, ...clients) {
  for (const c of clients) {
    await until(() => seqs(c, group.id).length + c.of('message.committed').filter((x) => x.conversation_id === group.id).flatMap((x) => x.messages).length >= length - 1,
      { timeout: 10000, what: `the whole log at a member (${seqs(c, group.id).length} of ${length - 1})` });
    const order = c.events.flatMap((e) => {
      if (e.data?.conversation_id !== group.id) return [];
      if (e.name === 'message.new' && e.data.provisional !== true) return [e.data.seq];
      return e.name === 'message.committed' ? e.data.messages.map((m) => m.seq) : [];
    });
    assert.deepEqual(order, Array.from({ length: length - 1 }, (_, i) => i + 2));
  }
}

async function refusedHonestly() {
  const group = await app.api('GET', '/v1/users');
  assert.equal(group.status, 503, group.text);
  assert.match(group.headers.get('content-type'), /^application\/problem\+json/);
  assert.equal(group.body.code, 'storage_unavailable');
  assert.equal(group.body.status, 503);
  const retry = group.headers.get('retry-after');
  if (retry !== null) assert.match(retry, /^\d+$/);
}

describe('Postgres', () => {
  test('killed: not ready, 503, no false ack; back: served again, nothing lost', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const [alice, bob, carol] = await Promise.all([at(1, 'alice'), at(2, 'bob'), at(1, 'carol')]);
    const [one, two] = [traffic(() => alice, group.id, 'pk-a'), traffic(() => bob, group.id, 'pk-b')];
    await until(() => one.acked.size > 20 && two.acked.size > 20, { timeout: 15000, what: 'traffic' });
    const before_ = programs();
    stack.kill('postgres');
    await Promise.all(bases().map((b) => within(FALSE_WITHIN, async () => await readiness(b) === 503, `/readyz of ${b} false`)));
    await refusedHonestly();
    assert.equal((await app.api('POST', `/v1/conversations/${group.id}/messages`, { sender_id: 'alice', text: 'x' })).status, 503);
    const mark = one.acked.size;
    await sleep(1000);
    assert.equal(one.acked.size, mark, 'no ack without a commit');
    for (const base of bases()) {
      assert.equal((await fetch(`${base}/livez`)).status, 200);
      assert.match(await (await fetch(`${base}/readyz?verbose`)).text(), /postgres/i);
    }
    assert.ok(alice.socket.connected && bob.socket.connected, 'sessions stay');
    await stack.up();
    assert.deepEqual(programs(), before_, 'no process was restarted');
    await within(BACK_WITHIN, async () => one.acked.size > mark && two.acked.size > mark && (await app.api('GET', '/v1/users')).status === 200, 'service after the return');
    await Promise.all(bases().map((b) => within(BACK_WITHIN, async () => await readiness(b) === 200, `/readyz of ${b} true`)));
    await Promise.all([one.stop(), two.stop()]);
    const length = await checkLog(group, one, two);
    await checkReceivers(group, length, alice, bob, carol);
  });

  test('frozen for 3 s: acks wait, then all come', async () => {
    const group = await app.group(['alice', 'bob']);
    const [alice, bob] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const t = traffic(() => alice, group.id, 'pz');
    await until(() => t.acked.size > 10, { timeout: 15000, what: 'traffic' });
    // The postmaster's children do the work: all of them stop.
    const postmaster = stack.pid('postgres');
    const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
    assert.ok(children.length > 0);
    const all = [postmaster, ...children];
    const signal = (s) => all.forEach((pid) => { try { process.kill(pid, s); } catch { /* it has ended */ } });
    signal('SIGSTOP');
    let mark;
    try {
      await sleep(300);
      mark = t.acked.size;
      await sleep(2700);
      assert.equal(t.acked.size, mark, 'no ack without a commit');
      assert.ok(alice.socket.connected && bob.socket.connected);
    } finally {
      signal('SIGCONT');
    }
    await within(BACK_WITHIN, () => t.acked.size > mark + 5, 'acks after the return');
    await within(BACK_WITHIN, async () => (await app.api('GET', '/v1/users')).status === 200, 'REST after the return');
    await t.stop();
    const length = await checkLog(group, t);
    await checkReceivers(group, length, alice, bob);
  });

  test('its sessions ended: everything goes on with new ones', async () => {
    const group = await app.group(['alice', 'bob']);
    const [alice, bob] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const t = traffic(() => alice, group.id, 'pt');
    for (let i = 0; i < 3; i++) {
      const mark = t.acked.size;
      await stack.sql(`select pg_terminate_backend(pid) from pg_stat_activity where usename like 'parley%'`);
      await within(BACK_WITHIN, () => t.acked.size > mark + 5, 'acks on new sessions');
    }
    await t.stop();
    assert.equal((await app.api('GET', '/v1/users')).status, 200);
    const length = await checkLog(group, t);
    await checkReceivers(group, length, alice, bob);
  });
});

describe('Redis', () => {
  test('killed: not ready; commits and acks go on; back: two gateways hear each other, nothing lost', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const [alice, bob, carol] = await Promise.all([at(1, 'alice'), at(2, 'bob'), at(1, 'carol')]);
    const [one, two] = [traffic(() => alice, group.id, 'rk-a'), traffic(() => bob, group.id, 'rk-b')];
    await until(() => one.acked.size > 20 && two.acked.size > 20, { timeout: 15000, what: 'traffic' });
    const before_ = programs();
    stack.kill('redis');
    await Promise.all(bases().map((b) => within(FALSE_WITHIN, async () => await readiness(b) === 503, `/readyz of ${b} false`)));
    const mark = one.acked.size;
    await within(BACK_WITHIN, () => one.acked.size > mark + 5, 'acks while Redis is away');
    await stack.up();
    assert.deepEqual(programs(), before_, 'no process was restarted');
    const begun = Date.now();
    const probe = await until(async () => {
      const ack = await alice.send('message.send', { conversation_id: group.id, text: 'probe' }, 3000).catch(() => undefined);
      return ack?.ok && ack.message;
    }, { timeout: BACK_WITHIN, what: 'an ack' });
    await until(() => seqs(bob, group.id).includes(probe.seq), { timeout: BACK_WITHIN + LEEWAY, what: 'the other gateway' });
    assert.ok(Date.now() - begun < BACK_WITHIN + LEEWAY);
    await Promise.all(bases().map((b) => within(BACK_WITHIN, async () => await readiness(b) === 200, `/readyz of ${b} true`)));
    await Promise.all([one.stop(), two.stop()]);
    await publishes(group, alice, bob);
    await checkReceivers(group, await checkLog(group, one, two), alice, bob, carol);
  });

  /** The bus itself works again, not only the comparison of heads: frames arrive, and promptly. */
  async function publishes(group, from, to) {
    const url = stack.endpoints.metrics[1];
    await until(async () => {
      const sent = await stack.metric('parley_bus_messages_total', url, 'dir="out"');
      const ack = await from.send('message.send', { conversation_id: group.id, text: 'over the bus' });
      assert.equal(ack.ok, true, JSON.stringify(ack));
      await until(() => seqs(to, group.id).includes(ack.message.seq), { timeout: BACK_WITHIN, what: 'the message' });
      await sleep(100);
      return await stack.metric('parley_bus_messages_total', url, 'dir="out"') > sent;
    }, { timeout: BACK_WITHIN + LEEWAY, every: 300, what: 'publishing again' });
  }

  test('wiped: messages between gateways flow again, nothing lost', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const [alice, bob, carol] = await Promise.all([at(1, 'alice'), at(2, 'bob'), at(1, 'carol')]);
    const [one, two] = [traffic(() => alice, group.id, 'rw-a'), traffic(() => bob, group.id, 'rw-b')];
    await until(() => one.acked.size > 20 && two.acked.size > 20, { timeout: 15000, what: 'traffic' });
    assert.equal(await stack.redis('FLUSHALL'), 'OK');
    const ack = await alice.send('message.send', { conversation_id: group.id, text: 'after the wipe' });
    assert.equal(ack.ok, true, JSON.stringify(ack));
    await until(() => seqs(bob, group.id).includes(ack.message.seq), { timeout: BACK_WITHIN + LEEWAY, what: 'the other gateway' });
    await Promise.all([one.stop(), two.stop()]);
    await publishes(group, alice, bob);
    await checkReceivers(group, await checkLog(group, one, two), alice, bob, carol);
    const typed = until(async () => {
      alice.socket.emit('typing.set', { conversation_id: group.id, on: true });
      await sleep(250);
      return bob.of('typing.updated').some((x) => x.conversation_id === group.id && x.on);
    }, { timeout: BACK_WITHIN, what: 'typing at the other gateway' });
    await typed;
    const seen = await carol.send('presence.subscribe', { user_ids: ['bob'] });
    assert.equal(seen.ok, true, JSON.stringify(seen));
    await until(async () => (await carol.send('presence.subscribe', { user_ids: ['bob'] })).presence.bob.status === 'online', { timeout: 30000, every: 500, what: 'presence' });
  });

  test('its connections cut again and again', async () => {
    const group = await app.group(['alice', 'bob']);
    const [alice, bob] = await Promise.all([at(1, 'alice'), at(2, 'bob')]);
    const t = traffic(() => alice, group.id, 'rc');
    await until(() => t.acked.size > 5, { timeout: 15000, what: 'traffic' });
    for (let i = 0; i < 4; i++) {
      await stack.redis('CLIENT', 'KILL', 'TYPE', i % 2 ? 'pubsub' : 'normal', 'SKIPME', 'yes');
      await sleep(400);
    }
    await t.stop();
    await publishes(group, alice, bob);
    await checkReceivers(group, await checkLog(group, t), alice, bob);
  });
});

describe('a gateway', () => {
  test('killed under traffic: retries through the other one, every acked message exactly once', async () => {
    const group = await app.group(['alice', 'bob', 'carol']);
    const token = await app.token('alice');
    let current = await connect(urls[0], { token, device_id: 'mover' }, { transports: ['websocket'] });
    const bob = await at(2, 'bob');
    // Two senders behind one client, as an application with a queue: what has no ack is sent again wherever the client is.
    const sources = ['gk-a', 'gk-b', 'gk-c'].map((name) => traffic(() => current, group.id, name));
    await until(() => sources.every((t) => t.acked.size > 10), { timeout: 15000, what: 'traffic' });
    const all = [];
    for (const [victim, refuge] of [[1, 2], [2, 1]]) {
      const dead = current;
      all.push(dead);
      stack.kill(`realtime-${victim}`);
      await dead.wait('disconnect', () => true, 10000);
      await dead.close(); // else it comes back once the victim is up again, and gets what the device has not acknowledged a second time
      const next = dial(urls[refuge - 1], { token, device_id: 'mover' }, { reconnection: true, reconnectionDelay: 50 });
      await next.wait('session.ready', () => true, 15000);
      const marks = sources.map((t) => t.acked.size);
      current = next;
      await until(() => sources.every((t, i) => t.acked.size > marks[i] + 10), { timeout: 15000, what: 'traffic at the other gateway' });
      await stack.up();
      urls = stack.endpoints.realtime;
    }
    await Promise.all(sources.map((t) => t.stop()));
    const length = await checkLog(group, ...sources);
    all.push(current);
    const union = () => new Set(all.flatMap((c) => seqs(c, group.id)));
    await until(() => union().size === length - 1, { timeout: 15000, what: 'the whole log at the device that moved' });
    for (const c of all) assert.deepEqual(seqs(c, group.id), [...new Set(seqs(c, group.id))].sort((x, y) => x - y), 'ascending, each once a connection');
    const carol = await at(1, 'carol');
    assert.equal((await carol.send('sync', { conversations: { [group.id]: length - 1 } })).conversations[group.id].head, length);
    const tail = seqs(bob, group.id);
    assert.deepEqual(tail, Array.from({ length: tail.length }, (_, i) => i + 2), 'the witness saw a gapless beginning');
  });
});
