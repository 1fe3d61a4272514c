// `banyan generate --show-trees` as a user runs it, against doors whose engine plays a script.

import assert from 'node:assert/strict'
import type { GenerateEvent, StepTree } from '../../../services/router/engine.js'
import { startGrpcServer, type GrpcServer } from '../../../services/router/grpc-server.js'
import { startHttpServer, type HttpServer } from '../../../services/router/http/http-server.js'
import { runCli } from '../../helpers/cli.js'
import { accepted, chunk, createScriptedEngine, finished, silent } from '../doors/scripted-engine.js'

const times = { plainMs: 6, predictedMs: 9, stepMs: 8, draftMs: 0.5 }
const root = { token: 1, text: 'x', parent: -1, value: 1, sources: [] }
const draft = { token: 2, text: 'y', parent: 0, value: 0.5, sources: ['suffix'] }
const lone: StepTree = { nodes: [root], accepted: [0], proposed: 0, price: 0.2, ...times }
const drafted: StepTree = { ...lone, nodes: [root, draft], accepted: [0, 1], proposed: 3 }

describe('banyan generate --show-trees', function () {
  this.timeout(60_000)
  const engine = createScriptedEngine()
  let grpc: GrpcServer
  let http: HttpServer
  before(async () => {
    const options = { engine, host: '127.0.0.1', port: 0, apiKeys: [], logger: silent }
    grpc = await startGrpcServer(options)
    http = await startHttpServer(options)
    engine.play(async function* (): AsyncGenerator<GenerateEvent> {
      yield accepted('req-1')
      yield chunk(0, 0, 'he')
      for (const [i, tree] of [lone, lone, drafted].entries()) yield chunk(0, 1 + i, 'l', tree)
      yield finished(0, 4)
    })
  })
  after(async () => {
    await grpc.stop(0)
    await http.stop(0)
  })

  const run = async (url: string, ...words: readonly string[]): Promise<string> => {
    const outcome = await runCli(['generate', 'x', '--url', url, '--show-trees', ...words], { env: { NO_COLOR: '1' } })
    assert.equal(outcome.code, 0, outcome.stderr)
    return outcome.stdout
  }

  const doors: readonly (readonly [string, () => string])[] = [
    ['gRPC', () => grpc.address],
    ['HTTP', () => http.url],
  ]
  for (const [name, url] of doors) {
    it(`draws the steps, then prints the text (${name})`, async () => {
      assert.deepEqual((await run(url())).split('\n'), [
        'steps 1–2  +2 tokens · no drafts · 8.0 ms each',
        'step 3  +2 tokens · 1 of 3 nodes · price 20% · 8.0 ms (predicted 9.0, plain 6.0) · draft 0.5 ms',
        '  "x" → ✓"y" 50% suf',
        '',
        '✓ accepted · 91% estimated chance that the path is accepted ·',
        'price: least chance at which a node pays · plain: without drafts · suf: suffix',
        '',
        'helll',
        '',
      ])
    })

    it(`lists them in the JSON (${name})`, async () => {
      const { choices } = JSON.parse(await run(url(), '--json')) as { choices: readonly { trees: unknown }[] } // documented
      assert.deepEqual(choices[0]?.trees, [lone, lone, drafted])
    })
  }
})
