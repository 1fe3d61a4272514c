// The parts of the ablations that need no cluster: the list of means, what becomes of their values, gaps in streams.

import assert from 'node:assert/strict'
import { largestGap } from '../../../bench/ablations/arrival.js'
import { toRows } from '../../../bench/ablations/measure.js'
import { chooseMeans, MEANS } from '../../../bench/ablations/means.js'
import { ablationSection } from '../../../bench/ablations/section.js'
import { kebab, SETTING_NAMES, SETTINGS } from '../../../lib/config/settings.js'

describe('means', () => {
  it('have a name of their own, sides that differ, and something to be judged by', () => {
    assert.equal(new Set(MEANS.map(({ name }) => name)).size, MEANS.length)
    for (const { name, on, off, workloads } of MEANS) {
      assert.notDeepEqual(on, off, name)
      assert.ok(workloads.length > 0, name)
    }
  })

  it('use flags that a cluster has, each with a value', () => {
    const known = SETTING_NAMES.filter((name) => SETTINGS[name].value !== undefined).map((name) => `--${kebab(name)}`)
    for (const { name, on, off } of MEANS) {
      for (const flags of [on, off]) {
        const words = flags.filter((word) => word.startsWith('--'))
        assert.deepEqual(
          words.filter((word) => !known.includes(word)),
          [],
          name,
        )
        assert.equal(flags.length, 2 * words.length, name)
      }
    }
  })

  it('are chosen by name, in the order of the list', () =>
    assert.deepEqual(
      chooseMeans(['drafts', 'machine-code']).map(({ name }) => name),
      ['machine-code', 'drafts'],
    ))

  it('say which names there are where one is unknown', () =>
    assert.throws(() => chooseMeans(['drafts', 'magic']), /--only: want some of machine-code.*, found magic/))
})

describe('toRows', () => {
  const measures = [
    { name: 'gap', better: 'less' },
    { name: 'wait', better: 'less' },
  ] as const

  it('gives each measure its values and the ratio of each round', () => {
    const rows = toRows(
      { measures },
      [
        [10, 300],
        [20, 300],
      ],
      [
        [20, 100],
        [80, 200],
      ],
    )
    assert.deepEqual(rows, [
      { name: 'gap', better: 'less', on: [10, 20], off: [20, 80], ratios: [0.5, 0.25] },
      { name: 'wait', better: 'less', on: [300, 300], off: [100, 200], ratios: [3, 1.5] },
    ])
  })
})

describe('ablationSection', () => {
  it('has a line per row with median and spread of on, off and their ratio', () => {
    const measured = { name: 'speed', better: 'more' } as const
    const row = { model: 'demo', means: 'm', ...measured, on: [2, 4], off: [1, 1], ratios: [2, 4] }
    const text = ablationSection(
      {
        means: [{ name: 'm', what: 'a trick', on: [], off: ['--x', '1'] }],
        rows: [row],
        rounds: 2,
        numTokens: 8,
        threads: 2,
      },
      'A machine.',
    )
    assert.match(
      text,
      /\| demo \| m \| speed \| 3\.00 \(2\.00 – 4\.00\) \| 1\.00 .* \| 3\.00 \(2\.00 – 4\.00\) \| more \|/,
    )
    assert.match(text, /- m: a trick \(default against `--x 1`\)\./)
  })
})

describe('largestGap', () => {
  const lists = [
    [0, 10, 40, 50, 200],
    [5, 30, 55, 60],
  ]

  it('is the longest time between two chunks of one stream', () => assert.equal(largestGap(lists, 0, 50), 30))

  it('counts a gap that begins before the span or ends after it', () => {
    assert.equal(largestGap(lists, 35, 45), 30)
    assert.equal(largestGap(lists, 60, 70), 150)
  })

  it('does not count what lies outside', () => assert.equal(largestGap(lists, 42, 48), 25))

  it('is 0 without chunks', () => assert.equal(largestGap([[], [7]], 0, 10), 0))
})
