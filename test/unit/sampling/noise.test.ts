import assert from 'node:assert/strict'
import fc from 'fast-check'
import { gumbelOf, MAX_GUMBEL, noiseKey, philox } from '../../../lib/sampling/noise.js'

const EULER_GAMMA = 0.5772156649015329
const MAX_SEED = 2n ** 64n - 1n

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const correlation = (a: readonly number[], b: readonly number[]): number => {
  const [meanA, meanB] = [mean(a), mean(b)]
  const covariance = mean(a.map((value, i) => (value - meanA) * (b[i]! - meanB)))
  const spread = (values: readonly number[], centre: number): number =>
    Math.sqrt(mean(values.map((value) => (value - centre) ** 2)))
  return covariance / (spread(a, meanA) * spread(b, meanB))
}

describe('philox', () => {
  // The three known answers that Random123, the reference implementation, publishes for philox4x32-10.
  const KNOWN = [
    { counter: [0, 0, 0, 0], key: [0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
    {
      counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      key: [0xffffffff, 0xffffffff],
      words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    },
    {
      counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      key: [0xa4093822, 0x299f31d0],
      words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    },
  ] as const

  for (const { counter, key, words } of KNOWN) {
    it(`gives the published words for counter ${counter[0].toString(16)}…`, () => {
      const block = Int32Array.from(counter)
      philox(block, key[0], key[1])
      assert.deepEqual([...new Uint32Array(block.buffer)], [...words])
    })
  }
})

describe('noiseKey', () => {
  // Made by a separate Philox in Python with big integers: counter (token >> 1, position, choice, 0x62616e79), key
  // (seed mod 2^32, seed >> 32); words 0, 1 for an even token, 2, 3 for an odd one; n = (high << 20) | (low >> 12),
  // u = (n + 0.5) / 2^52.
  const KNOWN = [
    { seed: 0n, choice: 0, position: 0, token: 0, uniform: 0.7018310063384553, gumbel: 1.0382814446397926 },
    { seed: 0n, choice: 0, position: 0, token: 1, uniform: 0.1142313613165854, gumbel: -0.7745102785854868 },
    { seed: 7n, choice: 0, position: 12, token: 345, uniform: 0.36514513760185585, gumbel: -0.007432676269449036 },
    {
      seed: MAX_SEED,
      choice: 3,
      position: 131071,
      token: 151935,
      uniform: 0.8699917338807929,
      gumbel: 1.9713295204989136,
    },
    {
      seed: 0x0123456789abcdefn,
      choice: 1,
      position: 1,
      token: 2,
      uniform: 0.5362026978534423,
      gumbel: 0.4728187531727608,
    },
  ]

  for (const { seed, choice, position, token, uniform, gumbel } of KNOWN) {
    it(`gives the known noise of seed ${seed}, choice ${choice}, position ${position}, token ${token}`, () => {
      const noise = noiseKey(seed, choice)
      assert.equal(noise.uniform(position, token), uniform)
      const error = Math.abs(noise.gumbel(position, token) - gumbel)
      assert.ok(error <= 2 ** -52, `off by ${error}`) // the two languages' logarithms differ in the last bit
    })
  }

  it('does not depend on the order or the number of draws', () => {
    const key = fc.tuple(fc.nat(200_000), fc.nat(200_000))
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: MAX_SEED }),
        fc.nat(7),
        fc.array(key, { minLength: 1 }),
        (seed, choice, keys) => {
          const shared = noiseKey(seed, choice)
          const inOrder = keys.map(([position, token]) => shared.gumbel(position, token))
          const backwards = keys.toReversed().map(([position, token]) => shared.gumbel(position, token))
          const alone = keys.map(([position, token]) => noiseKey(seed, choice).gumbel(position, token))
          assert.deepEqual(inOrder, alone)
          assert.deepEqual(backwards.toReversed(), alone)
        },
      ),
    )
  })

  it('stays finite and below MAX_GUMBEL at both ends of the unit interval', () => {
    const most = gumbelOf(1 - 2 ** -53)
    assert.ok(most > 36.7 && most < MAX_GUMBEL, `largest noise ${most}`)
    assert.ok(gumbelOf(2 ** -53) > -3.7)
  })

  it('has the mean and the variance of the standard Gumbel distribution', () => {
    const noise = noiseKey(42n, 0)
    const values = Array.from({ length: 100_000 }, (_, i) => noise.gumbel(i >> 8, i & 255))
    const average = mean(values)
    const variance = mean(values.map((value) => (value - average) ** 2))
    assert.ok(Math.abs(average - EULER_GAMMA) < 0.02, `mean ${average}`)
    assert.ok(Math.abs(variance - Math.PI ** 2 / 6) < 0.05, `variance ${variance}`)
  })

  it('is uncorrelated between neighbouring tokens, positions, choices and seeds', () => {
    const uniforms = (seed: bigint, choice: number, shift: readonly [number, number]): number[] => {
      const noise = noiseKey(seed, choice)
      return Array.from({ length: 20_000 }, (_, i) => noise.uniform((i >> 7) + shift[0], (i & 127) + shift[1]))
    }
    const reference = uniforms(5n, 0, [0, 0])
    const neighbours = {
      token: uniforms(5n, 0, [0, 1]),
      position: uniforms(5n, 0, [1, 0]),
      choice: uniforms(5n, 1, [0, 0]),
      seed: uniforms(6n, 0, [0, 0]),
      'high seed bits': uniforms(5n + 2n ** 32n, 0, [0, 0]),
    }
    const strong = Object.entries(neighbours).filter(([, values]) => Math.abs(correlation(reference, values)) > 0.03)
    assert.deepEqual(strong, []) // 0.03 is over four standard errors at 20,000 pairs
  })
})
