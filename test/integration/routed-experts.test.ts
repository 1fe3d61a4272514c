// The files of routed experts say what the gates chose for every token that went through the layers, and say the same
// whatever the cluster looks like and however the tokens were computed (I1).

import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openCheckpoint } from '../../lib/model/checkpoint.js'
import { requestRecordSchema, type RequestRecord } from '../../lib/traffic/request-record.js'
import { BanyanClient } from '../../sdk/src/index.js'
import { readNpy, type NpyArray } from '../helpers/read-npy.js'
import { demoModel, goldenModel } from '../helpers/paths.js'
import { startTestCluster, type ClusterShape } from '../helpers/test-cluster.js'

const PROMPT = Array.from({ length: 70 }, (_, i) => 3 + ((i * 7) % 60))
const TIGHT_KV = 160 // both choices begin, one has to wait for the other's end
const SHARED_ROWS = 64 // at least, of a prompt that was there before

interface Captured {
  readonly records: readonly RequestRecord[]
  readonly files: ReadonlyMap<string, NpyArray>
  readonly drafted: number
  readonly preempted: number
}

describe('files of routed experts', function () {
  this.timeout(60_000)

  /** Two choices, then the first of them again under another id, which may share the KV of its prompt. */
  const capture = async (shape: ClusterShape): Promise<Captured> => {
    const folder = mkdtempSync(join(tmpdir(), 'banyan-experts-'))
    try {
      const cluster = await startTestCluster({ traceDir: folder, traceExperts: true, ...shape })
      const client = new BanyanClient({ address: cluster.router.grpc })
      let preempted = 0
      const sampling = { maxTokens: 24, temperature: 0.7, seed: 11n, ignoreEos: true }
      try {
        await client.complete({ requestId: 'two/../..', tokens: PROMPT, n: 2, sampling })
        await client.complete({ requestId: 'again', tokens: PROMPT, sampling })
        const metrics = await (await fetch(`${cluster.router.http}/metrics`)).text()
        preempted = Number(/^vllm:num_preemptions_total\S* (\d+)$/m.exec(metrics)?.[1] ?? Number.NaN)
      } finally {
        client.close()
        await cluster.stop()
      }
      const read = (file: string): string => readFileSync(join(folder, file), 'utf8')
      const records = readdirSync(folder)
        .filter((name) => name.startsWith('requests-'))
        .flatMap((name) => read(name).split('\n').filter(Boolean))
        .map((line) => requestRecordSchema.parse(JSON.parse(line)))
      const names = records.flatMap(({ choices }) => choices.map(({ routedExperts }) => routedExperts ?? ''))
      const written = readdirSync(folder).includes('experts') ? readdirSync(join(folder, 'experts')) : []
      assert.deepEqual(names.filter(Boolean).sort(), written.map((name) => `experts/${name}`).sort())
      for (const name of names.filter(Boolean)) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
      const files = new Map(names.filter(Boolean).map((name) => [name, readNpy(readFileSync(join(folder, name)))]))
      const drafted = records.flatMap(({ choices }) => choices).reduce((sum, choice) => sum + choice.drafted, 0)
      return { records, files, drafted, preempted }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  for (const model of [demoModel, goldenModel('qwen2-moe')]) {
    const checkpoint = openCheckpoint(model)
    const { spec } = checkpoint
    checkpoint.close()
    const gates = spec.layers.map(({ ffn }) => ({ topK: ffn.gate?.topK ?? 0, numExperts: ffn.experts.length }))
    const topK = Math.max(...gates.map((gate) => gate.topK))

    it(`are the same with trees and without, preempted or not, in one batch or two, with 1 or 2 expert workers: ${spec.family}`, async () => {
      const plain = { model, draft: [], drafters: 0, prefixCache: false }
      const alone = await capture({ ...plain, experts: 1 })
      assert.equal(alone.files.size, 3)
      for (const { prompt, choices } of alone.records) {
        for (const { numTokens, routedExperts = '' } of choices) {
          const { shape, values } = alone.files.get(routedExperts) ?? assert.fail(`no file of ${routedExperts}`)
          assert.deepEqual(shape, [prompt.numTokens + numTokens - 1, gates.length, topK])
          values.forEach((expert, i) => {
            const gate = gates[Math.floor(i / topK) % gates.length]
            const isChosen = i % topK < (gate?.topK ?? 0)
            assert.ok(
              isChosen ? expert >= 0 && expert < (gate?.numExperts ?? 0) : expert === -1,
              `value ${i}: ${expert}`,
            )
          })
        }
      }
      const others: (ClusterShape & { readonly draft: readonly string[] })[] = [
        { ...plain, experts: 2, microBatches: 2, neighbours: false, prefillChunk: 32 },
        { ...plain, experts: 2, kvTokens: TIGHT_KV },
        { model, experts: 2, prefixCache: false, draft: ['prompt-lookup'], draftPrice: 0 },
      ]
      for (const shape of others) {
        const other = await capture(shape)
        assert.deepEqual(other.files, alone.files)
        if (shape.draft.length > 0) assert.ok(other.drafted > 0, 'there were trees')
        if (shape.kvTokens !== undefined) assert.ok(other.preempted > 0, 'a choice was computed again')
      }
      const shared = await capture({ ...plain, experts: 2, prefixCache: true })
      const again = shared.records.find(({ id }) => id === 'again')
      const name = again?.choices[0]?.routedExperts ?? ''
      const cached = (again?.prompt.cachedTokens ?? 0) * gates.length * topK
      assert.ok((again?.prompt.cachedTokens ?? 0) >= SHARED_ROWS)
      const values = shared.files.get(name)?.values ?? assert.fail('no file')
      assert.ok(
        values.subarray(0, cached).every((expert) => expert === -2),
        'rows taken over were not seen here',
      )
      assert.deepEqual(values.subarray(cached), alone.files.get(name)?.values.subarray(cached))
    })
  }

  it('are none of a model without gates, and none where nobody asked', async () => {
    const dense = await capture({ model: goldenModel('llama-dense'), draft: [], drafters: 0 })
    const off = await capture({ traceExperts: false, draft: [], drafters: 0 })
    for (const { files, records } of [dense, off]) assert.deepEqual([files.size, records.length], [0, 2])
  })
})
