// echo.mjs: the gateway's transport and Socket.IO layers without chat: what clients send comes back.
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort, root, until } from './stack.mjs';

/** {url, stop()}. Event `message` comes back as `message-back` with the same arguments, `message-with-ack` as an ack with them. */
export async function startEcho(profile = 'conformance') {
  const port = await freePort();
  const child = spawn(join(process.env.PARLEY_BIN ?? join(root, 'build', 'asan'), 'sio-echo'), ['--port', String(port), '--profile', profile], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '', ended;
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { said += text; });
  const end = new Promise((resolve) => {
    child.on('error', (e) => resolve(ended = e));
    child.on('close', (code, signal) => resolve(ended = code ?? signal));
  });
  const listens = () => new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
  await until(() => {
    if (ended !== undefined) throw new Error(`sio-echo has ended: ${ended}\n${said}`);
    return listens();
  }, { timeout: 20000, what: () => `sio-echo (${said})` });
  return {
    url: `http://127.0.0.1:${port}`,
    /** Ends it; a report of a sanitizer makes it fail. */
    stop: async () => {
      child.kill();
      const how = await end;
      if (how !== 0) throw new Error(`sio-echo ended with ${how}\n${said}`);
    },
  };
}
