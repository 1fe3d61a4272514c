// The kernels against plain float64 arithmetic, and the engine's promises: phases in order, the same bits on any number
// of threads, memory that comes back.

import assert from 'node:assert/strict'
import { createAttentionProbe } from '../../../lib/compute/attention-probe.js'
import { probeDevice, requireExact } from '../../../lib/compute/device-class.js'
import { floatInput } from '../../../lib/compute/expert-call.js'
import { computeExperts, packExpert, placeExpert } from '../../../lib/compute/expert-layer.js'
import { createKernels, sharedKernels } from '../../../lib/compute/kernels.js'
import { addNorm } from '../../../lib/compute/norm-tasks.js'
import { addProduct, addRounding, placeLinear } from '../../../lib/compute/placed-linear.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { packTiles } from '../../../lib/compute/tiles.js'
import { SILU, type Activation } from '../../../lib/model/spec.js'
import { WEIGHT_FORMATS } from '../../../lib/model/weight-formats.js'
import { biasOf, product, weightsOf, type Product } from './product.js'
import { inOneGo } from '../../../lib/compute/steps.js'

/** The same in float64, over the weights as they were before packing. */
function productInFloat64(shape: Product, x: Float32Array): number[] {
  const { inputs, outputs, hasBias = false } = shape
  const [weights, bias] = [weightsOf(shape), biasOf(shape)]
  const y: number[] = []
  for (let row = 0; row < x.length / inputs; row++) {
    for (let out = 0; out < outputs; out++) {
      let sum = hasBias ? bias[out]! : 0
      for (let i = 0; i < inputs; i++) sum += x[row * inputs + i]! * weights[out * inputs + i]!
      y.push(sum)
    }
  }
  return y
}

const isClose = (actual: Float32Array, wanted: readonly number[], tolerance: number): void => {
  assert.equal(actual.length, wanted.length)
  wanted.forEach((value, i) =>
    assert.ok(Math.abs(value - actual[i]!) <= tolerance, `${i}: want ${value}, got ${actual[i]!}`),
  )
}

describe('products', () => {
  for (const [format, inputs, tolerance] of [
    ['f32', 40, 1e-5],
    ['int8', 64, 0.05],
    ['int8', 40, 1e-5], // no block fits: stays float32
    ['int4', 64, 0.8],
  ] as const) {
    it(`${format}, ${inputs} inputs: close to the product in float64, for one row, four, and what is left`, () => {
      const shape = { format, inputs, outputs: 24, hasBias: true }
      const x = probeValues(7 * inputs, 5, 2)
      isClose(product(sharedKernels(1), shape, x), productInFloat64(shape, x), tolerance)
    })
  }

  it('int8 and int4 are exact where weights and rows are whole numbers', () => {
    const kernels = sharedKernels(1)
    for (const [format, most] of [
      ['int8', 127],
      ['int4', 8],
    ] as const) {
      // One weight per block of the largest magnitude makes every scale 1 (-1 for int4: its extreme is the level -8).
      const weights = Float32Array.from({ length: 20 * 64 }, (_, i) => (i % 32 === 0 ? -most : ((i * 7) % 13) - 6))
      const x = Float32Array.from({ length: 5 * 64 }, (_, i) => (i % 32 === 1 ? 32767 : (i * 31) % 1000))
      const linear = placeLinear(kernels, inOneGo(packTiles('w', { weights, inputs: 64, outputs: 20 }, format)), 'w')
      const { scratch } = kernels
      scratch.reset()
      const [floats, rounded] = [scratch.take(x.byteLength), scratch.take(5 * linear.rowBytes)]
      const [rowList, y] = [scratch.take(20), scratch.take(5 * linear.outputBytes)]
      kernels.floats(floats, x.length).set(x)
      kernels.ints(rowList, 5).set([0, 1, 2, 3, 4])
      kernels.run(() => {
        addRounding(kernels, linear, { x: floats, stride: 256, rows: 5, y: rounded })
        kernels.barrier()
        addProduct(kernels, linear, { x: rounded, rowList, rows: 5, y })
      })
      for (let row = 0; row < 5; row++) {
        for (let out = 0; out < 20; out++) {
          let sum = 0
          for (let i = 0; i < 64; i++) sum += x[row * 64 + i]! * weights[out * 64 + i]!
          assert.equal(kernels.floats(y + row * linear.outputBytes, 20)[out], sum, `${format} ${row} ${out}`)
        }
      }
      linear.dispose()
    }
  })
})

describe('experts', () => {
  const clamp = (value: number, most: number): number => Math.min(most, Math.max(-most, value))
  const [alpha, limit] = [1.702, 0.75] // so low that both clamps act
  const activations: readonly (readonly [Activation, (gate: number, up: number) => number])[] = [
    [SILU, (gate, up) => (gate / (1 + Math.exp(-gate))) * up],
    [
      { type: 'gelu' },
      (gate, up) => 0.5 * gate * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3))) * up,
    ],
    [
      { type: 'clamped-swiglu', alpha, limit },
      (gate, up) => {
        const least = Math.min(gate, limit)
        return (least / (1 + Math.exp(-alpha * least))) * (clamp(up, limit) + 1)
      },
    ],
  ]

  for (const [activation, activate] of activations) {
    it(`weighs down(${activation.type}(gate, up)), and adds entries in the order of the list`, () =>
      checkExperts(activation, activate))
  }

  function checkExperts(activation: Activation, activate: (gate: number, up: number) => number): void {
    const kernels = sharedKernels(2)
    const [hidden, inner] = [32, 23]
    const linear = (inputs: number, outputs: number, seed: number) => {
      return { weights: probeValues(inputs * outputs, seed, 0.5), inputs, outputs }
    }
    const make = (seed: number) => {
      return {
        gate: linear(hidden, inner, seed),
        up: linear(hidden, inner, seed + 1),
        down: linear(inner, hidden, seed + 2),
      }
    }
    const sources = [make(20), make(30)]
    const experts = sources.map((source) =>
      placeExpert(kernels, inOneGo(packExpert('e', source, 'f32')), 'e', activation),
    )
    const x = probeValues(3 * hidden, 6, 2)
    const calls = [
      { expert: experts[0]!, rows: [0, 2], weights: [0.5, 2] },
      { expert: experts[1]!, rows: [2], weights: [0.25] },
    ]
    const y = computeExperts(kernels, { input: floatInput(x, hidden), hidden, calls, sums: [[0], [1, 2]] })
    const ffn = (source: (typeof sources)[number], row: number): number[] => {
      const input = Array.from(x.subarray(row * hidden, (row + 1) * hidden))
      const times = ({ weights, outputs }: typeof source.gate, values: readonly number[]): number[] =>
        Array.from({ length: outputs }, (_, out) =>
          values.reduce((sum, value, i) => sum + value * weights[out * values.length + i]!, 0),
        )
      const up = times(source.up, input)
      const active = times(source.gate, input).map((gate, i) => activate(gate, up[i]!))
      return times(source.down, active)
    }
    const [first, second, third] = [ffn(sources[0]!, 0), ffn(sources[0]!, 2), ffn(sources[1]!, 2)]
    isClose(y, [...first.map((value) => 0.5 * value), ...second.map((value, i) => 2 * value + 0.25 * third[i]!)], 1e-4)
    experts.forEach((expert) => expert.dispose())
  }
})

describe('norm', () => {
  it('adds the residual, keeps it, and divides by the root mean square', () => {
    const kernels = sharedKernels(1)
    const [rows, width] = [2, 19] // not a whole number of vectors
    const [x, delta, weight] = [probeValues(rows * width, 1, 3), probeValues(rows * width, 2, 3), probeValues(width, 3)]
    const { scratch } = kernels
    scratch.reset()
    const places = [x, delta, weight].map((values) => {
      const address = scratch.take(values.byteLength)
      kernels.floats(address, values.length).set(values)
      return address
    })
    const [h = 0, d = 0, w = 0] = places
    const n = scratch.take(rows * width * 4)
    const residual = { delta: d, h }
    kernels.run(() => addNorm(kernels, { x: h, residual, rows, width, weight: w, epsilon: 1e-3, n }))
    const sums = Array.from(x, (value, i) => value + delta[i]!)
    isClose(kernels.floats(h, rows * width), sums, 1e-6)
    const wanted = sums.map((value, i) => {
      const row = sums.slice(Math.floor(i / width) * width, (Math.floor(i / width) + 1) * width)
      const mean = row.reduce((sum, one) => sum + one * one, 0) / width
      return (value / Math.sqrt(mean + 1e-3)) * weight[i % width]!
    })
    isClose(kernels.floats(n, rows * width), wanted, 1e-5)
  })
})

describe('engine', () => {
  it('gives the same bits on one thread, two and three', async () => {
    const shape = { format: 'int8', inputs: 96, outputs: 200, pieces: 8 } as const
    const x = probeValues(9 * 96, 4, 3)
    const wanted = product(sharedKernels(1), shape, x)
    for (const threads of [2, 3]) {
      const kernels = createKernels(threads)
      for (let i = 0; i < 20; i++) assert.deepEqual(product(kernels, shape, x), wanted)
      await kernels.dispose()
    }
  })

  it('runs more tasks than the ring holds, phase after phase', () => {
    const kernels = sharedKernels(2)
    const shape = { format: 'f32', inputs: 8, outputs: 16 * 3000, pieces: 3000 } as const
    const x = probeValues(8, 4, 3)
    isClose(product(kernels, shape, x), productInFloat64(shape, x), 1e-5)
  })

  it('gives back what a layer took', () => {
    const kernels = sharedKernels(1)
    const shape = { format: 'int8', inputs: 64, outputs: 64 } as const
    product(kernels, shape, probeValues(64, 1))
    const used = kernels.usedBytes
    product(kernels, shape, probeValues(64, 1))
    assert.equal(kernels.usedBytes, used)
  })
})

describe('attention', () => {
  it('is soft attention over what a row sees, in float64 (one token: its own value)', () => {
    const probe = createAttentionProbe(sharedKernels(1), { numHeads: 2, numKvHeads: 1, headDim: 8 })
    const one = probe.attendTree(0, { tokens: [0], parents: [-1] })
    const two = probe.attendTree(0, { tokens: [0, 0], parents: [-1, 0] })
    assert.deepEqual(one[0], two[0])
    assert.notDeepEqual(one[0], two[1])
    probe.dispose()
  })
})

describe('probeDevice', () => {
  it('finds every kernel exact', () => {
    requireExact(probeDevice(sharedKernels(2), { formats: WEIGHT_FORMATS }))
  })

  it('names the class by the arithmetic: one name for every processor, thread count and format (D2)', () => {
    const one = probeDevice(sharedKernels(1), { formats: ['f32'] })
    const two = probeDevice(sharedKernels(2), { formats: ['int8'], attentions: [] })
    assert.equal(one.deviceClass, two.deviceClass)
  })
})
