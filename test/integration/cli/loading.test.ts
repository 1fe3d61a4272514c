// Loads that take long, seen by a user: given up when asked, leaving nothing; refused before they begin where they cannot
// end well.

import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive, startCli } from '../../helpers/cli.js'
import { QWEN3_30B_A3B, SYNTHETIC_0_4 } from '../../helpers/declared-models.js'
import { eventually } from '../../helpers/eventually.js'
import { startNatsForTest } from '../../helpers/nats.js'
import { writeSparseModel } from '../../helpers/sparse-model.js'

const MOST_MS = 5_000 // on a busy machine; alone it takes well under two seconds

describe('a load', function () {
  this.timeout(60_000)
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-loading-'))
    writeSparseModel(join(folder, 'model'), SYNTHETIC_0_4)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Every process below one. */
  const below = (pid: number): number[] => {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
    return [...children, ...children.flatMap(below)]
  }
  const filesOf = (cache: string): string[] =>
    existsSync(cache) ? readdirSync(cache, { recursive: true }).map(String) : []

  const CASES = [
    { words: ['up', '--transport', 'nats', '--http', '0', '--grpc', '0'], signal: 'SIGINT', code: 130 },
    { words: ['up', '--transport', 'local', '--http', '0', '--grpc', '0'], signal: 'SIGTERM', code: 0 },
    { words: ['generate', '--tokens', '1,2,3', '--transport', 'local'], signal: 'SIGINT', code: 130 },
  ] as const
  for (const [index, { words, signal, code }] of CASES.entries()) {
    it(`of \`banyan ${words.slice(0, 4).join(' ')}\` ends at ${signal} with ${code}, and leaves nothing`, async () => {
      const cache = join(folder, `cache-${index}`)
      const all = [...words, '--model', join(folder, 'model'), '--weight-cache', cache]
      const running = startCli(all, { env: { LOG_LEVEL: 'error' } })
      await eventually(() => filesOf(cache).some((name) => name.endsWith('.tmp')), 'weights are written', 30_000)
      const pids = below(running.pid)
      const askedMs = performance.now()
      running.child.kill(signal)
      const outcome = await running.outcome
      assert.equal(outcome.code, code, outcome.stderr)
      assert.ok(performance.now() - askedMs < MOST_MS, `took ${performance.now() - askedMs} ms`)
      assert.deepEqual(pids.filter(isAlive), [])
      assert.deepEqual(
        filesOf(cache).filter((name) => name.endsWith('.tmp')),
        [],
      )
    })
  }

  it('of a service alone ends at either signal, while the others go on', async () => {
    const nats = await startNatsForTest()
    const serve = (role: string) => {
      const cache = join(folder, `cache-${role}`)
      const model = ['--model', join(folder, 'model'), '--weights', 'int8-auto'] // takes seconds to pack
      const words = ['--nats', nats.url, ...model, '--weight-cache', cache]
      return { cache, ...startCli(['serve', role, ...words], { env: { LOG_LEVEL: 'error', BANYAN_EXPERTS: '1' } }) }
    }
    const running = ['router', 'attention', 'expert-worker'].map(serve) // experts are loaded when the router asks
    try {
      for (const [i, signal, wanted] of [
        [1, 'SIGTERM', 0],
        [2, 'SIGINT', 130],
      ] as const) {
        const { cache, child, outcome } = running[i]!
        const isLoading = (): boolean => filesOf(cache).some((name) => name.endsWith('.tmp'))
        await eventually(isLoading, `weights are written to ${cache}`, 30_000)
        const askedMs = performance.now()
        child.kill(signal)
        const { code, stderr } = await outcome
        assert.deepEqual([code, isLoading()], [wanted, false], stderr)
        assert.ok(performance.now() - askedMs < MOST_MS, `took ${performance.now() - askedMs} ms`)
      }
      assert.equal(running[0]!.child.exitCode, null)
    } finally {
      for (const { child } of running) child.kill('SIGKILL')
      await Promise.all(running.map(({ outcome }) => outcome))
      await nats.stop()
    }
  })

  it('that cannot fit is one error with the arithmetic before anything is read, over both transports', async () => {
    const model = join(folder, 'large')
    writeSparseModel(model, QWEN3_30B_A3B)
    const start = ['up', '--http', '0', '--grpc', '0', '--model', model, '--weight-cache', 'off']
    for (const [words, wanted] of [
      [
        ['--transport', 'local', '--weights', 'int4'],
        /1 × attention and LM head \([\d.]+ \wB\) \+ 1 × experts of \d+ shards/,
      ],
      [['--transport', 'nats', '--weights', 'f32'], /want [\d.]+ GB, got room for [\d.]+ GB/],
    ] as const) {
      const { code, stderr } = await startCli([...start, ...words], { env: { LOG_LEVEL: 'error' } }).outcome
      assert.equal(code, 1, stderr)
      assert.match(stderr, wanted)
      assert.match(stderr, /^banyan: resource_exhausted: [^\n]*a smaller format[^\n]*\n$/)
    }
  })
})
