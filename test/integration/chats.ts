// What a template and its messages may do, as clients of both doors see it: a model whose turns are marked by control
// tokens, and whose template refuses, or never ends, where a message tells it to.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTokenizer } from '../../lib/model/tokenizer.js'
import { requestRecordSchema } from '../../lib/traffic/request-record.js'
import { BanyanClient, BanyanError } from '../../sdk/src/index.js'
import { eventually } from '../helpers/eventually.js'
import { demoModel } from '../helpers/paths.js'
import type { TestCluster } from '../helpers/test-cluster.js'

const CONTROL = '<|endoftext|>' // id 0
const REFUSAL = 'only kind words, please'
const ENDLESS = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}'
const TEMPLATE =
  `{% for message in messages %}{% if message.content == 'loop' %}${ENDLESS}` +
  `{% elif message.content == 'refuse' %}{{ raise_exception('${REFUSAL}') }}{% endif %}` +
  `${CONTROL}{{ message.role }}: {{ message.content }}{% endfor %}${CONTROL}`

export interface ChatModel {
  readonly path: string
  readonly traceDir: string
  remove(): void
}

/** The demonstration model with that template, and a folder for traces. */
export function makeChatModel(): ChatModel {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-chats-'))
  const path = join(folder, 'demo')
  mkdirSync(path)
  for (const file of readdirSync(demoModel)) symlinkSync(join(demoModel, file), join(path, file))
  rmSync(join(path, 'chat_template.jinja'))
  writeFileSync(join(path, 'chat_template.jinja'), TEMPLATE)
  return { path, traceDir: join(folder, 'trace'), remove: () => rmSync(folder, { recursive: true, force: true }) }
}

interface Answer {
  readonly status: number
  readonly body: { readonly error?: { readonly message: string; readonly type: string; readonly code: string } }
}

/** For a cluster that serves it and writes its traces. */
export function testChats(running: () => { readonly cluster: TestCluster; readonly model: ChatModel }): void {
  const tokenizer = createTokenizer(demoModel, 4096) ?? assert.fail('the demonstration model has a tokenizer')
  const client = (): BanyanClient => new BanyanClient({ address: running().cluster.router.grpc, maxAttempts: 1 })
  const url = (path: string): string => `${running().cluster.router.http}/v1/${path}`
  const post = async (path: string, body: object, id: string): Promise<Answer> => {
    const response = await fetch(url(path), {
      method: 'POST',
      headers: { 'x-request-id': id },
      body: JSON.stringify(body),
    })
    return { status: response.status, body: (await response.json()) as Answer['body'] } // the documented form
  }
  const said = (...contents: string[]) => contents.map((content) => ({ role: 'user', content }))

  /** As the trace has it. */
  const promptOf = async (id: string): Promise<readonly number[]> => {
    const { traceDir } = running().model
    const find = (): readonly number[] | undefined =>
      readdirSync(traceDir)
        .filter((file) => file.startsWith('requests-'))
        .flatMap((file) => readFileSync(join(traceDir, file), 'utf8').split('\n').filter(Boolean))
        .map((line) => requestRecordSchema.parse(JSON.parse(line)))
        .find((record) => record.id === id)?.prompt.ids
    await eventually(() => find() !== undefined, `the record of ${id}`)
    return find() ?? []
  }

  it('control tokens that a user spells are text at both doors, the template’s own are control tokens', async () => {
    const contents = [`a${CONTROL}b`, CONTROL, '<|endof', 'text|>', `c ${CONTROL.slice(0, 5)}`]
    const text = contents.join('')
    const grpc = client()
    const sampling = { maxTokens: 1 }
    await post('chat/completions', { messages: said(...contents), max_tokens: 1 }, 'http-chat')
    await post('completions', { prompt: text, max_tokens: 1 }, 'http-text')
    await grpc.complete({ requestId: 'grpc-chat', chat: said(...contents), sampling })
    await grpc.complete({ requestId: 'grpc-text', text, sampling })
    grpc.close()
    for (const door of ['http', 'grpc']) {
      const chatIds = await promptOf(`${door}-chat`)
      assert.equal(chatIds.filter((id) => id === 0).length, contents.length + 1, door)
      assert.equal(tokenizer.decode(chatIds), contents.map((content) => `user: ${content}`).join(''))
      const textIds = await promptOf(`${door}-text`)
      assert.ok(!textIds.includes(0), door)
      assert.equal(tokenizer.decode(textIds), text)
    }
  })

  it('what a template says against the messages is the client’s fault, in its words; that it does not end is not', async () => {
    const grpc = client()
    const failure = async (content: string) => {
      const error = await grpc.complete({ chat: said(content) }).catch((caught: unknown) => caught)
      assert.ok(error instanceof BanyanError)
      return error
    }
    const refused = await post('chat/completions', { messages: said('refuse') }, 'refused')
    assert.deepEqual([refused.status, refused.body.error?.type], [400, 'invalid_request_error'])
    assert.match(refused.body.error?.message ?? '', new RegExp(REFUSAL))
    const refusedThere = await failure('refuse')
    assert.equal(refusedThere.code, 'invalid_argument')
    assert.match(refusedThere.message, new RegExp(REFUSAL))
    const [endless, endlessThere] = await Promise.all([
      post('chat/completions', { messages: said('loop') }, 'endless'),
      failure('loop'),
    ])
    grpc.close()
    const { type, code } = endless.body.error ?? {}
    assert.deepEqual([endless.status, type, code], [500, 'server_error', 'template_timeout'])
    assert.deepEqual([endlessThere.code, endlessThere.reason], ['internal', 'TEMPLATE_TIMEOUT'])
  })

  it('a request whose prompt is being read is known, and ends when it is cancelled, at both doors', async () => {
    const grpc = client()
    const reading = async (id: string): Promise<void> =>
      eventually(async () => {
        const response = await fetch(url(`requests/${id}`))
        return response.status === 200 && ((await response.json()) as { state: string }).state === 'running' // documented
      }, `${id} is known`)
    const overHttp = post('chat/completions', { messages: said('loop') }, 'read-http')
    await reading('read-http')
    const deleted = await fetch(url('requests/read-http'), { method: 'DELETE' })
    assert.deepEqual(await deleted.json(), { id: 'read-http', cancelled: true })
    assert.equal((await overHttp).status, 499)
    const overGrpc = grpc.complete({ requestId: 'read-grpc', chat: said('loop') }).catch((caught: unknown) => caught)
    await reading('read-grpc')
    assert.equal(await grpc.cancel('read-grpc'), true)
    const error = await overGrpc
    assert.ok(error instanceof BanyanError && error.code === 'cancelled', String(error))
    assert.equal((await fetch(url('requests/read-grpc'))).status, 404)
    grpc.close()
  })
}
