// docs/metrics.md says of every series what the code says.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../../helpers/paths.js'
import { metricTables } from '../../observability/metric-tables.js'

describe('docs/metrics.md', () => {
  const page = readFileSync(join(repositoryRoot, 'docs/metrics.md'), 'utf8')
  for (const { title, table } of metricTables()) {
    it(`has the series of: ${title}`, () => {
      const [, section = ''] = page.split(`## ${title}\n`)
      const found = section.split('\n').filter((line) => line.startsWith('|'))
      assert.deepEqual(found.slice(0, table.split('\n').length), table.split('\n'))
    })
  }
  it('has a line for each and no other', () => {
    const wanted = metricTables().flatMap(({ table }) => table.split('\n').filter((line) => line.startsWith('| `')))
    const found = page.split('\n').filter((line) => /^\| `[a-z]+(:|_)/.test(line))
    assert.deepEqual(found.sort(), wanted.sort())
  })
})
