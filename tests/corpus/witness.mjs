// witness.mjs: two official clients that chat through the gateway while the corpus runs, in a thread of their own so that the corpus does not delay them.
// parent -> 'pause' | 'go' | 'end'; to the parent: {ready}, {paused}, {result}.
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../lib/client.mjs';

const EVERY_MS = 100;
const result = { sent: 0, acked: 0, slowest: 0, faults: [] };

const { url, tokens, names } = workerData;
const clients = [await connect(url, tokens[0], { timeout: 30000 }), await connect(url, tokens[1], { transports: ['websocket'], timeout: 30000 })];
let running = true;
let ended = false;
let idle = Promise.resolve();

/** Message n of client i: acknowledged, and the next one the other gets. */
async function say(i, n) {
  const text = `${i}:${n}`;
  result.sent++;
  const begun = performance.now();
  const ack = await clients[i].send('message.send', { to: names[1 - i], text }, 30000).catch((e) => ({ ok: false, error: { code: e.message } }));
  result.slowest = Math.max(result.slowest, performance.now() - begun);
  if (ack.ok) result.acked++;
  else result.faults.push(`${text}: ${ack.error.code}`);
}

async function chat() {
  for (let n = 1; !ended;) {
    if (running) {
      idle = Promise.all([say(0, n), say(1, n)]);
      n++;
      await idle;
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

parentPort.on('message', async (what) => {
  running = what === 'go';
  await idle;
  if (what === 'pause') parentPort.postMessage({ paused: true });
  if (what !== 'end') return;
  ended = true;
  const all = () => clients.every((c) => c.of('message.new').length >= result.sent);
  for (const until = Date.now() + 10000; !all() && Date.now() < until;) await new Promise((resolve) => setTimeout(resolve, 20));
  for (const [i, c] of clients.entries()) {
    const got = c.of('message.new').map((m) => m.text);
    for (const from of [0, 1]) {
      const mine = got.filter((x) => x.startsWith(`${from}:`)).map((x) => Number(x.slice(2)));
      const n = result.sent / 2;
      if (mine.length !== n || mine.some((x, k) => x !== k + 1)) result.faults.push(`client ${i} got ${mine.length} of ${n} messages of ${from}, in order: ${mine.every((x, k) => k === 0 || x > mine[k - 1])}`);
    }
    for (const e of c.events.filter((x) => x.name === 'disconnect')) result.faults.push(`client ${i}: ${e.data}`);
    if (c.socket.io.engine.transport.name !== 'websocket') result.faults.push(`client ${i} is still on ${c.socket.io.engine.transport.name}`);
    await c.close();
  }
  parentPort.postMessage({ result });
});
parentPort.postMessage({ ready: true });
await chat();
parentPort.close();
