// What a client says is nobody else's business: no log line, span, metric or status of any process has text of a prompt
// or an answer, whether the request went well or not.

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BanyanClient } from '../../sdk/src/index.js'
import { upCli } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'

const MARK = 'xyzzyplugh'
const KEY = 'opensesame'

describe('prompt text', function () {
  this.timeout(120_000)

  it('is in no log line, span, metric or status, also of requests that fail', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-privacy-'))
    const flags = [
      '--transport',
      'nats',
      '--experts',
      '2',
      '--trace-dir',
      folder,
      '--trace-content',
      'hash',
      '--api-key',
      KEY,
    ]
    const cluster = await upCli(flags, { env: { LOG_LEVEL: 'trace' } })
    const { http, grpc } = cluster.ready
    const headers = { authorization: `Bearer ${KEY}` }
    const post = async (path: string, body: unknown, init: RequestInit = {}): Promise<number> => {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const response = await fetch(`${http}${path}`, { method: 'POST', body: text, headers, ...init })
      await response.text()
      return response.status
    }
    const prompt = `export interface ${MARK} {`
    const messages = [{ role: 'user', content: prompt }]
    const seen: Record<string, string> = {}
    try {
      const statuses = [
        await post('/v1/completions', { prompt, max_tokens: 8, stop: [MARK], n: 2 }),
        await post('/v1/chat/completions', {
          messages,
          max_tokens: 8,
          stream: true,
          return_trees: true,
          logprobs: true,
        }),
        await post('/tokenize', { prompt }),
        await post('/v1/completions', `{"prompt":"${prompt}" ${MARK}`),
        await post('/v1/completions', { prompt, max_tokens: 1_000_000 }),
        await post('/v1/completions', { prompt: prompt.repeat(10_000) }),
        await post('/v1/completions', { prompt, stop: [MARK.repeat(100)] }),
        await post('/v1/completions', { prompt: { text: prompt } }),
        await post('/v1/chat/completions', { messages: [{ role: MARK, content: [{ type: MARK, text: prompt }] }] }),
        await post('/v1/completions', { prompt }, { headers: { authorization: `Bearer ${MARK}` } }),
      ]
      assert.deepEqual(statuses, [200, 200, 200, 400, 400, 400, 400, 400, 400, 401])
      const leaving = post(
        '/v1/completions',
        { prompt, max_tokens: 500, ignore_eos: true },
        { signal: AbortSignal.timeout(300) },
      )
      await leaving.catch(() => undefined) // it left in the middle, or the answer was quick
      const client = new BanyanClient({ address: grpc, apiKey: KEY, maxAttempts: 1 })
      await client.complete({ text: prompt, sampling: { maxTokens: 4 } })
      await client.complete({ text: prompt, sampling: { maxTokens: 1000 } }, { deadlineMs: 50 }).catch(() => undefined)
      await client.complete({ text: prompt, sampling: { topP: 7 } }).catch(() => undefined)
      client.close()
      for (const path of ['/metrics', '/cluster'])
        seen[path] = await (await fetch(`${http}${path}`, { headers })).text()
      const hasSpans = (): boolean => readdirSync(folder).some((file) => /spans-router.*jsonl/.test(file))
      await eventually(hasSpans, 'the router writes spans')
    } finally {
      const { stdout, stderr } = await cluster.end()
      Object.assign(seen, { stdout, stderr })
    }
    const files = readdirSync(folder)
    for (const file of files) seen[file] = readFileSync(join(folder, file), 'utf8')
    assert.ok(
      ['spans-', 'requests-'].every((kind) => files.some((file) => file.startsWith(kind))) &&
        /serving/.test(seen.stderr ?? ''),
      'there is something to look at',
    )
    for (const [where, text] of Object.entries(seen)) {
      for (const secret of [MARK, KEY]) {
        const at = text.indexOf(secret)
        assert.equal(at, -1, `${where}: …${text.slice(Math.max(0, at - 100), at + 50)}…`)
      }
    }
    rmSync(folder, { recursive: true, force: true })
  })
})
