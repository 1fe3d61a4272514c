// A step on a device that is lost in its middle. No real device can be lost on demand: the layer fails with the engine's
// words for it.

import assert from 'node:assert/strict'
import { deviceRuns } from '../../../lib/compute/gpu/attention-runs.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { createRoom } from '../../../lib/compute/room.js'
import { engineError, type Session } from '../../../lib/compute/session.js'
import { openBatch, type DeviceModel } from '../../../lib/decode/device-batch.js'
import type { ClusterError } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { goldenModel } from '../../helpers/paths.js'

describe('a batch on a device', () => {
  const kernels = sharedKernels(1)
  const geometry = { numHeads: 4, numKvHeads: 2, headDim: 16, leastRows: 1 }

  /** Runs the first layer, which fails so; what was told of it, what was thrown, and how many runs are left open. */
  function runFailing(error: ClusterError) {
    const checkpoint = openCheckpoint(goldenModel('qwen3-moe'))
    const { spec } = checkpoint
    const told: ClusterError[] = []
    let numOpen = 0
    const layer: Session = {
      run: () => assert.fail('only runKept is asked for'),
      runKept: () => {
        throw error
      },
      dispose: () => undefined,
    }
    const model: DeviceModel = {
      spec,
      kernels,
      layers: spec.layers.map(() => layer),
      corrections: [],
      pool: { layer: () => ({}) } as unknown as DeviceModel['pool'], // nothing else of it is used here
      buffers: {
        numTensors: 0,
        open: () => ((numOpen += 1), {}),
        close: () => void (numOpen -= 1),
        dispose: () => undefined,
      },
      expertBlocks: 0,
      onDeviceLost: (one) => told.push(one),
    }
    const span = { views: [{ prefix: 1, more: [] }], slots: [0], table: [2] }
    const room = createRoom(kernels)
    const runs = deviceRuns([span], new Float32Array(geometry.headDim), geometry)
    const batch = openBatch(model, room, { x: new Float32Array(spec.hidden), runs })
    let thrown: unknown
    try {
      batch.runLayer(0)
    } catch (caught) {
      thrown = caught
    }
    batch.close()
    room.dispose()
    checkpoint.close()
    return { told, thrown, numOpen }
  }

  it('tells of the loss before who runs the step hears of it, and leaves nothing open', () => {
    const lost = engineError('webgpu', 'failed', new Error('WebGPU device lost (2): Device was destroyed.'))
    assert.deepEqual([lost.code, lost.details.reason], ['unavailable', 'DEVICE_LOST'])
    assert.deepEqual(runFailing(lost), { told: [lost], thrown: lost, numOpen: 0 })
  })

  it('tells of no other failure', () => {
    const failed = engineError('webgpu', 'failed', new Error('no memory for a buffer'))
    assert.deepEqual(runFailing(failed), { told: [], thrown: failed, numOpen: 0 })
  })
})
