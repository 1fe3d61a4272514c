// Median, spread and what a timeline becomes: bench/statistics.ts, bench/peers/contender.ts.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeRate, prefillRate, wallRate } from '../../../bench/peers/contender.js'
import { inTurn } from '../../../bench/in-turn.js'
import { formatNumber, median, percentile, ratios, summarise } from '../../../bench/statistics.js'

const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 30 })

describe('bench statistics', () => {
  it('has as many values below the median as above it', () => {
    fc.assert(
      fc.property(values, (list) => {
        const middle = median(list)
        const below = list.filter((value) => value < middle).length
        const above = list.filter((value) => value > middle).length
        assert.ok(below <= list.length / 2 && above <= list.length / 2)
      }),
    )
  })

  it('takes the mean of the two in the middle of an even count', () => assert.equal(median([4, 1, 3, 2]), 2.5))

  it('leaves its input as it was', () => {
    const list = [3, 1, 2]
    median(list)
    assert.deepEqual(list, [3, 1, 2])
  })

  it('takes a percentile from the values themselves', () => {
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, share) => {
        const value = percentile(list, share)
        assert.ok(list.includes(value))
        assert.ok(list.filter((other) => other <= value).length >= share * list.length)
      }),
    )
  })

  it('sums up with the smallest and the greatest value', () =>
    assert.deepEqual(summarise([5, 1, 3]), { median: 3, min: 1, max: 5 }))

  it('pairs the rounds for its ratios', () => assert.deepEqual(ratios([6, 8], [3, 2]), [2, 4]))

  it('writes three digits of small and of large numbers', () =>
    assert.deepEqual([1234.5, 123.4, 12.34, 1.234, 0.01234, 0, NaN].map(formatNumber), [
      '1235', // not rounded to three digits: only the fraction goes
      '123',
      '12.3',
      '1.23',
      '0.0123',
      '0.00',
      '–',
    ]))
})

describe('rates of a timeline', () => {
  const timeline = (timesMs: number[][]) => ({ tokens: timesMs.map((times) => times.map(() => 1)), timesMs })

  it('counts prompt tokens up to the first token', () => assert.equal(prefillRate(500, timeline([[250]])), 2000))

  it('counts decoded tokens while all streams decode', () => {
    const early = [10, 20, 30, 40]
    const late = [20, 30, 40, 50]
    assert.equal(decodeRate(timeline([early, late])), (4 / 20) * 1000) // two of each in 20 … 40
  })

  it('does not count the first token', () => assert.equal(decodeRate(timeline([[100, 110, 120]])), (2 / 20) * 1000))

  it('counts all tokens until the last one where the streams wait for one another', () =>
    assert.equal(
      wallRate(
        timeline([
          [10, 20],
          [30, 40],
        ]),
      ),
      (4 / 40) * 1000,
    ))

  it('is no number where the streams were never together', () =>
    assert.ok(
      Number.isNaN(
        decodeRate(
          timeline([
            [1, 2],
            [3, 4],
          ]),
        ),
      ),
    ))
})

describe('inTurn', () => {
  it('lets another side begin in every other round', () =>
    assert.deepEqual(
      [0, 1, 2].map((round) => inTurn(round, ['on', 'off'])),
      [
        ['on', 'off'],
        ['off', 'on'],
        ['on', 'off'],
      ],
    ))

  it('gives every side of three every place equally often', () => {
    const orders = [0, 1, 2].map((round) => inTurn(round, ['a', 'b', 'c']))
    for (const place of [0, 1, 2])
      assert.deepEqual(orders.map((order) => order[place]).sort(), ['a', 'b', 'c'], `place ${place}`)
  })

  it('has every side in rounds of a warm-up too', () => {
    for (const round of [-4, -3, -2, -1]) assert.deepEqual([...inTurn(round, ['a', 'b', 'c'])].sort(), ['a', 'b', 'c'])
  })
})
