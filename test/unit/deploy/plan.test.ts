import fc from 'fast-check'
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { isLack } from '../../../lib/deploy/candidate.js'
import { figuresOf } from '../../../lib/deploy/arithmetic.js'
import { CPU } from '../../../lib/deploy/constants.js'
import { allocatable, fullestNode, type NodePool } from '../../../lib/deploy/node-pool.js'
import { makePlan, servicePods, tryPlan, type Plan, type PlanRequest } from '../../../lib/deploy/plan.js'
import { modelMemory, streamTokens } from '../../../lib/deploy/memory.js'
import { rolePods } from '../../../lib/deploy/role-pods.js'
import { stepTime } from '../../../lib/deploy/step-time.js'
import { readDeclaredModel } from '../../../lib/model/checkpoint.js'
import { valuesOf } from '../../../lib/model/sizes.js'
import { declaredSpec, QWEN3_30B_A3B } from '../../helpers/declared-models.js'
import { repositoryRoot } from '../../helpers/paths.js'

const GIBI = 2 ** 30
const large = declaredSpec(QWEN3_30B_A3B)
const { spec: demo } = await readDeclaredModel(join(repositoryRoot, 'models', 'demo'))

const pool = (count: number, more: Partial<NodePool> = {}): NodePool => ({
  name: 'pool-1',
  count,
  cpus: 16,
  memory: 64 * GIBI,
  bandwidth: 200e9,
  network: 1.25e9,
  gpus: 0,
  gpuMemory: 24 * GIBI,
  gpuBandwidth: 800e9,
  gpuOperations: 20e12,
  ...more,
})
const request = (more: Partial<PlanRequest> = {}): PlanRequest => ({
  model: 'm',
  spec: large,
  weights: 'int4',
  kvFormat: 'f32',
  device: 'cpu',
  pools: [pool(8)],
  streams: 16,
  context: 2048,
  tpotMs: 300,
  ...more,
})

/** PL2, worked out again from the pods alone. */
function assertFits(plan: Plan): void {
  const { layout, request: asked, services, setup } = plan
  const pods = servicePods(services)
  const numNodes = asked.pools.reduce((sum, { count }) => sum + count, 0)
  const fullest = fullestNode(
    (['routers', 'drafters', 'nats'] as const).flatMap((name) =>
      Array.from({ length: services[name] }, () => pods[name]),
    ),
    numNodes,
  )
  for (const seats of layout.isShared ? [[layout.attention, layout.experts]] : [[layout.attention], [layout.experts]]) {
    const taken = rolePods(plan).filter(({ seat }) => seat !== undefined && seats.includes(seat))
    const cpus = taken.reduce((sum, pod) => sum + pod.perNode * pod.cpus, fullest.cpus)
    const memory = taken.reduce((sum, pod) => sum + pod.perNode * pod.memory, fullest.memory)
    const node = allocatable(seats[0]?.pool ?? assert.fail())
    assert.ok(cpus <= node.cpus + 1e-6, `${cpus} of ${node.cpus} processors`)
    assert.ok(memory <= node.memory + 1, `${memory} of ${node.memory} bytes`)
  }
  assert.ok(layout.numNodes <= numNodes)
  assert.ok(layout.experts.isGpu || plan.expertHeld <= CPU.processBytes)
  assert.ok(layout.attention.isGpu || plan.attentionHeld <= CPU.processBytes)
  assert.ok(plan.shardsPerWorker * layout.experts.workers >= plan.model.load.numShards * plan.replicas)
  assert.ok(layout.experts.nodes >= plan.replicas)
  assert.ok(plan.kvTokens >= plan.streamsPerWorker * streamTokens(asked.context))
  assert.ok(plan.time.totalMs <= asked.tpotMs)
  assert.equal(setup.numAttention, layout.attention.workers)
}

describe('makePlan', () => {
  it('PL1, PL2: the same plan every time, and it fits', () => {
    const plan = makePlan(request())
    assertFits(plan)
    assert.deepEqual(makePlan(request()), plan)
    assert.equal(plan.streams, 16)
    assert.equal(plan.replicas, 2)
  })

  it('PL2: whatever the nodes are', () => {
    fc.assert(
      fc.property(
        fc.record({
          count: fc.integer({ min: 1, max: 16 }),
          cpus: fc.integer({ min: 1, max: 64 }),
          memory: fc.integer({ min: 2, max: 256 }).map((gibi) => gibi * GIBI),
          bandwidth: fc.integer({ min: 10, max: 400 }).map((giga) => giga * 1e9),
          gpus: fc.constantFrom(0, 0, 1, 4),
        }),
        fc.constantFrom<PlanRequest['weights']>('int8', 'int4', 'f16'),
        fc.constantFrom(demo, large),
        fc.option(fc.integer({ min: 1, max: 64 }), { nil: undefined }),
        (node, weights, spec, streams) => {
          const device = node.gpus > 0 ? 'webgpu' : 'cpu'
          const outcome = tryPlan(
            request({ pools: [pool(node.count, node)], weights, spec, streams, device, context: 1024 }),
          )
          if (!isLack(outcome)) assertFits(outcome)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('takes as many streams as time and KV allow where none are asked for, and not one more', () => {
    const plan = makePlan(request({ streams: undefined, tpotMs: 150 }))
    assertFits(plan)
    const { totalMs } = stepTime(plan.setup, plan.streams + 1)
    assert.ok(totalMs > 150 || plan.streams === plan.roomForStreams, `${totalMs} ms with one stream more`)
  })

  for (const [what, change] of [
    ['nodes', (n: number) => ({ pools: [pool(n)] })],
    ['bandwidth of memory', (n: number) => ({ pools: [pool(6, { bandwidth: n * 20e9 })] })],
    ['network', (n: number) => ({ pools: [pool(6, { network: n * 0.25e9 })] })],
    ['processors', (n: number) => ({ pools: [pool(6, { cpus: 2 * n })] })],
  ] as const) {
    it(`is never slower with more ${what}`, () => {
      let before = Infinity
      for (const n of [2, 3, 4, 6, 8, 12, 16, 24]) {
        const outcome = tryPlan(request({ ...change(n), replicas: 1, tpotMs: 10_000, streams: 8 }))
        const spared = isLack(outcome) ? Infinity : outcome.time.totalMs
        assert.ok(spared <= before * (1 + 1e-12), `${n}: ${spared} after ${before}`)
        before = spared
      }
      assert.ok(before < Infinity)
    })
  }

  it('keeps a role in the pool that suits it: attention on GPUs, experts beside many processors', () => {
    const pools = [pool(2, { name: 'gpu', cpus: 8, gpus: 1 }), pool(6, { name: 'cpu', cpus: 32, memory: 128 * GIBI })]
    const plan = makePlan(request({ pools, device: 'webgpu', streams: 4 }))
    assertFits(plan)
    assert.deepEqual(
      rolePods(plan).map(({ role, device }) => [role, device]),
      [
        ['router', 'cpu'],
        ['attention', plan.layout.attention.pool.name === 'gpu' ? 'webgpu' : 'cpu'],
        ['expert-worker', plan.layout.experts.pool.name === 'gpu' ? 'webgpu' : 'cpu'],
        ['drafter', 'cpu'],
      ],
    )
  })

  it('KV in float16 takes half of its bytes, and is told to the workers', () => {
    const keeps = (kvFormat: PlanRequest['kvFormat']) => makePlan(request({ kvFormat, context: 8_192 }))
    const [wide, narrow] = [keeps('f32'), keeps('f16')]
    assert.equal(narrow.model.memory.sizes.kvPerToken * 2, wide.model.memory.sizes.kvPerToken)
    assert.ok(narrow.attentionHeld < wide.attentionHeld || narrow.kvTokens > wide.kvTokens)
    assert.ok(narrow.time.totalMs < wide.time.totalMs)
    assertFits(narrow)
  })

  it('weights in float16 take half of their bytes, and on a GPU room for the matrices that it widens', () => {
    const held = (weights: PlanRequest['weights'], isOnDevice: boolean) => modelMemory(large, { weights, isOnDevice })
    const [wide, narrow, there] = [held('f32', false), held('f16', false), held('f16', true)]
    assert.ok(narrow.shardBytes === wide.shardBytes / 2 && there.shardBytes === narrow.shardBytes)
    const { gate, up, down } = large.layers[0]!.ffn.experts[0]!
    const widened = [gate, up, down].reduce((sum, { weight }) => sum + valuesOf(weight) * 4, 0)
    assert.equal(there.expertOperands - narrow.expertOperands, widened)
    assert.ok(there.attentionOperands - narrow.attentionOperands > valuesOf(large.lmHead.weight) * 4)
    assert.equal(held('f32', true).expertOperands, wide.expertOperands)
  })

  it('plans the demonstration model on one small machine', () => {
    const plan = makePlan(
      request({ spec: demo, weights: 'int8', pools: [pool(1, { cpus: 2, memory: 4 * GIBI })], streams: 1 }),
    )
    assertFits(plan)
    assert.deepEqual([plan.replicas, plan.services.nats, plan.services.routers], [1, 1, 1])
  })

  it('prints every figure with its arithmetic', () => {
    for (const { name, value, arithmetic } of figuresOf(makePlan(request()))) {
      assert.ok(arithmetic.length > 0 && value.length > 0, name)
      assert.doesNotMatch(`${value} ${arithmetic}`, /NaN|undefined|Infinity|e-\d/, name)
    }
  })
})

describe('what does not fit', () => {
  const refusals: readonly (readonly [string, Partial<PlanRequest>, RegExp])[] = [
    [
      'a shard larger than a process',
      { weights: 'f32' },
      /1 shard of experts in f32 take 14\.6 GB .* a process holds 4\.29 GB: want --weights int/,
    ],
    [
      'experts larger than the nodes',
      { pools: [pool(2, { memory: 16 * GIBI })], weights: 'int8' },
      /^experts need [\d.]+ GB on each of 2 nodes .*, a node has [\d.]+ GB of its 17\.2 GB for them: want \d+ nodes/,
    ],
    [
      'one node for two replicas',
      { pools: [pool(1)], replicas: 2, streams: 1 },
      /replicas of a shard are on different nodes \(2\).*: want 2 nodes or .*--replicas 1/,
    ],
    [
      'a context that no worker holds',
      { context: 40_960 },
      /an attention worker with one stream of 40960 tokens needs 8\.\d+ GB, it has 4\.29 GB/,
    ],
    [
      'a context that a worker holds in float16',
      { context: 32_768 },
      /an attention worker with one stream of 32768 tokens needs 7\.\d+ GB, it has 4\.29 GB: want --kv-format f16$/,
    ],
    [
      'more streams than KV',
      { pools: [pool(4)], streams: 400, tpotMs: 600_000 },
      /400 streams of 2048 tokens want more KV than \d+ attention workers hold: they have room for \d+: want .*nodes/,
    ],
    [
      'no time',
      { tpotMs: 40 },
      /16 streams of 2048 tokens take \d+ ms a token on these nodes, 40\.0 ms are asked for: want .*--tpot-ms \d+/,
    ],
  ]
  for (const [what, change, message] of refusals) {
    it(`${what}: is refused with the arithmetic`, () => {
      assert.throws(() => makePlan(request(change)), { code: 'failed_precondition', message })
    })
  }

  it('PL3: the number of nodes that is offered does, and one fewer does not', () => {
    const asked = request({ pools: [pool(2, { memory: 16 * GIBI })], weights: 'int8', streams: 4, tpotMs: 1000 })
    assert.throws(
      () => makePlan(asked),
      (error: Error) => {
        const nodes = Number(/want (\d+) nodes/.exec(error.message)?.[1])
        const withNodes = (count: number): PlanRequest => ({ ...asked, pools: [pool(count, { memory: 16 * GIBI })] })
        assertFits(makePlan(withNodes(nodes)))
        assert.ok(isLack(tryPlan(withNodes(nodes - 1))))
        return true
      },
    )
  })
})
