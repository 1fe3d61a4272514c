// The console in a real browser, on a cluster of real processes: what it shows is what happens.

import assert from 'node:assert/strict'
import type { Browser, Page } from 'playwright-core'
import type { ConsoleFrame } from '../../lib/console/frame.js'
import { findBrowser, openPage, startBrowser } from '../helpers/browser.js'
import { upCli, type CliCluster } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import { startTestCluster } from '../helpers/test-cluster.js'

const KEY = 'console-test-key'
const OTHER_KEY = 'console-test-key-2'
const chromium = findBrowser()

const authorised = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` })

/** One answer as the API gives it. */
async function complete(http: string, id: string, numTokens: number, key = KEY): Promise<string> {
  const body = { prompt: 'export interface ', max_tokens: numTokens, temperature: 0, ignore_eos: true }
  const headers = { ...authorised(key), 'x-request-id': id, 'content-type': 'application/json' }
  const response = await fetch(`${http}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(body) })
  const answer = (await response.json()) as { choices: { text: string }[] } // documented
  return answer.choices[0]?.text ?? ''
}

describe('the console in a browser', function () {
  this.timeout(90_000)
  let cluster: CliCluster
  let browser: Browser
  let page: Page
  let problems: readonly string[]

  before(async function () {
    if (chromium === undefined) {
      console.log('    no Chromium found (PATH, BANYAN_CHROMIUM): the console is not looked at')
      this.skip()
    }
    const shape = ['--experts', '2', '--replicas', '2', '--api-key', KEY, '--api-key', OTHER_KEY]
    ;[cluster, browser] = await Promise.all([upCli([...shape, '--transport', 'nats']), startBrowser(chromium)])
    ;({ page, problems } = await openPage(browser, cluster.ready.http, { colorScheme: 'dark' }))
  })
  after(async () => {
    await browser?.close()
    await cluster?.end()
  })

  const textOf = async (id: string): Promise<string> => (await page.locator(`#${id}`).textContent()) ?? ''
  const shows = (id: string, what: RegExp, timeoutMs?: number): Promise<void> =>
    eventually(async () => what.test(await textOf(id)), `#${id} shows ${what}`, timeoutMs)
  /** What the cards of a process say: its id and state. */
  const stateOf = async (id: string): Promise<string[]> => {
    const labels = `[...document.querySelectorAll('#topology .card')].map((card) => card.getAttribute('aria-label'))`
    const cards = await page.evaluate<string[]>(labels)
    return cards.filter((label) => label.startsWith(`${id},`))
  }

  it('asks for the key, and shows the cluster with it', async () => {
    await page.goto(`${cluster.ready.http}/console`)
    await page.locator('#key-dialog[open]').waitFor()
    assert.equal(await page.locator('#topology .card').count(), 0, 'nothing without a key')
    await page.locator('#key').fill('wrong')
    await page.keyboard.press('Enter')
    await shows('status', /wants an API key/)
    await page.locator('#key').fill(KEY)
    await page.keyboard.press('Enter')
    await shows('status', /^live$/)
    await shows('about', /demo · int8 · bny-.* · epoch \d+ · requests of your key on router-0 · topology of the whole/)
    for (const id of ['router-0', 'attention-0', 'expert-worker-0', 'expert-worker-1', 'drafter-0'])
      await eventually(async () => (await stateOf(id)).includes(`${id}, ready`), `${id} is ready`)
  })

  it('shows a request’s tokens as the API gives them, how they came, its trees, layers and experts', async () => {
    const answered = complete(cluster.ready.http, 'watched', 800)
    await complete(cluster.ready.http, 'not-mine', 8, OTHER_KEY)
    await eventually(async () => (await page.locator('#tree .tree-node').count()) > 2, 'a tree with drafts is drawn')
    const text = await answered
    await eventually(async () => (await textOf('stream')) === text, 'the whole text is there')
    const bonus = await page.locator('#stream .origin-bonus').count()
    const plain = await page.locator('#stream .origin-plain').count()
    assert.ok(
      bonus > 0 && bonus + plain < 800,
      `${bonus} bonus and ${plain} plain tokens: the rest are accepted drafts`,
    )
    await page.locator('#stream .origin-bonus').last().hover()
    await shows('tooltip', /bonus: .*\ntoken \d+, step \d+/)
    assert.ok((await page.locator('#waterfall rect.fill-expert').count()) > 1, 'layers are drawn')
    await shows('experts-note', /layers × \d+ experts, last 30 s · busiest expert [\d.]+k? rows/)
    assert.equal(await page.locator('#requests tr[data-id="watched"]').count(), 1)
    assert.equal(await page.locator('#requests tr[data-id="not-mine"]').count(), 0)
    await shows('requests-note', /of other keys: 0 open, 1 ended/)
  })

  it('shows within a second that a worker was killed, and that another one came', async () => {
    const status = await fetch(`${cluster.ready.http}/cluster`, { headers: authorised(KEY) })
    const { processes } = (await status.json()) as { processes: { id: string; pid: number }[] } // documented
    const pid = processes.find(({ id }) => id === 'expert-worker-1')?.pid ?? 0
    process.kill(pid, 'SIGKILL')
    const killedMs = performance.now()
    const isSeen = async (): Promise<boolean> =>
      (await stateOf('expert-worker-1')).some((label) => /suspect|dead/.test(label))
    await eventually(isSeen, 'it is suspect or dead')
    const seenMs = performance.now() - killedMs
    assert.ok(seenMs < 2_000, `seen after ${seenMs} ms`) // a second, and as much for a machine that is busy
    await eventually(
      async () => (await stateOf('expert-worker-1')).includes('expert-worker-1, ready'),
      'another one is ready',
    )
  })

  it('follows the system’s theme until one is chosen', async () => {
    const back = (): Promise<unknown> => page.evaluate('getComputedStyle(document.body).backgroundColor')
    const dark = await back()
    await page.emulateMedia({ colorScheme: 'light' })
    const light = await back()
    assert.notEqual(light, dark)
    await page.locator('#theme').click()
    assert.equal(await back(), dark)
  })

  it('says that the router is gone, and goes on when it is back', async () => {
    const status = await fetch(`${cluster.ready.http}/cluster`, { headers: authorised(KEY) })
    const { processes } = (await status.json()) as { processes: { id: string; pid: number }[] } // documented
    process.kill(processes.find(({ id }) => id === 'router-0')?.pid ?? 0, 'SIGKILL')
    await shows('status', /router not reached; again in/)
    await shows('status', /^live$/)
    await eventually(async () => (await stateOf('router-0')).includes('router-0, ready'), 'the new router tells')
    await complete(cluster.ready.http, 'after', 8)
    await eventually(
      async () => (await page.locator('#requests tr[data-id="after"]').count()) === 1,
      'it lists requests',
    )
  })

  it('made no error and asked no other origin', () => assert.deepEqual(problems, []))
})

describe('the console’s feed', function () {
  this.timeout(60_000)

  it('is closed without the key, bounded, and read-only', async () => {
    const cluster = await startTestCluster({ experts: 1, drafters: 0, draft: [], apiKeys: [KEY, OTHER_KEY] })
    try {
      const { http } = cluster.router
      const feed = (name: string, headers = authorised(KEY)): Promise<Response> =>
        fetch(`${http}/console/feed?console=${name}`, { headers })
      assert.equal((await feed('a', {})).status, 401)
      assert.equal((await fetch(`${http}/console/feed`, { headers: authorised(KEY) })).status, 400)
      assert.equal((await fetch(`${http}/console/feed?console=a`, { method: 'POST' })).status, 405)
      const head = await fetch(`${http}/console/feed?console=a`, { method: 'HEAD', headers: authorised(KEY) })
      assert.equal(head.status, 200)
      const open = await Promise.all(Array.from({ length: 4 }, (_, i) => feed(`c${i}`)))
      assert.deepEqual(new Set(open.map(({ status }) => status)), new Set([200]))
      assert.equal((await feed('one-more')).status, 429)
      const another = await feed('of-another-key', authorised(OTHER_KEY))
      assert.equal(another.status, 200)
      await another.body?.cancel()
      const [first] = await readFrames(open[0], 1)
      assert.equal(first?.hello?.router, 'router-0')
      for (const { body } of open.slice(1)) await body?.cancel()
      await eventually(async () => (await feed('one-more')).status === 200, 'there is room again')
    } finally {
      await cluster.stop()
    }
  })

  it('counts every row of every layer', async () => {
    const cluster = await startTestCluster({ experts: 2, drafters: 0, draft: [], prefixCache: false })
    try {
      const { http } = cluster.router
      const feed = await fetch(`${http}/console/feed?console=a`)
      const layers = 4
      let perLayer: number[] = Array.from({ length: layers }, () => 0)
      let numReports = 0
      const isEnough = (): boolean => numReports >= 2 && (perLayer[0] ?? 0) > 100
      const watching = readFrames(feed, Infinity, ({ experts }) => {
        if (experts === undefined) return false
        numReports++
        const { length } = experts.rows
        perLayer = perLayer.map((rows, layer) =>
          experts.rows
            .slice((layer * length) / layers, ((layer + 1) * length) / layers)
            .reduce((sum, more) => sum + more, rows),
        )
        return isEnough()
      })
      while (!isEnough()) await complete(http, `r${performance.now()}`, 20)
      await watching
      assert.deepEqual(perLayer, Array(layers).fill(perLayer[0]), 'each row goes to as many experts in every layer')
    } finally {
      await cluster.stop()
    }
  })
})

/** Frames as they come, at most so many, or until one is the last; then the feed is left. */
async function readFrames(
  response: Response | undefined,
  max: number,
  isLast: (frame: ConsoleFrame) => boolean = () => false,
): Promise<ConsoleFrame[]> {
  const frames: ConsoleFrame[] = []
  let text = ''
  const decoder = new TextDecoder()
  for await (const part of response?.body ?? []) {
    text += decoder.decode(part as Uint8Array, { stream: true }) // a body yields bytes
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) {
      const frame = JSON.parse(line) as ConsoleFrame // as the router writes them
      frames.push(frame)
      if (frames.length >= max || isLast(frame)) return frames
    }
  }
  return frames
}
