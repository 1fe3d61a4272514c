// The marked sections of bench/RESULTS.md: invariants R1 and R2 of bench/report.ts.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { replaceSection, table } from '../../../bench/report.js'

const body = fc.stringMatching(/^[a-z |\n$&]{0,60}$/)

describe('replaceSection', () => {
  it('leaves the other sections as they are (R1)', () => {
    fc.assert(
      fc.property(body, body, body, (first, second, renewed) => {
        const before = replaceSection(replaceSection('# Results\n', 'one', first), 'two', second)
        const after = replaceSection(before, 'one', renewed)
        assert.equal(after.slice(after.indexOf('<!-- section:two')), before.slice(before.indexOf('<!-- section:two')))
        assert.equal(after.slice(0, after.indexOf('<!-- section:one')), '# Results\n\n')
      }),
    )
  })

  it('changes nothing the second time (R2)', () => {
    fc.assert(
      fc.property(body, body, (text, content) => {
        const once = replaceSection(text, 'one', content)
        assert.equal(replaceSection(once, 'one', content), once)
      }),
    )
  })

  it('keeps what was written by hand around it', () => {
    const text = 'above\n<!-- section:x -->old<!-- /section:x -->\nbelow\n'
    assert.equal(replaceSection(text, 'x', 'new'), 'above\n<!-- section:x -->\n\nnew\n\n<!-- /section:x -->\nbelow\n')
  })

  it('refuses half a pair of markers', () =>
    assert.throws(() => replaceSection('<!-- section:x -->', 'x', ''), /want <!-- section:x --> before/))
})

describe('table', () => {
  it('draws a line under its heading', () =>
    assert.equal(table(['a', 'b'], [['1', '2']]), '| a | b |\n| --- | --- |\n| 1 | 2 |'))
})
