// proxy.mjs: a TCP proxy in front of one port, so that a test can cut, refuse, hold and stall connections from outside.
import { connect, createServer } from 'node:net';

/** `target` (http://host:port) by way of the proxy's `url`. With `listen`, heard() is what clients have written. */
export async function proxy(target, { listen = false } = {}) {
  const { hostname, port } = new URL(target);
  const pairs = new Set(), waiting = new Set();
  const heard = [];
  let refusing = false, holding = false;

  function join(client, first) {
    const upstream = connect({ host: hostname, port: Number(port) });
    const pair = { client, upstream };
    pairs.add(pair);
    upstream.on('error', () => {});
    upstream.on('close', () => client.destroy());
    client.on('close', () => {
      upstream.destroy();
      pairs.delete(pair);
    });
    upstream.setNoDelay(true);
    upstream.write(first);
    upstream.pipe(client);
    client.pipe(upstream);
  }

  const server = createServer((client) => {
    client.on('error', () => {});
    if (refusing) return client.destroy();
    client.setNoDelay(true);
    if (listen) client.on('data', (bytes) => heard.push(bytes));
    client.once('data', (first) => {
      client.pause();
      const go = () => join(client, first);
      if (holding && first.includes('transport=websocket')) waiting.add(go);
      else go();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  server.unref();
  const p = { url: `http://127.0.0.1:${server.address().port}` };
  p.heard = () => Buffer.concat(heard).toString('latin1');
  /** Every connection ends now, as when a network goes away. New ones are taken. */
  p.cut = () => {
    for (const { client, upstream } of pairs) client.destroy(), upstream.destroy();
  };
  /** While on, new connections are hung up at once. */
  p.refuse = (on) => { refusing = on; };
  /** While on, new WebSockets get no answer; then they get it. */
  p.hold = (on) => {
    holding = on;
    if (on) return;
    for (const go of waiting) go();
    waiting.clear();
  };
  /** From now on nothing that the present clients write arrives; what is written to them does. */
  p.stall = () => {
    for (const { client, upstream } of pairs) client.unpipe(upstream).pause();
  };
  p.close = async () => {
    p.hold(false);
    p.cut();
    server.close();
  };
  return p;
}
