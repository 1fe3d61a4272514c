import assert from 'node:assert/strict'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { systemClock } from '../../../lib/actor/clock.js'
import { createKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { createExpertStore } from '../../../lib/decode/expert-store.js'
import { ClusterError } from '../../../lib/errors.js'
import { openModel, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { shardPlan } from '../../../lib/model/expert-shards.js'
import { ffnLinears, modelSizes } from '../../../lib/model/sizes.js'
import { goldenModel } from '../../helpers/paths.js'

/** Bytes that are read from safetensors files while `use` runs. */
async function bytesRead(use: () => Promise<void>): Promise<number> {
  const { readSync } = fs
  let bytes = 0
  fs.readSync = (fd: number, ...rest: [NodeJS.ArrayBufferView]) => {
    const count = readSync(fd, ...rest)
    if (fs.readlinkSync(`/proc/self/fd/${fd}`).endsWith('.safetensors')) bytes += count
    return count
  } // all its overloads pass through
  syncBuiltinESMExports()
  try {
    await use()
  } finally {
    fs.readSync = readSync
    syncBuiltinESMExports()
  }
  return bytes
}

describe('loading experts', () => {
  const kernels = createKernels(1)
  let checkpoint: Checkpoint
  before(async () => (checkpoint = await openModel(goldenModel('qwen3-moe'))))
  after(async () => {
    checkpoint.close()
    await kernels.dispose()
  })
  const storeOf = (room: number | (() => number) = Infinity) =>
    createExpertStore({
      checkpoint,
      kernels,
      format: 'f32',
      weights: createWeightStore(undefined),
      turn: systemClock.turn,
      rooms: () => [{ bytes: typeof room === 'number' ? room : room(), because: 'a test says so' }],
    })

  it('reads the tensors of the shards that are placed, each once, and nothing else', async () => {
    const { spec } = checkpoint
    const plan = shardPlan(spec)
    const experts = spec.layers.flatMap(({ ffn }, layer) => plan.expertsOf(layer, 1).map((id) => ffn.experts[id]!))
    const store = storeOf()
    const bytes = await bytesRead(() => store.place([1]))
    const stored = experts.flatMap(ffnLinears).map(({ weight }) => checkpoint.tensors.get(weight.name)?.numBytes ?? 0)
    assert.equal(
      bytes,
      stored.reduce((sum, size) => sum + size, 0),
    )
    assert.equal(await bytesRead(() => store.place([1])), 0)
    await store.dispose()
  })

  it('refuses shards that there is no room for before it reads a byte, and keeps what it has', async () => {
    const store = storeOf(300_000)
    await store.place([0])
    const bytes = await bytesRead(() =>
      assert.rejects(
        store.place([0, 1, 2, 3, 4]),
        (error) =>
          error instanceof ClusterError &&
          error.code === 'resource_exhausted' &&
          error.details.reason === 'NO_ROOM' &&
          /experts of 4 of 8 shards in f32: want [\d.]+ MB, got room for 0\.3 MB \(a test says so\)/.test(
            error.message,
          ),
      ),
    )
    assert.deepEqual([bytes, store.shards], [0, [0]])
    await store.dispose()
  })

  it('exchanges shards where there is room for no more, and says how many there is room for', async () => {
    const [largest = 0] = modelSizes(checkpoint.spec, 'f32').shards.toSorted((a, b) => b - a)
    const before = kernels.usedBytes
    const store = storeOf(() => 2.5 * largest - (kernels.usedBytes - before))
    await store.place([0, 1])
    await store.place([2, 3])
    assert.deepEqual(store.shards, [2, 3])
    const refused: unknown = await store.place([0, 1, 2]).catch((error: unknown) => error)
    assert.ok(refused instanceof ClusterError)
    const { reason, mostShards, shardBytes, because } = refused.details
    assert.deepEqual([reason, mostShards, because], ['NO_ROOM', '2', 'a test says so'])
    assert.equal(Number(shardBytes), Math.ceil(largest))
    await store.dispose()
    assert.equal(kernels.usedBytes, before)
  })
})
