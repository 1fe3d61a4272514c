// Colours, numbers and lines of the console page.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { heatColour, originClass, originWords } from '../../../console/state/colours.js'
import { formatCount, formatMs, formatRanges, visibleToken } from '../../../console/state/format.js'
import { keyProblem } from '../../../console/state/key.js'
import { backOffMs, createLineSplitter } from '../../../console/state/lines.js'

/** Relative luminance, as WCAG has it. */
function luminance(colour: readonly number[]): number {
  const [red = 0, green = 0, blue = 0] = colour.map((value) =>
    value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4,
  )
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

describe('the console’s heat scale', () => {
  for (const theme of ['dark', 'light'] as const) {
    it(`goes one way in brightness (${theme})`, () => {
      const steps = Array.from({ length: 101 }, (_, i) => luminance(heatColour(i / 100, theme)))
      const signs = steps.slice(1).map((value, i) => Math.sign(value - (steps[i] ?? 0)))
      assert.ok(signs.every((sign) => sign === (theme === 'dark' ? 1 : -1) || sign === 0))
      assert.ok(Math.abs((steps.at(-1) ?? 0) - (steps[0] ?? 0)) > 0.5)
    })
  }

  it('takes anything for a share', () => {
    assert.deepEqual(heatColour(NaN, 'dark'), heatColour(0, 'dark'))
    assert.deepEqual(heatColour(7, 'dark'), heatColour(1, 'dark'))
  })
})

describe('the console’s words', () => {
  it('name where a token came from', () => {
    assert.deepEqual(['', 'plain', 'bonus', 'eagle+ngram', 'oracle'].map(originClass), [
      'unknown',
      'plain',
      'bonus',
      'eagle',
      'other',
    ])
    assert.equal(originWords('eagle+ngram'), 'accepted draft of eagle, ngram')
  })

  it('keep numbers short', () => {
    assert.deepEqual([0, 7, 12.345, 999, 1_234, 5_600_000].map(formatCount), [
      '0',
      '7',
      '12.3',
      '999',
      '1.23k',
      '5.60M',
    ])
    assert.deepEqual([null, 0.5, 250, 12_500].map(formatMs), ['–', '0.50 ms', '250 ms', '12.5 s'])
    assert.equal(formatRanges([5, 0, 1, 2]), '0–2, 5')
  })

  it('make blanks visible and cut long tokens', () => {
    assert.equal(visibleToken(' a\n\tb', 10), '·a⏎⇥b')
    assert.equal(visibleToken('abcdef', 4), 'abc…')
  })
})

describe('the console’s lines', () => {
  it('are the same however they were cut', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '\n') })), (pieces) => {
        const splitter = createLineSplitter(1_000)
        const lines = pieces.flatMap((piece) => splitter.push(piece))
        const whole = pieces.join('').split('\n')
        assert.deepEqual(
          lines,
          whole.slice(0, -1).filter((line) => line !== ''),
        )
      }),
    )
  })

  it('have a bound', () => {
    const splitter = createLineSplitter(8)
    assert.throws(() => splitter.push('123456789'), /more than 8/)
  })

  it('are asked for again ever more slowly, at most every five seconds or so', () => {
    assert.equal(backOffMs(0, 0.5), 250)
    assert.equal(backOffMs(1, 0.5), 500)
    assert.equal(backOffMs(1_000, 0.5), 5_000)
    assert.ok(backOffMs(1_000, 1) <= 6_250)
  })
})

describe('an API key', () => {
  it('is what a header can hold, or it is said why not', () => {
    for (const key of ['sk-1_.~', 'schlüssel']) {
      assert.equal(keyProblem(key), '')
      assert.ok(new Headers({ authorization: `Bearer ${key}` }))
    }
    for (const key of ['', 'a b', 'ключ', '“sk”', 'a\n']) assert.match(keyProblem(key), /Latin-1/, key)
  })
})
