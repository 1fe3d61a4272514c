// A layer's attention against float64, over what real checkpoints vary: heads and widths, norms, clipping, biases, part
// of a head rotated, windows, sinks, scales, norms after the sublayers. In chunks of any size the bits are the same.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createAttentionLayer, packAttention } from '../../../lib/compute/attention-layer.js'
import { createKernels, type Kernels } from '../../../lib/compute/kernels.js'
import type { KvFormat } from '../../../lib/model/kv-formats.js'
import { createLatentAttentionLayer } from '../../../lib/compute/latent-attention-layer.js'
import { packLatentAttention } from '../../../lib/compute/latent-weights.js'
import type { LinearWeights } from '../../../lib/compute/linear-weights.js'
import { probeValues, sameBits } from '../../../lib/compute/probe-values.js'
import { createRopeTables } from '../../../lib/compute/rope-tables.js'
import { attended, heads, nearestHalf, normed, rotated, sumOf, times, type Row } from './attention-in-float64.js'
import { runLayer, type LayerResult } from './layer-run.js'
import { inOneGo } from '../../../lib/compute/steps.js'

const EPSILON = 1e-5
const LATENT_EPSILON = 1e-6
const THETA = 500

const linear = (inputs: number, outputs: number, seed: number, hasBias = false): LinearWeights => ({
  ...{ inputs, outputs, weights: probeValues(inputs * outputs, seed, 2 / Math.sqrt(inputs)) },
  bias: hasBias ? probeValues(outputs, seed + 100, 1) : undefined,
})

const rowsOf = (values: Float32Array, width: number): Row[] =>
  Array.from({ length: values.length / width }, (_, row) => [...values.subarray(row * width, (row + 1) * width)])

/** Norms of what is nearly zero magnify the rounding of float32; a rounding to float16 may fall to the other side. */
function isClose(actual: Float32Array, wanted: readonly Row[], what: string, kv: KvFormat): void {
  const tolerance = kv === 'f16' ? 3e-3 : 3e-4
  wanted.flat().forEach((value, i) => {
    const error = Math.abs(actual[i]! - value)
    assert.ok(error <= tolerance * Math.max(1, Math.abs(value)), `${what} ${i}: want ${value}, got ${actual[i]!}`)
  })
}

const keptAs = (kv: KvFormat, row: Row): Row => (kv === 'f16' ? row.map(nearestHalf) : row)

const isSame = (actual: LayerResult, wanted: LayerResult): void =>
  assert.ok(sameBits(actual.h, wanted.h) && sameBits(actual.n, wanted.n) && sameBits(actual.sums, wanted.sums))

const text = {
  hidden: fc.constantFrom(16, 20, 48),
  rows: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.integer({ min: 120, max: 140 })),
  chunk: fc.integer({ min: 1, max: 40 }),
  kv: fc.constantFrom('f32', 'f16'),
  window: fc.option(fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 100, max: 160 })), { nil: undefined }),
  scale: fc.option(fc.constantFrom(0.05, 0.3), { nil: undefined }),
  hasSinks: fc.boolean(),
  hasPostNorms: fc.boolean(),
  hasBias: fc.boolean(),
} as const

const optional = (isThere: boolean, size: number, seed: number): Float32Array | undefined =>
  isThere ? probeValues(size, seed, 2) : undefined

describe('attention layer', () => {
  let engines: readonly Kernels[]
  before(() => (engines = [createKernels(2), createKernels(1, { machineCode: false })]))
  after(() => Promise.all(engines.map((kernels) => kernels.dispose())))

  const grouped = fc.record({
    ...text,
    numKvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 5 }),
    half: fc.integer({ min: 1, max: 12 }),
    rotatedShare: fc.constantFrom(0.25, 0.5, 1),
    qkNorm: fc.constantFrom('head', 'projection', undefined),
    clip: fc.option(fc.constant(1.5), { nil: undefined }),
  } as const)

  it('grouped: is what float64 computes, with and without machine code, on one thread and on two, in any chunks', () => {
    fc.assert(
      fc.property(grouped, (shape) => {
        const { hidden, rows, chunk, window, numKvHeads, group, half, qkNorm, clip, scale, hasBias, kv } = shape
        const headDim = 2 * half
        const rotatedDim = 2 * Math.max(1, Math.floor(half * shape.rotatedShare))
        const numHeads = numKvHeads * group
        const [qSize, kvSize] = [numHeads * headDim, numKvHeads * headDim]
        const normWidths = qkNorm === 'head' ? [headDim, headDim] : [qSize, kvSize]
        const weights = {
          norm: probeValues(hidden, 1, 2),
          q: linear(hidden, qSize, 2, hasBias),
          k: linear(hidden, kvSize, 3, hasBias),
          v: linear(hidden, kvSize, 4, hasBias),
          qkNorm: qkNorm && { q: probeValues(normWidths[0]!, 5, 2), k: probeValues(normWidths[1]!, 6, 2) },
          sinks: optional(shape.hasSinks, numHeads, 7),
          o: linear(qSize, hidden, 8, hasBias),
          postNorm: optional(shape.hasPostNorms, hidden, 9),
          ffnNorm: probeValues(hidden, 10, 2),
          ffnPostNorm: optional(shape.hasPostNorms, hidden, 11),
        }
        const rope = { theta: THETA, scaling: { type: 'default' } } as const
        const run = (kernels: Kernels, size: number) => {
          const layer = createAttentionLayer(kernels, inOneGo(packAttention(weights, 'f32')), {
            ...{ numHeads, numKvHeads, headDim, rotatedDim, qkNorm, clip, scale, window },
            ...{ hidden, epsilon: EPSILON, expertBlocks: 0, rotation: 0, pageOffset: 0, kv },
          })
          const result = runLayer(kernels, layer, {
            ...{ hidden, chunk: size, x: probeValues(rows * hidden, 12, 2), delta: probeValues(rows * hidden, 13, 2) },
            ...{
              kv: { numKvHeads, headDim, valueDim: headDim },
              format: kv,
              tables: createRopeTables(rope, rotatedDim),
            },
          })
          layer.dispose()
          return result
        }
        const result = run(engines[0]!, chunk)
        isSame(run(engines[0]!, rows), result)
        isSame(run(engines[1]!, chunk), result)

        const clipped = (x: Row): Row => x.map((value) => Math.min(Math.max(value, -(clip ?? 1e9)), clip ?? 1e9))
        const normHeads = (x: Row, weight: Float32Array | undefined): Row => {
          if (weight === undefined) return x
          return qkNorm === 'head'
            ? heads(x, headDim).flatMap((head) => normed(head, weight, EPSILON))
            : normed(x, weight, EPSILON)
        }
        const turned = (x: Row, position: number) =>
          heads(x, headDim).map((head) => rotated(head, position, THETA, rotatedDim))
        const kept = (all: readonly Row[]): Row[] => all.map((head) => keptAs(kv, head))
        const x = rowsOf(probeValues(rows * hidden, 12, 2), hidden)
        const n = x.map((row) => normed(row, weights.norm, EPSILON))
        const q = n.map((row, i) => turned(clipped(normHeads(times(weights.q, row), weights.qkNorm?.q)), i))
        const k = n.map((row, i) => kept(turned(clipped(normHeads(times(weights.k, row), weights.qkNorm?.k)), i)))
        const v = n.map((row) => kept(heads(clipped(times(weights.v, row)), headDim)))
        const h = x.map((row, i) => {
          const all = q[i]!.flatMap((query, head) => {
            const kvHead = Math.floor(head / group)
            const [keys, values] = [k, v].map((each) => each.slice(0, i + 1).map((all) => all[kvHead]!))
            return attended(query, keys!, values!, {
              ...{ scale: scale ?? 1 / Math.sqrt(headDim), window, sink: weights.sinks?.[head] },
            })
          })
          const projected = times(weights.o, all)
          return sumOf(row, weights.postNorm ? normed(projected, weights.postNorm, EPSILON) : projected)
        })
        const delta = rowsOf(probeValues(rows * hidden, 13, 2), hidden)
        const { ffnPostNorm } = weights
        isClose(result.h, h, 'h', kv)
        isClose(
          result.n,
          h.map((row) => normed(row, weights.ffnNorm, EPSILON)),
          'n',
          kv,
        )
        isClose(result.sums, ffnPostNorm ? delta.map((row) => normed(row, ffnPostNorm, EPSILON)) : delta, 'sums', kv)
      }),
      { numRuns: 20 },
    )
  })

  const latent = fc.record({
    ...text,
    numHeads: fc.integer({ min: 1, max: 20 }),
    halfLatent: fc.integer({ min: 4, max: 20 }),
    plainDim: fc.integer({ min: 1, max: 20 }),
    halfRotated: fc.integer({ min: 1, max: 6 }),
    valueDim: fc.integer({ min: 1, max: 20 }),
    rank: fc.option(fc.integer({ min: 8, max: 40 }), { nil: undefined }),
  } as const)

  it('latent: is what float64 computes from the keys and values of all heads', () => {
    fc.assert(
      fc.property(latent, (shape) => {
        const { hidden, rows, chunk, window, numHeads, plainDim, valueDim, rank, scale, hasBias, kv } = shape
        const [latentDim, rotatedDim] = [2 * shape.halfLatent, 2 * shape.halfRotated]
        const width = plainDim + rotatedDim
        const up = linear(rank ?? hidden, numHeads * width, 2)
        const lowRank =
          rank === undefined ? undefined : { down: linear(hidden, rank, 14, hasBias), norm: probeValues(rank, 15, 2) }
        const weights = {
          norm: probeValues(hidden, 1, 2),
          q: lowRank === undefined ? up : { ...lowRank, up },
          kvDown: linear(hidden, latentDim + rotatedDim, 3, hasBias),
          latentNorm: probeValues(latentDim, 4, 2),
          kvUp: linear(latentDim, numHeads * (plainDim + valueDim), 5),
          sinks: optional(shape.hasSinks, numHeads, 7),
          o: linear(numHeads * valueDim, hidden, 8, hasBias),
          postNorm: optional(shape.hasPostNorms, hidden, 9),
          ffnNorm: probeValues(hidden, 10, 2),
        }
        const geometry = { numHeads, latentDim, plainDim, rotatedDim, valueDim }
        const rope = { theta: THETA, scaling: { type: 'default' } } as const
        const run = (kernels: Kernels, size: number) => {
          const layer = createLatentAttentionLayer(kernels, inOneGo(packLatentAttention(weights, geometry, 'f32')), {
            ...{ ...geometry, scale, window, latentEpsilon: LATENT_EPSILON },
            ...{ hidden, epsilon: EPSILON, expertBlocks: 0, rotation: 0, pageOffset: 0, kv },
          })
          const result = runLayer(kernels, layer, {
            ...{ hidden, chunk: size, x: probeValues(rows * hidden, 12, 2) },
            kv: { numKvHeads: 1, headDim: rotatedDim + latentDim, valueDim: latentDim },
            format: kv,
            tables: createRopeTables(rope, rotatedDim),
          })
          layer.dispose()
          return result
        }
        const result = run(engines[0]!, chunk)
        isSame(run(engines[0]!, rows), result)
        isSame(run(engines[1]!, chunk), result)

        const x = rowsOf(probeValues(rows * hidden, 12, 2), hidden)
        const turned = (part: Row, position: number) => rotated(part, position, THETA)
        const states = x.map((row, position) => {
          const n = normed(row, weights.norm, EPSILON)
          const q = lowRank ? normed(times(lowRank.down, n), lowRank.norm, LATENT_EPSILON) : n
          const queries = heads(times(up, q), width).map((head) => [
            ...head.slice(0, plainDim),
            ...turned(head.slice(plainDim), position),
          ])
          const kept = times(weights.kvDown, n)
          const shared = keptAs(kv, turned(kept.slice(latentDim), position))
          const latents = keptAs(kv, normed(kept.slice(0, latentDim), weights.latentNorm, LATENT_EPSILON))
          const lifted = times(weights.kvUp, latents)
          const keysAndValues = heads(lifted, plainDim + valueDim).map((head) => {
            return { key: [...head.slice(0, plainDim), ...shared], value: head.slice(plainDim) }
          })
          return { queries, keysAndValues }
        })
        const h = x.map((row, i) => {
          const seen = states.slice(0, i + 1)
          const all = states[i]!.queries.flatMap((query, head) =>
            attended(
              query,
              seen.map(({ keysAndValues }) => keysAndValues[head]!.key),
              seen.map(({ keysAndValues }) => keysAndValues[head]!.value),
              { scale: scale ?? 1 / Math.sqrt(width), window, sink: weights.sinks?.[head] },
            ),
          )
          const projected = times(weights.o, all)
          return sumOf(row, weights.postNorm ? normed(projected, weights.postNorm, EPSILON) : projected)
        })
        isClose(result.h, h, 'h', kv)
      }),
      { numRuns: 20 },
    )
  })
})
