// Models in several files: ../../../fixtures/gguf/split is a golden that the gguf package cut.

import assert from 'node:assert/strict'
import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openModel, tensorRefs } from '../../../../lib/model/checkpoint.js'
import { numRows } from '../../../../lib/model/stored-tensor.js'
import { eventually } from '../../../helpers/eventually.js'
import { goldenModel, repositoryRoot } from '../../../helpers/paths.js'

const SPLIT = join(repositoryRoot, 'test', 'fixtures', 'gguf', 'split')
const part = (no: number): string => `model-0000${no}-of-00006.gguf`

describe('a GGUF model in parts', function () {
  this.timeout(20_000)
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-parts-'))
    for (const name of readdirSync(SPLIT).filter((each) => each.endsWith('.gguf'))) cpSync(join(SPLIT, name), at(name))
  })
  afterEach(() => rmSync(folder, { recursive: true }))
  const at = (name: string): string => join(folder, name)

  for (const [title, path] of [
    ['its folder', ''],
    ['its first part', part(1)],
  ] as const) {
    it(`named by ${title} is what the whole file is`, async () => {
      const [whole, parts] = await Promise.all([
        openModel(join(goldenModel('gguf/llama3'), 'model.gguf')),
        openModel(at(path)),
      ])
      assert.equal(parts.path, at(part(1)))
      assert.equal(JSON.stringify(parts.spec), JSON.stringify(whole.spec))
      assert.deepEqual([...parts.tensors.keys()].sort(), [...whole.tensors.keys()].sort())
      for (const [name, tensor] of whole.tensors)
        assert.deepEqual(parts.tensors.get(name)?.readRows(0, numRows(tensor)), tensor.readRows(0, numRows(tensor)))
      for (const ref of tensorRefs(whole.spec)) assert.deepEqual(parts.tensor(ref), whole.tensor(ref))
      whole.close()
      parts.close()
    })
  }

  /** Files that this process holds open; the library that reads headers closes them a little later. */
  const openFiles = (): string[] =>
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)]
      } catch {
        return [] // the listing's own
      }
    })

  function patch(name: string, change: (bytes: Buffer) => void): void {
    const bytes = readFileSync(at(name))
    change(bytes)
    writeFileSync(at(name), bytes)
  }
  const refused: Readonly<Record<string, readonly [change: () => void, error: RegExp, path?: string]>> = {
    'named by another part': [
      () => undefined,
      /-00002-.*split\.no: want 0, .*name model-00001-of-00006\.gguf, got 1/,
      part(2),
    ],
    'without one of its files': [
      () => rmSync(at(part(3))),
      /model-00003-of-00006\.gguf: want a file, got nothing: no such file/,
    ],
    'with one part in place of another': [
      () => copyFileSync(at(part(2)), at(part(3))),
      /-00003-of.*split\.no: want 2, by the name of the file, got 1/,
    ],
    'under another name': [
      () => renameSync(at(part(1)), at('alone.gguf')),
      /alone\.gguf: split\.count: want one file, or a name that ends in -00001-of-00006\.gguf, got 6/,
      'alone.gguf',
    ],
    'with a tensor in two parts': [
      () => patch(part(2), (bytes) => bytes.write('blk.0.attn_q.weight', bytes.indexOf('blk.1.attn_q.weight'))),
      /-0000.-of-00006\.gguf: tensor blk\.0\.attn_q\.weight: want it once, got it in another part too/,
    ],
    'with other tensors than it counts': [
      () =>
        patch(part(1), (bytes) => bytes.writeInt32LE(50, bytes.indexOf('tensors.count') + 'tensors.count'.length + 4)),
      /split\.tensors\.count: want 51, as many as the parts have, got 50/,
    ],
    'beside another': [
      () => copyFileSync(at(part(1)), at('other.gguf')),
      /want one GGUF file, got 7: .*name the one to serve/,
    ],
  }
  for (const [title, [change, error, path = '']] of Object.entries(refused)) {
    it(`${title} is refused, and nothing left open`, async () => {
      change()
      await assert.rejects(openModel(at(path)), { name: 'ClusterError', message: error })
      await eventually(() => !openFiles().some((path) => path.startsWith(folder)), 'a file is left open')
    })
  }
})
