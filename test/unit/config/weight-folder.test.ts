import assert from 'node:assert/strict'
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { forgetUnused } from '../../../lib/config/weight-folder.js'
import { openModel } from '../../../lib/model/checkpoint.js'
import { weightFolder } from '../../../lib/model/fingerprint.js'
import { goldenModel } from '../../helpers/paths.js'

const DAY_MS = 24 * 3600 * 1000

describe('the folder of packed weights', () => {
  let cache: string
  beforeEach(() => (cache = mkdtempSync(join(tmpdir(), 'banyan-test-'))))
  afterEach(() => rmSync(cache, { recursive: true }))

  it('goes a month after it was last opened, and takes nothing else with it', () => {
    const now = 1_800_000_000_000
    const ages = { '0123456789abcdef-int8': 29, '0123456789abcdef-int4': 31, 'my-models': 400 }
    const own = join(cache, 'fedcba9876543210-0123456789abcdef-int8-auto')
    for (const [name, days] of [...Object.entries(ages), [own, 400] as const]) {
      const path = name === own ? own : join(cache, name)
      mkdirSync(path)
      utimesSync(path, (now - days * DAY_MS) / 1000, (now - days * DAY_MS) / 1000)
    }
    forgetUnused(own, now, assert.fail)
    assert.deepEqual(readdirSync(cache).sort(), [
      '0123456789abcdef-int8',
      'fedcba9876543210-0123456789abcdef-int8-auto',
      'my-models',
    ])
    assert.equal(statSync(own).mtimeMs, now)
    forgetUnused(join(cache, 'nowhere', 'yet'), now, assert.fail)
  })

  it('is another one where a file that is only sampled was written since', async () => {
    const folder = join(cache, 'model')
    cpSync(goldenModel('mixtral'), folder, { recursive: true })
    const file = openSync(join(folder, 'model.safetensors'), 'r+')
    const keyOf = async (): Promise<string | undefined> => {
      const checkpoint = await openModel(folder)
      checkpoint.close()
      return weightFolder({ weightCache: '/cache', weights: 'int8' }, checkpoint)
    }
    assert.match((await keyOf()) ?? '', /^\/cache\/[0-9a-f]{16}-int8$/) // small: hashed whole
    const end = 2 ** 26 + 1000
    writeSync(file, Buffer.from([0]), 0, 1, end)
    const before = await keyOf()
    assert.match(before ?? '', /^\/cache\/[0-9a-f]{16}-[0-9a-f]{16}-int8$/)
    assert.equal(await keyOf(), before)
    writeSync(file, Buffer.from([1]), 0, 1, end - 10_000) // between two samples
    assert.notEqual(await keyOf(), before)
    closeSync(file)
  })
})
