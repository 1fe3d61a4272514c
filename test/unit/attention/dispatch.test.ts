// I1 and I6 of the dispatch: the sum's bits do not depend on who holds which shard, and no expert is skipped.

import assert from 'node:assert/strict'
import type { ExpertNeighbours } from '../../../lib/compute/expert-call.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { shardPlan } from '../../../lib/model/expert-shards.js'
import { packI32 } from '../../../lib/wire/tensor.js'
import type { DispatchContext } from '../../../services/attention/dispatch-context.js'
import { dispatch } from '../../../services/attention/dispatch.js'
import { createExpertPeers } from '../../../services/attention/expert-peers.js'
import { route } from '../../../lib/decode/gate.js'
import { goldenModel } from '../../helpers/paths.js'
import { startExpertWorkers, type ExpertWorkers } from './expert-workers.js'

describe('dispatch', () => {
  const layer = 1
  const kernels = sharedKernels(1)
  const rows = 5
  let checkpoint: Checkpoint
  let workers: ExpertWorkers | undefined

  before(() => {
    checkpoint = openCheckpoint(goldenModel('qwen2-moe')) // eight routed experts, top 3, and a shared one
  })
  afterEach(async () => {
    await workers?.stop()
    workers = undefined
  })
  after(() => checkpoint.close())

  function contextFor(system: ExpertWorkers['system'], replicas: readonly (readonly string[])[]): DispatchContext {
    return {
      system,
      neighbours: new Map(),
      replicas,
      step: 'step',
      plan: shardPlan(checkpoint.spec),
      timeoutMs: 5000,
      microBatches: 1,
      signal: new AbortController().signal,
      peers: createExpertPeers(system),
      failed: new Set(),
      slow: new Set(),
      used: new Set(),
      counters: { distinctExperts: 0, expertRows: { note: () => undefined, totals: () => packI32([]) } },
    }
  }

  /** Runs five rows with worker w holding the shards of `holdings[w]`; later workers are asked first where they overlap. */
  async function run(
    holdings: Readonly<Record<string, readonly number[]>>,
    replicas?: readonly (readonly string[])[],
    near: (all: ExpertNeighbours) => ExpertNeighbours = () => new Map(),
  ): Promise<{ y: Float32Array; context: DispatchContext }> {
    workers = await startExpertWorkers(checkpoint, holdings)
    const { spec } = checkpoint
    const ffn = spec.layers[layer]?.ffn ?? assert.fail()
    const table = Array.from({ length: shardPlan(spec).numShards }, (_, shard) =>
      Object.keys(holdings).filter((id) => holdings[id]?.includes(shard)),
    )
    const context = { ...contextFor(workers.system, replicas ?? table), neighbours: near(workers.neighbours) }
    const routes = route(ffn, rows, probeValues(rows * (ffn.experts.length + 1), 4, 6))
    const size = rows * spec.hidden
    const [n, delta] = [kernels.allocate(size * 4), kernels.allocate(size * 4)]
    kernels.floats(n, size).set(probeValues(size, 9, 2))
    try {
      await dispatch(context, layer, { kernels, hidden: spec.hidden, x: n, isRounded: false, delta }, routes)
      return { y: kernels.floats(delta, size).slice(), context }
    } finally {
      kernels.release(n)
      kernels.release(delta)
    }
  }

  const every = [0, 1, 2, 3, 4, 5, 6, 7]

  it('gives the same bits however the shards are spread (I1)', async () => {
    const { y: alone } = await run({ a: every })
    for (const holdings of [
      { a: [0, 1, 2, 3], b: [4, 5, 6, 7] },
      { a: [7, 0], b: [6, 1, 2], c: [5, 3, 4] },
      Object.fromEntries(every.map((shard) => [`w${shard}`, [7 - shard]])),
    ]) {
      await workers?.stop()
      const { y } = await run(holdings)
      assert.deepEqual(y, alone)
    }
  })

  it('gives the same bits in place, in another engine of the process, and over frames (I1)', async () => {
    const spread = { a: [0, 3, 5], b: [1, 2, 4, 6, 7] }
    const { y: wanted } = await run(spread)
    await workers?.stop()
    const near = await run(spread, undefined, (all) => all)
    assert.deepEqual([near.y, [...near.context.used], workers?.loads.get('a')?.calls], [wanted, ['a', 'b'], undefined])
    await workers?.stop()
    const kernels = sharedKernels(2)
    const other = await run(spread, undefined, (all) => new Map([...all].map(([id, one]) => [id, { ...one, kernels }])))
    assert.deepEqual(other.y, wanted)
    await workers?.stop()
    const mixed = await run(spread, undefined, (all) => new Map([...all].filter(([id]) => id === 'a')))
    assert.deepEqual(mixed.y, wanted)
  })

  it('sends one frame per touched worker', async () => {
    await run({ a: [0, 1, 2, 3], b: [4, 5, 6, 7] })
    assert.deepEqual(
      [...(workers?.loads.values() ?? [])].map(({ calls }) => calls),
      [1, 1],
    )
  })

  it('asks the next replica where one is gone, with the same bits', async () => {
    const { y: wanted } = await run({ a: every })
    await workers?.stop()
    const { y, context } = await run(
      { a: every },
      every.map((shard) => (shard < 4 ? ['gone', 'a'] : ['a'])),
    )
    assert.deepEqual([y, [...context.failed]], [wanted, ['gone']])
  })

  it('asks the next replica where one lacks the shard', async () => {
    const { y: wanted } = await run({ a: every })
    await workers?.stop()
    const { y } = await run(
      { a: every, b: [0] },
      every.map(() => ['b', 'a']),
    )
    assert.deepEqual(y, wanted)
  })

  it('fails naming layer, expert and shard where no replica is left (I6)', async () => {
    await assert.rejects(
      run(
        { a: every },
        every.map((shard) => (shard < 3 ? ['a'] : ['gone'])),
      ),
      (error) =>
        error instanceof ClusterError &&
        error.code === 'unavailable' &&
        error.details.reason === 'EXPERT_UNAVAILABLE' &&
        error.details.layer === '1' &&
        Number(error.details.shard) >= 3 &&
        error.message.includes(`expert ${error.details.expert ?? ''}`),
    )
  })
})
