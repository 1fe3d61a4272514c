import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLineFile } from '../../../lib/tracing/line-file.js'

/** For a disk that fails, which no test has at hand. */
async function fileHandleClass(path: string): Promise<{ prototype: FileHandle }> {
  const handle = await open(path, 'w')
  await handle.close()
  rmSync(path)
  return { prototype: Object.getPrototypeOf(handle) as FileHandle }
}

describe('createLineFile', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-lines-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const contents = (): Record<string, string> =>
    Object.fromEntries(readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')]))

  it('writes lines in order to a file that only its owner can read', async () => {
    const file = createLineFile({ folder: join(folder, 'deep'), name: 'a' })
    for (let i = 0; i < 100; i++) file.add(String(i))
    await file.flush()
    file.add('last')
    await file.close()
    const path = join(folder, 'deep', 'a-1.jsonl')
    const want = [...Array.from({ length: 100 }, (_, i) => String(i)), 'last', ''].join('\n')
    assert.deepEqual([readFileSync(path, 'utf8'), statSync(path).mode & 0o777], [want, 0o600])
  })

  it('begins a new file above a size, with whole lines in each', async () => {
    const file = createLineFile({ folder, name: 'a', maxFileBytes: 10 })
    for (const line of ['1234', '5678', '9', 'longer than any file', 'x']) file.add(line)
    await file.close()
    assert.deepEqual(contents(), {
      'a-1.jsonl': '1234\n5678\n',
      'a-2.jsonl': '9\n',
      'a-3.jsonl': 'longer than any file\n',
      'a-4.jsonl': 'x\n',
    })
  })

  it('never appends to what another process left, torn or not (L1)', async () => {
    writeFileSync(join(folder, 'a-1.jsonl'), '{"torn":')
    const file = createLineFile({ folder, name: 'a' })
    file.add('{}')
    await file.close()
    assert.deepEqual(contents(), { 'a-1.jsonl': '{"torn":', 'a-2.jsonl': '{}\n' })
  })

  it('makes no file where nothing was added', async () => {
    await createLineFile({ folder, name: 'a' }).close()
    assert.deepEqual(readdirSync(folder), [])
  })

  it('drops and counts what cannot be written, says so once, and goes on when it can (L2)', async () => {
    const blocked = join(folder, 'blocked')
    writeFileSync(blocked, 'a file where the folder should be')
    const told: string[] = []
    let nowMs = 0
    const onDropped = (why: string): void => void told.push(why)
    const file = createLineFile({ folder: blocked, name: 'a', onDropped, nowMs: () => nowMs })
    file.add('lost')
    await file.flush()
    nowMs = 1_000
    assert.ok(file.add('lost too'))
    await file.flush()
    assert.deepEqual([file.numDropped, told.length], [2, 1])
    rmSync(blocked)
    mkdirSync(blocked)
    nowMs = 2_999
    assert.ok(!file.add('lost in the pause, which is twice as long now (L3)'))
    nowMs = 3_000
    file.add('kept')
    await file.close()
    assert.equal(readFileSync(join(blocked, 'a-1.jsonl'), 'utf8'), 'kept\n')
  })

  it('takes back a half line, and leaves no file without lines (L1)', async () => {
    let nowMs = 0
    const file = createLineFile({ folder, name: 'a', maxFileBytes: 20, nowMs: () => nowMs })
    const { prototype } = await fileHandleClass(join(folder, 'b'))
    const appendFile = Object.getOwnPropertyDescriptor(prototype, 'appendFile')?.value as FileHandle['appendFile']
    const failing: FileHandle['appendFile'] = async function (this: FileHandle, bytes) {
      await appendFile.call(this, Buffer.from(bytes as Uint8Array).subarray(0, 3))
      throw new Error('disk full')
    }
    const add = async (line: string, isFull: boolean): Promise<void> => {
      prototype.appendFile = isFull ? failing : appendFile
      assert.ok(file.add(line))
      await file.flush()
      nowMs += 60_000
    }
    try {
      await add('lost', true)
      await add('first', false)
      await add('lost', true)
      await add('second', false)
      await add('lost, for a file of its own', true)
    } finally {
      prototype.appendFile = appendFile
    }
    await file.close()
    assert.deepEqual([contents(), file.numDropped], [{ 'a-1.jsonl': 'first\nsecond\n' }, 3])
  })

  it('drops what the queue has no room for (L2)', async () => {
    const file = createLineFile({ folder, name: 'a', maxQueuedBytes: 8 })
    assert.deepEqual([file.add('1234567'), file.add('over'), file.numDropped], [true, true, 0])
    assert.deepEqual([file.add('again'), file.numDropped], [false, 1])
    await file.close()
    assert.equal(contents()['a-1.jsonl'], '1234567\nover\n')
  })
})
