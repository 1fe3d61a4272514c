// A model folder from a server that does what networks do: FF1 to FF3 of cli/fetch/fetch-file.ts, and the command around it.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { fetchCommand } from '../../../cli/commands/fetch.js'
import { fetchModel, type Fetched, type ModelFetchOptions } from '../../../cli/fetch/fetch-model.js'
import { sourceOf } from '../../../cli/fetch/source.js'
import { parseSums } from '../../../cli/fetch/sums.js'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import { runCli, startCli } from '../../helpers/cli.js'
import { eventually } from '../../helpers/eventually.js'
import { startFileServer, type FileServer, type Trick } from '../../helpers/file-server.js'

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const contentOf = (seed: number, size: number): Buffer =>
  Buffer.from(Array.from({ length: size }, (_, i) => (i * seed) % 251))

describe('banyan fetch', function () {
  this.timeout(30_000)
  let server: FileServer
  let folder: string
  let numFolders = 0
  const root = mkdtempSync(join(tmpdir(), 'banyan-fetch-'))

  before(async () => {
    server = await startFileServer()
  })
  beforeEach(() => {
    folder = join(root, `model-${numFolders++}`)
    server.seen.length = 0
    server.tricks.clear()
    server.files.clear()
    server.files.set('m/config.json', Buffer.from('{}'))
    server.files.set('m/sub/model 1.safetensors', contentOf(7, 300_000))
  })
  after(async () => {
    await server.close()
    rmSync(root, { recursive: true, force: true })
  })

  const listing = (): string =>
    [...server.files].map(([path, bytes]) => `${sha256(bytes)}  ${path.replace('m/', '')}\n`).join('')
  const trick = (path: string, ...tricks: readonly Trick[]): void => void server.tricks.set(`m/${path}`, [...tricks])
  const requestsOf = (path: string) => server.seen.filter((seen) => seen.path === `m/${path}`)
  const read = (path: string): Buffer => readFileSync(join(folder, path))
  const MODEL = 'sub/model 1.safetensors'
  const breakAfter = (afterBytes: number): Trick => {
    const part = join(folder, `${MODEL}.part`)
    return { kind: 'break', afterBytes, isTaken: (from) => existsSync(part) && statSync(part).size > from }
  }

  const fetchIt = (
    more: {
      list?: string
      url?: string
      maxBytes?: number
      signal?: AbortSignal
      onProgress?: ModelFetchOptions['onProgress']
    } = {},
  ): Promise<Fetched> =>
    fetchModel(parseSums(more.list ?? listing(), 'SUMS'), {
      folder,
      open: sourceOf(more.url ?? `${server.url}/m`, undefined).open,
      signal: more.signal ?? new AbortController().signal,
      stallMs: 300,
      retryMs: 1,
      maxBytes: more.maxBytes ?? 1e9,
      onFile: () => undefined,
      onProgress: more.onProgress ?? (() => undefined),
      notify: () => undefined,
    })
  const fails = (run: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> =>
    assert.rejects(run, (error) => {
      assert.ok(error instanceof ClusterError)
      assert.match(error.message, message)
      assert.equal(error.code, code)
      return true
    })
  const isWhole = (): void => {
    for (const [path, bytes] of server.files) assert.deepEqual(read(path.replace('m/', '')), bytes)
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    assert.deepEqual(
      names.filter((name) => name.endsWith('.part')),
      [],
    )
  }

  it('fills a folder, and asks for nothing the second time', async () => {
    const bytes = 300_002
    assert.deepEqual(await fetchIt(), { bytes, fetchedBytes: bytes, wasThere: false })
    isWhole()
    const before = server.seen.length
    assert.deepEqual(await fetchIt(), { bytes, fetchedBytes: 0, wasThere: true })
    assert.equal(server.seen.length, before)
  })

  it('fetches again what changed since, and that alone', async () => {
    await fetchIt()
    writeFileSync(join(folder, 'config.json'), '[]')
    utimesSync(join(folder, 'config.json'), 1, 1)
    server.seen.length = 0
    assert.equal((await fetchIt()).fetchedBytes, 2)
    assert.deepEqual(
      server.seen.map(({ path }) => path),
      ['m/config.json'],
    )
    isWhole()
  })

  it('goes on where a connection broke, as often as it brings bytes', async () => {
    const broken = Array.from({ length: 9 }, (): Trick => breakAfter(20_000))
    trick(MODEL, ...broken)
    await fetchIt()
    isWhole()
    const ranges = requestsOf(MODEL).map(({ range }) => Number(range?.slice('bytes='.length, -1) ?? 0))
    assert.equal(ranges.length, 10)
    assert.deepEqual(
      ranges.toSorted((a, b) => a - b),
      ranges,
    )
    assert.ok((ranges.at(-1) ?? 0) > 0)
  })

  it('goes on with what an earlier run left', async () => {
    const bytes = server.files.get(`m/${MODEL}`) ?? Buffer.alloc(0)
    mkdirSync(join(folder, 'sub'), { recursive: true })
    writeFileSync(join(folder, `${MODEL}.part`), bytes.subarray(0, 200_000))
    assert.equal((await fetchIt()).fetchedBytes, 100_002)
    assert.equal(requestsOf(MODEL)[0]?.range, 'bytes=200000-')
    isWhole()
  })

  for (const [what, left] of [
    ['other bytes', 200_000],
    ['more bytes than there are', 400_000],
  ] as const) {
    it(`begins anew where an earlier run left ${what}`, async () => {
      mkdirSync(join(folder, 'sub'), { recursive: true })
      writeFileSync(join(folder, `${MODEL}.part`), contentOf(3, left))
      await fetchIt()
      isWhole()
    })
  }

  it('takes a server without ranges, and a part that is whole already', async () => {
    trick(MODEL, breakAfter(50_000), { kind: 'ignore-range' })
    mkdirSync(folder)
    writeFileSync(join(folder, 'config.json.part'), '{}')
    await fetchIt()
    isWhole()
  })

  it('waits out a server that is busy or silent', async () => {
    trick('config.json', { kind: 'status', status: 503 }, { kind: 'stall' }, { kind: 'status', status: 429 })
    await fetchIt()
    isWhole()
  })

  it('gives up on one that stays so, and says what it saw', async () => {
    trick('config.json', ...Array.from({ length: 6 }, (): Trick => ({ kind: 'status', status: 503 })))
    await fails(fetchIt(), 'unavailable', /\/m\/config\.json: want 200, found 503/)
  })

  it('names file, wanted and found hash where the server has another', async () => {
    const list = listing()
    const other = Buffer.from('[]')
    server.files.set('m/config.json', other)
    const want = sha256(Buffer.from('{}'))
    await fails(fetchIt({ list }), 'data_loss', new RegExp(`config.json: want SHA-256 ${want}, found ${sha256(other)}`))
    assert.ok(!existsSync(join(folder, 'config.json')))
    assert.ok(!existsSync(join(folder, 'config.json.part')))
  })

  it('ends at what is missing, forbidden or too large', async () => {
    await fails(fetchIt({ list: `${'0'.repeat(64)}  other\n` }), 'not_found', /\/m\/other: want 200, found 404/)
    trick('config.json', { kind: 'status', status: 403 })
    await fails(fetchIt(), 'permission_denied', /403/)
    await fails(fetchIt({ maxBytes: 100_000 }), 'resource_exhausted', /at most 100000 bytes/)
  })

  it('ends when it is told to, whatever it waits for', async () => {
    for (let numTurns = 0; numTurns < 24; numTurns++) {
      rmSync(folder, { recursive: true, force: true })
      trick('config.json', { kind: 'stall' })
      const stop = new AbortController()
      const stopSoon = async (): Promise<void> => {
        for (let turn = 0; turn < numTurns; turn++) await nextTurn()
        stop.abort()
      }
      const run = fetchIt({ signal: stop.signal, onProgress: ({ bytes = 0 }) => void (bytes > 0 && stopSoon()) })
      await assert.rejects(run, { name: 'AbortError' })
    }
  })

  it('follows no link out of the folder', async () => {
    const outside = join(root, 'outside')
    mkdirSync(outside, { recursive: true })
    mkdirSync(folder)
    symlinkSync(outside, join(folder, 'sub'))
    await fails(fetchIt(), 'failed_precondition', /want a folder inside of/)
    rmSync(join(folder, 'sub'))
    symlinkSync(join(outside, 'stolen'), join(folder, 'config.json.part'))
    await assert.rejects(fetchIt())
    assert.deepEqual(readdirSync(outside), [])
  })

  it('two at once into the same folder do not harm each other', async () => {
    trick(MODEL, breakAfter(30_000), breakAfter(50_000))
    await Promise.all([fetchIt(), fetchIt(), fetchIt()])
    isWhole()
  })

  it('reads a folder by its file URL', async () => {
    await fetchIt()
    const { href } = pathToFileURL(folder)
    folder = join(root, 'copy')
    await fetchIt({ url: href })
    isWhole()
    await fails(fetchIt({ url: href, list: `${'0'.repeat(64)}  other\n` }), 'not_found', /other/)
  })

  describe('the command', () => {
    const sums = join(root, 'SUMS')
    const words = (...more: readonly string[]): readonly string[] => [
      ...['fetch', `${server.url}/m?signature=hidden`, '--to', folder, '--sums', sums],
      ...more,
    ]
    beforeEach(() => writeFileSync(sums, listing()))

    it('prints what is there, and keeps a token from everybody on the way', async () => {
      const { code, stdout, stderr } = await runCli(words('--json'), { env: { BANYAN_FETCH_TOKEN: 'of-mine' } })
      assert.equal(code, 0, stderr)
      const bytes = 300_002
      assert.deepEqual(JSON.parse(stdout), { folder, files: 2, bytes, fetchedBytes: bytes, wasThere: false })
      assert.match(stderr, /http shows to everyone/)
      assert.doesNotMatch(stderr, /hidden|of-mine/)
      assert.ok(server.seen.every(({ authorization }) => authorization === undefined))
      assert.match((await runCli(words())).stdout, /model-\d+: 2 files, 0\.3 MB, was there\n$/)
    })

    it('fails with 1 and a word, never with the query', async () => {
      server.files.delete('m/config.json')
      const { code, stderr } = await runCli(words())
      assert.equal(code, 1)
      assert.match(stderr, /banyan: not_found: http:\/\/127\.0\.0\.1:\d+\/m\/config\.json: want 200, found 404/)
      assert.doesNotMatch(stderr, /hidden/)
      trick('config.json', { kind: 'stall' })
      assert.match((await runCli(words('--timeout-ms', '200'))).stderr, /deadline_exceeded: .*within 200 ms/)
    })

    it('a signal ends it at once; the next run goes on', async () => {
      trick(MODEL, breakAfter(100_000), { kind: 'stall' })
      const { child, outcome } = startCli(words())
      await eventually(() => requestsOf(MODEL).length === 2, 'it waits for the rest')
      child.kill('SIGTERM')
      const { code, stderr } = await outcome
      assert.equal(code, 130)
      assert.match(stderr, /cancelled: .*goes on from here/)
      assert.equal((await runCli(words())).code, 0)
      assert.notEqual(requestsOf(MODEL).at(-1)?.range, undefined)
      isWhole()
    })

    const wrong: readonly [string, string, Record<string, string>, RegExp][] = [
      ['no folder', 'https://a/', { sums: 'S' }, /--to DIR/],
      ['no list', 'https://a/', { to: 'D' }, /--sums FILE/],
      ['another scheme', 'ftp://a/', { to: 'D', sums: 'S' }, /https, http or file/],
      ['no URL', 'here', { to: 'D', sums: 'S' }, /want a URL, found "here"/],
      ['a login in the URL', 'https://u:p@a/', { to: 'D', sums: 'S' }, /BANYAN_FETCH_TOKEN/],
    ]
    for (const [what, url, flags, message] of wrong) {
      it(`is a usage error with ${what}`, () =>
        assert.rejects(
          fetchCommand(url, flags),
          (error) => error instanceof ClusterError && error.details.reason === 'USAGE' && message.test(error.message),
        ))
    }
  })
})
