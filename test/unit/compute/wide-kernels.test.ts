// Machine code against WebAssembly: the same bits from every kernel, for every vector width that this processor has.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { createAttentionProbe } from '../../../lib/compute/attention-probe.js'
import { createKernels, type Kernels } from '../../../lib/compute/kernels.js'
import { processorFeatures, vectorUnitOf, vectorUnitsOf } from '../../../lib/compute/machine-code/processor.js'
import { vectorUnit } from '../../../lib/compute/machine-code/wide-kernels.js'
import type { ProbedAttention } from '../../../lib/compute/probe-layer.js'
import { probeValues } from '../../../lib/compute/probe-values.js'
import { fitTree } from '../../../lib/speculative/token-tree.js'
import { LAYOUTS, product } from './product.js'

const FORMATS = ['f32', 'f16', 'int8', 'int4', 'int8-auto', 'int4-auto', ...LAYOUTS] as const

const bitsOf = ({ buffer, byteOffset, length }: Float32Array): Uint32Array =>
  new Uint32Array(buffer, byteOffset, length)

describe('vector units', () => {
  const isHere = process.platform === 'linux' && process.arch === 'x64'

  it('are the widest that the processor has', function () {
    if (!isHere) this.skip()
    const avx512 = ['avx512f', 'avx512bw', 'avx512vl', 'avx512dq']
    assert.equal(vectorUnitOf(new Set(['sse2'])), undefined)
    assert.deepEqual(vectorUnitOf(new Set(['avx2', 'f16c'])), { vectorBytes: 32, hasDotProduct: false })
    assert.deepEqual(vectorUnitOf(new Set(['avx2', 'f16c', ...avx512])), { vectorBytes: 64, hasDotProduct: false })
    assert.deepEqual(vectorUnitOf(new Set(['avx2', ...avx512, 'avx512_vnni'])), {
      vectorBytes: 64,
      hasDotProduct: true,
    })
  })

  it('are used by the engine where the processor has them', function () {
    if (!isHere || !processorFeatures().has('avx2')) this.skip()
    assert.deepEqual(vectorUnit(), vectorUnitOf(processorFeatures()))
  })
})

for (const unit of vectorUnitsOf(processorFeatures())) {
  describe(`machine code, ${unit.vectorBytes} bytes${unit.hasDotProduct ? ', dot products' : ''}`, () => {
    let plain: Kernels
    let wide: Kernels
    before(() => {
      plain = createKernels(1, { machineCode: false })
      wide = createKernels(1, { vectors: unit })
    })
    after(() => Promise.all([plain.dispose(), wide.dispose()]))

    it('products have the bits of WebAssembly', () => {
      const shape = fc.record({
        format: fc.constantFrom(...FORMATS),
        inputs: fc.constantFrom(24, 32, 64, 160, 512),
        outputs: fc.integer({ min: 1, max: 70 }),
        rows: fc.integer({ min: 1, max: 40 }),
        hasBias: fc.boolean(),
        pieces: fc.integer({ min: 1, max: 4 }),
        seed: fc.nat(1000),
      } as const)
      fc.assert(
        fc.property(shape, ({ rows, seed, ...layer }) => {
          const x = probeValues(rows * layer.inputs, seed, 4)
          assert.deepEqual(bitsOf(product(wide, layer, x)), bitsOf(product(plain, layer, x)))
        }),
        { numRuns: 300 },
      )
    })

    const attentions: readonly ProbedAttention[] = [
      { numHeads: 2, numKvHeads: 2, headDim: 16 },
      { numHeads: 3, numKvHeads: 1, headDim: 22 },
      { numHeads: 16, numKvHeads: 4, headDim: 64 },
      { numHeads: 9, numKvHeads: 1, headDim: 40, window: 90 },
      { numHeads: 6, numKvHeads: 2, headDim: 24, hasSinks: true },
      { numHeads: 4, numKvHeads: 4, headDim: 16, window: 13, hasSinks: true },
      { numHeads: 19, latentDim: 64, plainDim: 32, rotatedDim: 16, valueDim: 32, queryRank: 96 },
      { numHeads: 3, latentDim: 22, plainDim: 10, rotatedDim: 2, valueDim: 7, hasSinks: true },
      { numHeads: 3, numKvHeads: 1, headDim: 22, kv: 'f16' },
      { numHeads: 16, numKvHeads: 4, headDim: 64, kv: 'f16' },
      { numHeads: 6, numKvHeads: 2, headDim: 24, window: 90, hasSinks: true, kv: 'f16' },
      { numHeads: 19, latentDim: 64, plainDim: 32, rotatedDim: 16, valueDim: 32, kv: 'f16' },
    ]
    for (const attention of attentions) {
      it(`attention ${JSON.stringify(attention)} has the bits of WebAssembly`, () => {
        const probes = [plain, wide].map((kernels) => createAttentionProbe(kernels, attention))
        const drawn = fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 })
        const base = fc.oneof(fc.nat(20), fc.integer({ min: 100, max: 140 }), fc.nat(560))
        fc.assert(
          fc.property(drawn, base, (draws, committed) => {
            const tokens = draws.map((_, i) => i)
            const parents = draws.map((draw, i) => (i === 0 ? -1 : draw % i))
            const tree = fitTree({ tokens, parents }, committed, 590)
            const [wanted = [], got = []] = probes.map((probe) => probe.attendTree(committed, tree).map(bitsOf))
            assert.deepEqual(got, wanted)
          }),
          { numRuns: 12 },
        )
        probes.forEach((probe) => probe.dispose())
      })
    }
  })
}
