// The names of `banyan inspect --json`: a contract (docs/reference.md), the same for every kind of checkpoint.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openModel, readDeclaredModel } from '../../../lib/model/checkpoint.js'
import { ggufOf } from '../../../lib/model/gguf/export.js'
import { writeGguf } from '../../../lib/model/gguf/writer.js'
import { inspectCheckpoint, inspectDeclared } from '../../../lib/model/inspect.js'
import { WEIGHT_FORMATS } from '../../../lib/model/weight-formats.js'
import { goldenModel, repositoryRoot } from '../../helpers/paths.js'

const NAMES = [
  ...['activeParameters', 'dtypes', 'experts', 'expertsPerToken', 'family', 'fingerprint', 'hasChatTemplate'],
  ...['hasTokenizer', 'hasWeights', 'headDim', 'heads', 'hidden', 'kvBytesPerToken', 'kvHeads', 'layers'],
  ...['maxPositions', 'missing', 'parameters', 'shards', 'unexpected', 'vocabSize', 'weightBytes'],
]

describe('what inspect tells', () => {
  let folder: string
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-inspect-'))
    const checkpoint = await openModel(goldenModel('qwen3-moe'))
    await writeGguf(join(folder, 'model.gguf'), ggufOf(checkpoint, 'int8'))
    checkpoint.close()
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  const CASES: readonly (readonly [string, string, readonly string[]])[] = [
    ['llama-dense', 'llama', ['F32']],
    ['qwen3-moe', 'qwen3_moe', ['F32']],
    ['gpt-oss-mxfp4', 'gpt_oss', ['MXFP4']],
    ['deepseek-v3-fp8', 'deepseek_v3', ['F8_E4M3']],
    ['model.gguf', 'qwen3_moe', ['Q8_0', 'F32']],
  ]
  for (const [name, family, dtypes] of CASES) {
    it(`has the same names for ${name}`, async () => {
      const path = name.endsWith('.gguf') ? join(folder, name) : goldenModel(name)
      const checkpoint = await openModel(path)
      const report = inspectCheckpoint(checkpoint)
      checkpoint.close()
      assert.deepEqual(Object.keys(report).sort(), NAMES)
      assert.equal(report.family, family)
      assert.deepEqual(Object.keys(report.weightBytes).sort(), [...WEIGHT_FORMATS].sort())
      for (const dtype of dtypes)
        assert.ok((report.dtypes[dtype] ?? 0) > 0, `${dtype} in ${JSON.stringify(report.dtypes)}`)
      assert.deepEqual([report.missing, report.unexpected], [[], []])
      const declared = inspectDeclared(await readDeclaredModel(path))
      assert.deepEqual(Object.keys(declared).sort(), NAMES)
    })
  }

  it('is written down, name by name', () => {
    const reference = readFileSync(join(repositoryRoot, 'docs', 'reference.md'), 'utf8')
    const [, list = ''] = reference.split('`inspect --json` has the same names')
    for (const name of NAMES) assert.ok(list.includes(`\`${name}\``), name)
  })
})
