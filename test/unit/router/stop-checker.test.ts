import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import { createStopChecker } from '../../../services/router/stop-checker.js'

/** Everything that comes out of a text that is pushed in pieces. */
function run(stops: readonly string[], pieces: readonly string[], includeStop = false) {
  const checker = createStopChecker(stops, includeStop)
  let text = ''
  for (const piece of pieces) {
    const result = checker.push(piece)
    text += result.text
    if (result.stop !== undefined) return { text, stop: result.stop }
  }
  return { text: text + checker.flush(), stop: undefined }
}

/** The definition: the shortest prefix that ends with a stop string, and the longest such stop string. */
function search(stops: readonly string[], text: string, includeStop: boolean) {
  for (let end = 1; end <= text.length; end++) {
    const prefix = text.slice(0, end)
    const found = stops.filter((stop) => prefix.endsWith(stop)).sort((a, b) => b.length - a.length)[0]
    if (found !== undefined) return { text: includeStop ? prefix : prefix.slice(0, end - found.length), stop: found }
  }
  return { text, stop: undefined }
}

describe('createStopChecker', () => {
  const short = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '😀'), minLength: 1, maxLength: 5 })
  const pieces = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c', '😀'), maxLength: 4 }), { maxLength: 20 })

  it('finds what a search over the whole text finds, however it is cut', () => {
    fc.assert(
      fc.property(fc.array(short, { maxLength: 4 }), pieces, fc.boolean(), (stops, cut, includeStop) => {
        assert.deepEqual(run(stops, cut, includeStop), search(stops, cut.join(''), includeStop))
      }),
      { numRuns: 1000 },
    )
  })

  it('holds back nothing but the longest possible beginning of a stop string', () => {
    fc.assert(
      fc.property(fc.array(short, { minLength: 1, maxLength: 4 }), pieces, (stops, cut) => {
        const checker = createStopChecker(stops, false)
        let pushed = ''
        let emitted = ''
        for (const piece of cut) {
          const { text, stop } = checker.push(piece)
          if (stop !== undefined) return
          pushed += piece
          emitted += text
          const beginnings = stops.flatMap((whole) =>
            Array.from({ length: whole.length - 1 }, (_, i) => whole.slice(0, i + 1)),
          )
          const longest = Math.max(0, ...beginnings.filter((part) => pushed.endsWith(part)).map((part) => part.length))
          assert.equal(pushed.length - emitted.length, longest)
        }
      }),
    )
  })

  it('ends at the stop string that is completed first', () => {
    assert.deepEqual(run(['abc', 'b'], ['xabc']), { text: 'xa', stop: 'b' })
  })

  it('prefers the longer of two that end together', () => {
    assert.deepEqual(run(['b', 'ab'], ['xab']), { text: 'x', stop: 'ab' })
  })

  it('keeps the stop string where asked to, and drops what follows', () => {
    assert.deepEqual(run(['\n\n'], ['one\n', '\ntwo'], true), { text: 'one\n\n', stop: '\n\n' })
  })

  it('passes text through at once where there are no stop strings', () => {
    assert.deepEqual(createStopChecker([], false).push('text'), { text: 'text', stop: undefined })
  })

  it('gives nothing more after a stop', () => {
    const checker = createStopChecker(['.'], false)
    checker.push('one.two')
    assert.deepEqual([checker.push('three'), checker.flush()], [{ text: '', stop: undefined }, ''])
  })

  it('refuses an empty stop string', () => {
    assert.throws(
      () => createStopChecker(['a', ''], false),
      (error) => error instanceof ClusterError && error.code === 'invalid_argument',
    )
  })
})
