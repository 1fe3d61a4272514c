// Which lists of files are taken, and where they may lead.

import assert from 'node:assert/strict'
import { digestOf, parseSums } from '../../../cli/fetch/sums.js'
import { ClusterError } from '../../../lib/errors.js'

const HASH = 'a'.repeat(64)

describe('the list of a model’s files', () => {
  it('is what sha256sum writes, text or binary', () => {
    const sums = parseSums(`${HASH}  ./config.json\n${HASH.toUpperCase()} *sub/model a.safetensors\r\n\n`, 'SUMS')
    assert.deepEqual(sums, [
      { path: 'config.json', sha256: HASH },
      { path: 'sub/model a.safetensors', sha256: HASH },
    ])
  })

  it('has one name, however it is ordered', () => {
    const [a, b] = [`${HASH}  a\n`, `${HASH}  b\n`]
    assert.equal(digestOf(parseSums(a + b, 'SUMS')), digestOf(parseSums(b + a, 'SUMS')))
    assert.notEqual(digestOf(parseSums(a, 'SUMS')), digestOf(parseSums(b, 'SUMS')))
  })

  const refused: readonly [string, string, RegExp][] = [
    ['nothing', '', /SUMS: want 1 to 100000 files, found 0/],
    ['something else', 'config.json\n', /SUMS, line 1: want a SHA-256 and a path .* found "config.json"/],
    ['another hash', `${'a'.repeat(40)}  config.json\n`, /line 1: want a SHA-256/],
    ['escaped names', `\\${HASH}  a\\nb\n`, /line 1: want a SHA-256/],
    ['a path twice', `${HASH}  a\n${HASH}  ./a\n`, /line 2: want each path once/],
    ['the downloads’ own names', `${HASH}  a.part\n`, /kept for the download itself/],
    ['the marker', `${HASH}  .banyan-fetched.json\n`, /kept for the download itself/],
    ...['../a', 'a/../../b', '/etc/passwd', 'a//b', './', '..', 'a/./b', 'a\\b', 'a/', 'a\0b'].map(
      (path): [string, string, RegExp] => [
        `the path ${JSON.stringify(path)}`,
        `${HASH}  ${path}\n`,
        /want a (path inside|SHA-256)/,
      ],
    ),
  ]
  for (const [what, text, message] of refused) {
    it(`refuses ${what}`, () =>
      assert.throws(
        () => parseSums(text, 'SUMS'),
        (error) => error instanceof ClusterError && error.code === 'invalid_argument' && message.test(error.message),
      ))
  }
})
