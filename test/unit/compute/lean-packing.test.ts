// That packing never asks for a whole matrix, and comes to the same as if it did (IR2).

import assert from 'node:assert/strict'
import { stack, type LinearWeights } from '../../../lib/compute/linear-weights.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { quantise } from '../../../lib/compute/quantise.js'
import { inOneGo } from '../../../lib/compute/steps.js'
import { packTiles } from '../../../lib/compute/tiles.js'
import { linearOf } from '../../../lib/model/weights.js'
import type { Checkpoint } from '../../../lib/model/checkpoint.js'
import { WEIGHT_FORMATS } from '../../../lib/model/weight-formats.js'

const [inputs, outputs] = [2048, 140] // two pieces, the last tile not full

describe('packing in pieces', () => {
  const whole = (seed: number): LinearWeights => ({ weights: probeValues(inputs * outputs, seed, 1), inputs, outputs })
  const most = { rows: 0 }

  /** The same layer, some rows at a time and no other way. */
  function inRows({ weights }: LinearWeights, hasBlocks: boolean): LinearWeights {
    const cut = <T extends { subarray(from: number, to: number): T }>(
      all: T,
      width: number,
      first: number,
      n: number,
    ) => all.subarray(first * width, (first + n) * width)
    const blocks = quantise(weights, 8)
    return {
      get weights(): Float32Array {
        return assert.fail('all of a matrix was asked for')
      },
      rows: (first, count, into) => {
        most.rows = Math.max(most.rows, count)
        const found = cut(weights, inputs, first, count)
        into?.set(found)
        return into ?? found
      },
      blockRows: (first, count) => {
        most.rows = Math.max(most.rows, count)
        if (!hasBlocks) return undefined
        return {
          bits: 8,
          data: cut(blocks.data, inputs, first, count),
          scales: cut(blocks.scales, inputs / 32, first, count),
        }
      },
      inputs,
      outputs,
    }
  }

  for (const format of WEIGHT_FORMATS) {
    it(`reads a stack of two layers in ${format} by pieces, values and the file's own blocks`, () => {
      const layers = [whole(3), whole(4)]
      const tilesOf = (layer: LinearWeights) => inOneGo(packTiles('w', layer, format))['w.tiles']
      most.rows = 0
      for (const hasBlocks of [false, true]) {
        const wanted = hasBlocks ? layers.map((layer) => ({ ...layer, blocks: quantise(layer.weights, 8) })) : layers
        assert.deepEqual(tilesOf(stack(layers.map((layer) => inRows(layer, hasBlocks)))), tilesOf(stack(wanted)))
      }
      assert.ok(most.rows > 0 && most.rows <= 128, `${most.rows} rows at once`)
    })
  }

  it('reads what lies transposed once for all its pieces, and lets it go with the last', () => {
    const weights = probeValues(inputs * outputs, 5, 1)
    let numReads = 0
    const checkpoint = {
      tensor: () => ((numReads += 1), weights),
      tensors: new Map([['w', { isTransposed: true }]]),
      rows: (_: unknown, first: number, count: number, into: Float32Array) => {
        assert.deepEqual([first, count, into.length], [0, outputs, weights.length]) // never columns one by one
        numReads += 1
        into.set(weights)
        return into
      },
      blocks: () => undefined,
    } as unknown as Checkpoint // all that is used of it
    const layer = linearOf(checkpoint, { weight: { name: 'w', shape: [outputs, inputs] } })
    for (const [i, format] of (['f32', 'int4', 'int8-auto'] as const).entries()) {
      const packed = inOneGo(packTiles('w', layer, format))
      assert.deepEqual(packed, inOneGo(packTiles('w', { weights, inputs, outputs }, format)))
      assert.equal(numReads, i + 1, format)
    }
  })
})
