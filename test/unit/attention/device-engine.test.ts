// A device's attention against the CPU's, through whole steps with real experts: close to it in every family, and a row's
// bits its own whatever the tree, the batch or the place of its slots.

import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../lib/actor/clock.js'
import { probeDeviceAttention } from '../../../lib/compute/gpu/attention-probe.js'
import { probeProvider } from '../../../lib/compute/gpu/device-probe.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import type { AttentionEngine } from '../../../lib/decode/attention-engine.js'
import { geometryOf, loadAttentionModel } from '../../../lib/decode/attention-model.js'
import { createCpuAttentionEngine } from '../../../lib/decode/cpu-attention-engine.js'
import { loadDeviceEngine, type DeviceAttentionEngine } from '../../../lib/decode/device-attention-engine.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../../lib/model/spec.js'
import { NEUTRAL_SAMPLING } from '../../../lib/sampling/params.js'
import type { StepEntry } from '../../../lib/wire/messages.js'
import { packI32, readF32 } from '../../../lib/wire/tensor.js'
import { createExpertPeers } from '../../../services/attention/expert-peers.js'
import { createStepRunner, type StepRunner } from '../../../services/attention/step-runner.js'
import { goldenModel } from '../../helpers/paths.js'
import { TEST_DEVICES } from '../../helpers/test-devices.js'
import { startExpertWorkers, type ExpertWorkers } from './expert-workers.js'

const sampling = { ...NEUTRAL_SAMPLING, seed: '7', temperature: 0, logitBias: [], endTokenIds: [] }
const every = [0, 1, 2, 3, 4, 5, 6, 7]
const families = ['llama-dense', 'mixtral', 'olmoe', 'qwen2-moe', 'qwen3-dense', 'qwen3-moe']
const closeTo = 1e-3

const tokensOf = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => ((i + 1) * (seed * 2 + 7) * 31) % 61)

interface EntryFields {
  readonly sequence?: string
  readonly epoch: number
  readonly base: number
  readonly accepted?: readonly number[]
  readonly tokens: readonly number[]
  readonly parents?: readonly number[]
  readonly prefix?: { readonly sequence: string; readonly tokens: readonly number[] }
}

/** An entry that gives every node's logits; epoch 0 starts the sequence. */
function entry(fields: EntryFields): StepEntry {
  const { sequence = 's', epoch, base, accepted = [], tokens, prefix } = fields
  const parents = fields.parents ?? tokens.map((_, node) => node - 1)
  const shared = prefix && { sequence: prefix.sequence, tokens: packI32(prefix.tokens) }
  return {
    sequence,
    epoch,
    base,
    accepted: packI32(accepted),
    tokens: packI32(tokens),
    parents: packI32(parents),
    sampled: packI32([...tokens.keys()]),
    ...(epoch === 0 && {
      start: { promptLength: base + tokens.length, choice: 0, sampling, ...(shared && { prefix: shared }) },
    }),
  }
}

for (const { device, provider, use } of TEST_DEVICES) {
  describe(`attention on ${device}`, function () {
    this.timeout(240_000) // SwiftShader compiles every kernel at its first use
    const life = new AbortController()

    before(function () {
      use(this)
    })

    const loadOptions = (format: WeightFormat) => ({
      format,
      kernels: sharedKernels(1),
      weights: createWeightStore(undefined),
      turn: systemClock.turn,
    })
    const onDevice = (checkpoint: Checkpoint, format: WeightFormat) => {
      const { spec } = checkpoint
      const attentions = [{ ...geometryOf(spec), hidden: spec.hidden }]
      const { leastRows } = probeProvider(provider, { formats: [format], attentions })
      assert.ok(leastRows.attention <= 32, `attention is exact with ${leastRows.attention} rows`)
      return loadDeviceEngine(checkpoint, { ...loadOptions(format), provider, leastRows })
    }

    const runnerOf = (engine: AttentionEngine, experts: ExpertWorkers, microBatches = 1): StepRunner =>
      createStepRunner({
        engine,
        system: experts.system,
        kvTokens: 4096,
        peers: createExpertPeers(experts.system),
        neighbours: new Map<string, never>(),
        microBatches,
      })

    /** Logits of all rows, entry after entry. */
    async function logits(runner: StepRunner, entries: StepEntry[], release: string[] = []): Promise<number[][]> {
      const replicas = every.map(() => ['a'])
      const step = { kind: 'attention.step', step: 'step', tableEpoch: 1, replicas, entries, release } as const
      const result = await runner.run({ ...step, withLogits: true }, { timeoutMs: 60_000, signal: life.signal })
      assert.deepEqual(
        result.entries.flatMap(({ error }) => error ?? []),
        [],
      )
      const { data, shape } = { data: readF32(result.logits!, 'logits'), shape: result.logits!.shape }
      const width = shape[1]!
      return Array.from({ length: shape[0]! }, (_, row) => [...data.subarray(row * width, (row + 1) * width)])
    }

    /** Of three steps, CPU's engine and device: prompt, a tree, one token. */
    async function bothLogits(model: string): Promise<readonly [cpu: number[][], device: number[][]]> {
      const checkpoint = openCheckpoint(model)
      const experts = await startExpertWorkers(checkpoint, { a: every })
      const engines = [
        createCpuAttentionEngine(await loadAttentionModel(checkpoint, loadOptions('f32'))),
        await onDevice(checkpoint, 'f32'),
      ]
      const prompt = tokensOf(21, 1)
      const accepted = prompt.map((_, i) => i)
      const steps = [
        entry({ epoch: 0, base: 0, tokens: prompt }),
        entry({ epoch: 1, base: 21, accepted, tokens: [5, 9, 11], parents: [-1, 0, 0] }),
        entry({ epoch: 2, base: 23, accepted: [0, 2], tokens: [3] }),
      ]
      try {
        const [cpu, device] = [[] as number[][], [] as number[][]]
        const [near, far] = engines.map((engine) => runnerOf(engine, experts))
        for (const one of steps) {
          cpu.push(...(await logits(near!, [one])))
          device.push(...(await logits(far!, [one])))
        }
        return [cpu, device]
      } finally {
        for (const engine of engines) engine.dispose()
        await experts.stop()
        checkpoint.close()
      }
    }

    const best = (row: number[]): number => row.indexOf(Math.max(...row))
    const worst = (want: number[][], got: number[][]): number =>
      Math.max(...want.flatMap((row, i) => row.map((value, at) => Math.abs(value - got[i]![at]!))))

    for (const family of families) {
      it(`${family}: close to the CPU's engine, the same best token`, async () => {
        const [cpu, device] = await bothLogits(goldenModel(family))
        assert.ok(worst(cpu, device) < closeTo, `logits differ by ${worst(cpu, device)}`)
        assert.deepEqual(device.map(best), cpu.map(best))
      })
    }

    it('clips q, k and v where the configuration says so, as the CPU does', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'banyan-clipped-'))
      try {
        cpSync(goldenModel('olmoe'), folder, { recursive: true })
        const config = join(folder, 'config.json')
        const fields = JSON.parse(readFileSync(config, 'utf8')) as object
        writeFileSync(config, JSON.stringify({ ...fields, clip_qkv: 0.05 }))
        const [plain] = await bothLogits(goldenModel('olmoe'))
        const [cpu, device] = await bothLogits(folder)
        assert.ok(worst(plain, cpu) > 10 * closeTo, `the limit changes logits by ${worst(plain, cpu)} only`)
        assert.ok(worst(cpu, device) < closeTo, `logits differ by ${worst(cpu, device)}`)
      } finally {
        rmSync(folder, { recursive: true })
      }
    })

    for (const format of ['f32', 'int8', 'int4'] as const) {
      it(`${format}: the probe finds with how many rows attention is exact`, () => {
        const shape = { hidden: 64, numHeads: 3, numKvHeads: 1, headDim: 12 } // one KV head, a width of its own
        const { leastRows } = probeDeviceAttention(provider, format, shape)
        assert.ok(leastRows <= 16, `got ${leastRows}`)
      })
    }

    describe("a row's bits", () => {
      const format = 'int4' // of its kernels, few rows take another
      let checkpoint: Checkpoint
      let experts: ExpertWorkers
      let engine: DeviceAttentionEngine

      before(async () => {
        checkpoint = openCheckpoint(goldenModel('qwen3-moe'))
        experts = await startExpertWorkers(checkpoint, { a: every }, format)
        engine = await onDevice(checkpoint, format)
      })
      after(async () => {
        engine.dispose()
        await experts.stop()
        checkpoint.close()
      })

      const prompt = tokensOf(70, 2)
      const all = prompt.map((_, i) => i)
      const release = ['s', 't', 'u']

      /** Logits of the last rows of prompt and tokens, decoded one by one. */
      async function plain(tokens: readonly number[]): Promise<number[][]> {
        const runner = runnerOf(engine, experts)
        const rows = [(await logits(runner, [entry({ epoch: 0, base: 0, tokens: prompt })])).at(-1)!]
        for (const [i, token] of tokens.entries()) {
          const accepted = i === 0 ? all : [0]
          rows.push((await logits(runner, [entry({ epoch: i + 1, base: 70 + i, accepted, tokens: [token] })]))[0]!)
        }
        runner.cancel(['s'])
        return rows
      }

      it('do not depend on how the prompt was cut, nor on the rows beside it', async () => {
        const [want] = await plain([])
        const runner = runnerOf(engine, experts, 2)
        const others = [
          entry({ sequence: 't', epoch: 0, base: 0, tokens: tokensOf(3, 5) }),
          entry({ sequence: 'u', epoch: 0, base: 0, tokens: tokensOf(130, 6) }),
        ]
        const first = entry({ epoch: 0, base: 0, tokens: prompt.slice(0, 33) })
        await logits(runner, [others[0]!, first, others[1]!])
        const rest = { epoch: 1, base: 33, accepted: all.slice(0, 33), tokens: prompt.slice(33) }
        assert.deepEqual((await logits(runner, [entry(rest)])).at(-1), want)
        runner.cancel(release)
      })

      it('of a node of a tree are those of decoding its path, also after a commit', async () => {
        const runner = runnerOf(engine, experts)
        const [left, right] = [await plain([5, 9, 4, 8]), await plain([5, 11, 2])]
        await logits(runner, [entry({ epoch: 0, base: 0, tokens: prompt })])
        const tree = { tokens: [5, 11, 9, 2, 4], parents: [-1, 0, 0, 1, 2] }
        const got = await logits(runner, [entry({ epoch: 1, base: 70, accepted: all, ...tree })])
        assert.deepEqual([got[0], got[2], got[4]], left.slice(1, 4))
        assert.deepEqual([got[1], got[3]], right.slice(2))
        const next = { epoch: 2, base: 73, accepted: [0, 2, 4], tokens: [8] }
        assert.deepEqual(await logits(runner, [entry(next)]), left.slice(4))
        assert.deepEqual(await logits(runner, [entry(next)]), left.slice(4), 'of a step that is tried again')
        runner.cancel(release)
      })

      it('are kept by a fork, which shares slots until it writes; what is released is free again', async () => {
        const want = await plain([5, 9])
        const other = await plain([11])
        assert.equal(engine.heldSlots, 0)
        const runner = runnerOf(engine, experts)
        await logits(runner, [entry({ epoch: 0, base: 0, tokens: prompt })])
        const before = { held: engine.heldSlots, tensors: engine.numTensors }
        const fork = { sequence: 't', epoch: 0, base: 70, tokens: [5], prefix: { sequence: 's', tokens: prompt } }
        const both = [entry({ epoch: 1, base: 70, accepted: all, tokens: [11] }), entry(fork)]
        assert.deepEqual(await logits(runner, both), [other[1], want[1]])
        assert.deepEqual({ held: engine.heldSlots, tensors: engine.numTensors }, { ...before, held: before.held + 2 })
        const next = entry({ sequence: 't', epoch: 1, base: 71, accepted: [0], tokens: [9] })
        assert.deepEqual(await logits(runner, [next], ['s']), [want[2]])
        assert.equal(engine.heldSlots, 72)
        runner.cancel(release)
        assert.equal(engine.heldSlots, 0)
      })

      it('do not change with the pool, which grows with what is held and gives memory back after it', async () => {
        const [want] = await plain([])
        const small = engine.poolSlots
        const runner = runnerOf(engine, experts)
        await logits(runner, [entry({ sequence: 't', epoch: 0, base: 0, tokens: prompt.slice(0, 40) })])
        await logits(runner, [entry({ sequence: 'u', epoch: 0, base: 0, tokens: tokensOf(small - 30, 6) })])
        const large = engine.poolSlots
        assert.ok(large >= 2 * small, `${small}, then ${large} slots`)
        runner.cancel(['u'])
        const rest = { sequence: 't', epoch: 1, base: 40, accepted: all.slice(0, 40), tokens: prompt.slice(40) }
        assert.deepEqual((await logits(runner, [entry(rest)])).at(-1), want)
        assert.equal(engine.poolSlots, small)
        runner.cancel(release)
      })
    })
  })
}
