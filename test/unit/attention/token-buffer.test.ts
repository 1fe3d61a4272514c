import assert from 'node:assert/strict'
import { createTokenBuffer } from '../../../services/attention/token-buffer.js'

describe('createTokenBuffer', () => {
  it('keeps its tokens while paths are written behind them and it grows', () => {
    const tokens = createTokenBuffer(Int32Array.of(7))
    const wanted = [7]
    for (let token = 0; token < 40; token++) {
      tokens.withRoom(token % 5).fill(-1, tokens.length)
      tokens.push(token)
      wanted.push(token)
      assert.deepEqual([...tokens.withRoom(0)], wanted)
    }
    assert.equal(tokens.length, 41)
  })

  it('does not write to the tokens that it was made of', () => {
    const first = Int32Array.of(1, 2)
    createTokenBuffer(first).withRoom(0)[0] = 9
    assert.deepEqual([...first], [1, 2])
  })
})
