// The token trees of a request, from the engine to whoever asked: the same through every door.

import assert from 'node:assert/strict'
import { createGrpcDoor } from '../../../cli/generation/grpc-door.js'
import { createHttpDoor } from '../../../cli/generation/http-door.js'
import { collectGeneration, type GenerationDoor } from '../../../cli/generation/generation.js'
import { BanyanClient } from '../../../sdk/src/index.js'
import type { GenerateEvent, StepTree } from '../../../services/router/engine.js'
import { startGrpcServer, type GrpcServer } from '../../../services/router/grpc-server.js'
import { startHttpServer, type HttpServer } from '../../../services/router/http/http-server.js'
import { accepted, chunk, createScriptedEngine, finished, silent } from './scripted-engine.js'

//   0:x
//   / \
//  1:λ 2
const tree: StepTree = {
  nodes: [
    { token: 9, text: 'x', parent: -1, value: 1, sources: [] },
    { token: 101, text: 'λ', parent: 0, value: 0.9, sources: ['prompt-lookup', 'suffix'] },
    { token: 7, text: '', parent: 0, value: 0.0625, sources: ['ngram'] },
  ],
  accepted: [0, 1],
  proposed: 12,
  price: 0.1,
  plainMs: 0,
  predictedMs: 5.25,
  stepMs: 6.1,
  draftMs: 0.3,
}

const overHttp = {
  nodes: tree.nodes,
  accepted: [0, 1],
  proposed: 12,
  price: 0.1,
  plain_ms: 0,
  predicted_ms: 5.25,
  step_ms: 6.1,
  draft_ms: 0.3,
}

interface Body {
  readonly choices: readonly { readonly tree?: unknown; readonly trees?: unknown }[]
}

describe('token trees', () => {
  const engine = createScriptedEngine()
  let grpc: GrpcServer
  let http: HttpServer
  before(async () => {
    const options = { engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent }
    grpc = await startGrpcServer(options)
    http = await startHttpServer(options)
  })
  after(async () => {
    await grpc.stop(0)
    await http.stop(0)
  })
  beforeEach(() =>
    engine.play(async function* ({ requestId, returnTrees }): AsyncGenerator<GenerateEvent> {
      yield accepted(requestId || 'req-1')
      yield chunk(0, 0, 'a')
      yield chunk(0, 1, 'b', returnTrees === true ? tree : undefined)
      yield finished(0, 2)
    }),
  )

  const post = async (body: object, path = '/v1/completions'): Promise<string> =>
    (await fetch(`${http.url}${path}`, { method: 'POST', body: JSON.stringify(body) })).text()
  const choicesOf = (text: string): Body['choices'] => (JSON.parse(text) as Body).choices // documented

  describe('reach the SDK', () => {
    let client: BanyanClient
    before(() => {
      client = new BanyanClient({ address: grpc.address })
    })
    after(() => client.close())

    it('with the chunk of their step', async () => {
      const trees: unknown[] = []
      for await (const event of client.generate({ text: 'x', returnTrees: true }))
        if (event.type === 'chunk') trees.push(event.tree)
      assert.deepEqual(trees, [undefined, tree])
    })

    it('with a whole answer', async () => {
      assert.deepEqual((await client.complete({ text: 'x', returnTrees: true })).trees, [tree])
    })

    it('only where they were asked for', async () => {
      assert.deepEqual((await client.complete({ text: 'x' })).trees, [])
      assert.equal(engine.calls[0]?.input.returnTrees, false)
    })
  })

  const endpoints: readonly (readonly [string, object])[] = [
    ['/v1/completions', { prompt: 'x' }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }] }],
  ]
  for (const [path, prompt] of endpoints) {
    describe(`over ${path}`, () => {
      it('are listed in a whole choice', async () => {
        const [choice] = choicesOf(await post({ ...prompt, return_trees: true }, path))
        assert.deepEqual(choice?.trees, [overHttp])
      })

      it('come with a streamed choice', async () => {
        const text = await post({ ...prompt, return_trees: true, stream: true }, path)
        const events = text.split('\n\n').filter((event) => event.startsWith('data: {'))
        const trees = events.flatMap((event) => choicesOf(event.slice('data: '.length)).map((choice) => choice.tree))
        assert.deepEqual(
          trees.filter((one) => one !== undefined),
          [overHttp],
        )
      })

      it('are left out where nobody asked', async () => {
        const [choice] = choicesOf(await post(prompt, path))
        assert.deepEqual([choice?.tree, choice?.trees], [undefined, undefined])
      })
    })
  }

  const doors: readonly (readonly [string, () => GenerationDoor])[] = [
    ['gRPC', () => createGrpcDoor({ address: grpc.address })],
    ['HTTP', () => createHttpDoor({ url: http.url, now: () => 0 })],
  ]
  for (const [name, open] of doors) {
    it(`are the engine’s own for the command line, over ${name}`, async () => {
      const door = open()
      const request = { input: { kind: 'text', text: 'x' }, sampling: {}, n: 1, returnTrees: true } as const
      const events = door.generate(request, new AbortController().signal)
      const { choices } = await collectGeneration(events, () => undefined, { withTrees: true })
      door.close()
      assert.deepEqual(choices[0]?.trees, [tree])
    })
  }
})
