// browser.mjs: Debian's Chromium without a screen, driven by WebDriver, and pages to show it.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './stack.mjs';

const ARGUMENTS = [
  '--headless=new', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
  '--no-sandbox', // root may not have one, nor may containers; what it shows is ours
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
];

export class Browser {
  static async start() {
    const b = new Browser();
    b.home = mkdtempSync(join(tmpdir(), 'parley-browser-'));
    b.driver = spawn('/usr/bin/chromedriver', ['--port=0'], { env: { ...process.env, HOME: b.home }, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '', failed;
    b.driver.stdout.on('data', (text) => { said += text; });
    b.driver.on('error', (e) => { failed = e; });
    try {
      const port = await until(() => {
        if (failed) throw failed;
        return said.match(/started successfully on port (\d+)/)?.[1];
      }, { timeout: 30000, what: () => `the start of chromedriver («${said}»)` });
      b.url = `http://127.0.0.1:${port}`;
      const options = { binary: '/usr/bin/chromium', args: [...ARGUMENTS, `--user-data-dir=${join(b.home, 'profile')}`] };
      const { sessionId } = await b.ask('POST', '/session', { capabilities: { alwaysMatch: { browserName: 'chrome', 'goog:chromeOptions': options } } });
      b.url += `/session/${sessionId}`;
      b.blank = await b.ask('GET', '/window'); // stays, since without a window there is no session
    } catch (e) {
      await b.stop();
      throw e;
    }
    return b;
  }

  async ask(method, path, body) {
    const response = await fetch(this.url + path, { method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(60000) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${value.error}: ${value.message}`);
    return value;
  }

  /** A tab that shows `url`: {run(script, ...args), close()}. One command at a time, since the driver has one current tab. */
  async open(url) {
    const inTab = (handle, fn) => {
      const turn = (this.last ?? Promise.resolve()).catch(() => {}).then(async () => {
        await this.ask('POST', '/window', { handle });
        return fn();
      });
      this.last = turn;
      return turn;
    };
    const { handle } = await inTab(this.blank, () => this.ask('POST', '/window/new', { type: 'tab' }));
    await inTab(handle, () => this.ask('POST', '/url', { url }));
    return {
      /** The value of a function's body in the page; arguments[0] is the first argument. Promises are awaited. */
      run: (script, ...args) => inTab(handle, () => this.ask('POST', '/execute/sync', { script, args })),
      close: () => inTab(handle, () => this.ask('DELETE', '/window')),
    };
  }

  async stop() {
    if (this.url?.includes('/session/')) await this.ask('DELETE', '').catch(() => {});
    if (this.driver.exitCode === null && this.driver.pid) {
      const gone = new Promise((resolve) => this.driver.once('close', resolve));
      this.driver.kill();
      await gone;
    }
    rmSync(this.home, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Serves `pages`: path to [content type, body]. {port, close()}. */
export async function serve(pages) {
  const server = createServer((request, response) => {
    const page = pages[request.url];
    response.writeHead(page ? 200 : 404, { 'content-type': page?.[0] ?? 'text/plain' });
    response.end(page?.[1]);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    close: () => {
      server.close();
      server.closeAllConnections?.();
    },
  };
}
