// The requests of the soak: test/soak/requests.ts.

import assert from 'node:assert/strict'
import { createRandom } from '../../helpers/random.js'
import { baseRequest, FEATURES, finalRequest } from '../../soak/requests.js'

describe('requests of the soak', () => {
  const draw = (seed: number) => ({ random: createRandom(seed), vocabSize: 4096, maxPositions: 2048 })
  const features = Object.keys(FEATURES)
  const base = { tokenIds: [5, 6, 7, 8], text: 'one two three' }

  it('are the same for the same seed', () => assert.deepEqual(baseRequest(3, draw(1)), baseRequest(3, draw(1))))

  it('meet every temperature with every feature', () => {
    const drawn = draw(1)
    const pairs = Array.from({ length: 4 * features.length }, (_, i) => {
      const { feature, request } = finalRequest(i, baseRequest(i, drawn), base, drawn)
      return `${feature} ${request.sampling?.temperature}`
    })
    assert.equal(new Set(pairs).size, 4 * features.length)
  })

  it('near the limit run to the end of the context', () => {
    const drawn = draw(1)
    const { request } = finalRequest(features.indexOf('near the limit'), baseRequest(0, drawn), base, drawn)
    const { text, tokens = [], sampling } = request
    assert.ok(tokens.length > 1980)
    assert.deepEqual([text, tokens.length + (sampling?.maxTokens ?? 0)], [undefined, 2048])
  })
})
