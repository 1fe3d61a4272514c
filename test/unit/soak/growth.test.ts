import assert from 'node:assert/strict'
import { growthOf, relativeSlope, type Sample } from '../../soak/growth.js'

describe('growth of what a process holds', () => {
  const samples = (count: number, at: (i: number) => Partial<Sample>): Sample[] =>
    Array.from({ length: count }, (_, i) => ({ atMs: i * 60_000, rssBytes: 100, openFiles: 20, ...at(i) }))

  it('is nothing where nothing changes', () => {
    const { slopePerHour, thirds, moreFiles } = growthOf(samples(30, () => ({})))
    assert.deepEqual([slopePerHour, thirds, moreFiles], [0, 1, 0])
  })

  it('leaves the warm-up out', () => {
    assert.equal(growthOf(samples(30, (i) => ({ rssBytes: i < 10 ? i : 100 }))).slopePerHour, 0)
  })

  it('is a share of the mean an hour', () => {
    const line = [0, 0.5, 1].map((hour): [number, number] => [hour, 95 + 10 * hour])
    assert.ok(Math.abs(relativeSlope(line) - 0.1) < 1e-12)
  })

  it('shows in the last third', () => {
    const { thirds, moreFiles } = growthOf(samples(30, (i) => (i < 20 ? {} : { rssBytes: 110, openFiles: 29 })))
    assert.deepEqual([thirds, moreFiles], [1.1, 9])
  })
})
