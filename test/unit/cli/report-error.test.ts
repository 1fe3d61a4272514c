import assert from 'node:assert/strict'
import { parseReal, parseTokens, parseUint64, parseWhole } from '../../../cli/parse.js'
import { reportError, usageError } from '../../../cli/report-error.js'
import { ClusterError } from '../../../lib/errors.js'

const report = (error: unknown, isDebug = false): { code: number; text: string } => {
  let text = ''
  const code = reportError(error, { write: (piece) => (text += piece), isDebug })
  return { code, text }
}

describe('reportError', () => {
  it('says code and message in one line, without a stack', () => {
    const { code, text } = report(new ClusterError('not_found', 'model:\n nowhere is no folder'))
    assert.deepEqual([code, text], [1, 'banyan: not_found: model: nowhere is no folder\n'])
  })

  it('adds the hint that came with the error', () => {
    const { text } = report(new ClusterError('failed_precondition', 'no server', { details: { hint: 'install one' } }))
    assert.equal(text, 'banyan: failed_precondition: no server\n  install one\n')
  })

  it('shows where it comes from when debugging', () => {
    assert.match(report(new Error('boom'), true).text, /at .*report-error/)
  })

  it('exits with 2 for a wrong command line, 130 when interrupted, else 1', () => {
    const errors = [usageError('x'), new ClusterError('cancelled', 'x'), new Error('x')]
    assert.deepEqual(
      errors.map((error) => report(error).code),
      [2, 130, 1],
    )
  })
})

describe('parse', () => {
  it('reads numbers as they are written, and seeds to the last bit', () => {
    assert.deepEqual(parseTokens('1, 2,30'), [1, 2, 30])
    assert.equal(parseWhole('--n')('12'), 12)
    assert.equal(parseReal('--temperature')('0.25'), 0.25)
    assert.equal(parseUint64('--seed')('18446744073709551615'), 2n ** 64n - 1n)
  })

  it('refuses anything else with the flag and what was found', () => {
    const bad: readonly (readonly [() => unknown, RegExp])[] = [
      [() => parseTokens('1,,2'), /--tokens: want ids.*"1,,2"/],
      [() => parseWhole('--n')('-1'), /--n: want a whole number, found "-1"/],
      [() => parseReal('--top-p')(''), /--top-p: want a number, found ""/],
      [() => parseUint64('--seed')('18446744073709551616'), /--seed: want a whole number from 0 to 2\^64/],
    ]
    for (const [run, message] of bad) assert.throws(run, message)
  })
})
