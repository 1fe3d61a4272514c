import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { recordJsonSchema } from '../../../lib/traffic/json-schema.js'
import { hashBlocks, hashTokens, limitContent } from '../../../lib/traffic/request-record.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { plainRecord } from '../../helpers/request-record.js'

describe('request record', () => {
  it('has the documented JSON Schema (npm run docs:schema writes it)', () => {
    const file = join(repositoryRoot, 'docs/schemas/request-record.v1.schema.json')
    assert.equal(readFileSync(file, 'utf8'), recordJsonSchema())
  })

  it('has hashes of prefixes: equal up to the block in which prompts differ, and different after it', () => {
    const one = Array.from({ length: 1_500 }, (_, i) => i)
    const other = one.map((token, i) => (i === 600 ? 7 : token))
    const [a, b] = [hashBlocks(one), hashBlocks(other)]
    assert.deepEqual([a.length, a[0] === b[0], a[1] === b[1], a[2] === b[2]], [3, true, false, false])
    assert.equal(a[2], hashTokens(one))
  })

  it('never gains content by being limited', () => {
    const record = plainRecord()
    assert.equal(limitContent(record, 'text'), record)
    assert.equal(limitContent({ ...record, content: 'ids' }, 'text').content, 'ids')
  })
})
