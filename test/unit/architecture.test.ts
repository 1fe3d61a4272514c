// The import rules of docs/architecture.md, and the size budget of the style: looked at on the sources themselves.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'

interface Source {
  readonly path: string // relative to the repository
  readonly text: string
  readonly imports: readonly string[] // packages by name, own files relative to the repository
}

const IMPORT = /^(?:import|export)\b[^;'"]*?\bfrom '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm

function readSources(folder: string): Source[] {
  const root = join(repositoryRoot, folder)
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules') && !file.startsWith('dist'))
    .map((file) => {
      const path = join(folder, file)
      const text = readFileSync(join(root, file), 'utf8')
      const imports = [...text.matchAll(IMPORT)].map(([, ...names]) => resolveImport(path, names.find(Boolean) ?? ''))
      return { path, text, imports }
    })
}

const resolveImport = (from: string, name: string): string =>
  name.startsWith('.') ? relative(repositoryRoot, join(repositoryRoot, dirname(from), name)) : name

const lib = readSources('lib')
const services = readSources('services')
const cli = readSources('cli')
const sdk = readSources('sdk/src')
const replay = readSources('replay/src')
const page = readSources('console')
const product = [...lib, ...services, ...cli, ...sdk, ...replay, ...page]

const importers = (sources: readonly Source[], isMatch: (name: string) => boolean): string[] =>
  sources.filter(({ imports }) => imports.some(isMatch)).map(({ path }) => path)

const isPackage =
  (...names: readonly string[]) =>
  (name: string): boolean =>
    names.some((wanted) => name === wanted || name.startsWith(`${wanted}/`))

describe('architecture', () => {
  it('reads the imports it judges', () => {
    assert.ok(
      services.find(({ path }) => path === 'services/router/start.ts')?.imports.includes('lib/model/checkpoint.js'),
    )
  })

  it('lib imports no service, no command line, no SDK', () => {
    assert.deepEqual(
      importers(lib, (name) => /^(services|cli|sdk|test|bench)\//.test(name)),
      [],
    )
  })

  it('a service imports lib and itself', () => {
    const strays = services.flatMap(({ path, imports }) => {
      const own = path.split('/').slice(0, 2).join('/')
      return imports
        .filter((name) => /^(services|cli|sdk|test)\//.test(name) && !name.startsWith(`${own}/`))
        .map((name) => `${path}: ${name}`)
    })
    assert.deepEqual(strays, [])
  })

  it('the SDK imports nothing but itself and its two packages', () => {
    const allowed = isPackage('@grpc/grpc-js', 'protobufjs')
    const strays = sdk.flatMap(({ imports }) =>
      imports.filter((name) => !name.startsWith('sdk/src/') && !name.startsWith('node:') && !allowed(name)),
    )
    assert.deepEqual(strays, [])
  })

  it('the replayer imports itself, the SDK and the record of a request', () => {
    const strays = replay.flatMap(({ path, imports }) =>
      imports
        .filter((name) => /^(lib|services|cli|sdk|test|bench)\//.test(name))
        .filter((name) => name !== 'sdk/src/index.js' && !name.startsWith('lib/traffic/'))
        .map((name) => `${path}: ${name}`),
    )
    assert.deepEqual(strays, [])
  })

  it('the console page imports itself, what the feed says, and uPlot', () => {
    const strays = page.flatMap(({ path, imports }) =>
      imports
        .filter((name) => !name.startsWith('console/') && name !== 'lib/console/frame.js' && name !== 'uplot')
        .map((name) => `${path}: ${name}`),
    )
    assert.deepEqual(strays, [])
  })

  const single: readonly [string, readonly Source[], (name: string) => boolean, string[]][] = [
    ['the NATS client', product, isPackage('nats'), ['lib/transport/nats.ts']],
    ['the foreign function interface', product, isPackage('koffi'), ['lib/compute/foreign.ts']],
    ['the compute engine', product, isPackage('onnxruntime-node'), ['lib/compute/session.ts']],
    [
      'gRPC in services and lib',
      [...lib, ...services],
      isPackage('@grpc', 'grpc-health-check'),
      ['services/router/grpc-server.ts'],
    ],
    ['gRPC in the SDK', sdk, isPackage('@grpc'), ['sdk/src/connection.ts']],
  ]
  for (const [title, sources, isMatch, wanted] of single) {
    it(`one module imports ${title}`, () => assert.deepEqual(importers(sources, isMatch), wanted))
  }

  it('only main.ts files and cli/ read the environment or exit', () => {
    const readers = [...lib, ...services, ...sdk, ...replay]
      .filter(({ text }) => /process\.(env|exit|argv)\b/.test(text))
      .map(({ path }) => path)
    assert.deepEqual(
      readers.filter((path) => !path.endsWith('/main.ts')),
      [],
    )
  })

  it('time, timers and chance are parameters of services, actors and what they stand on', () => {
    const direct =
      /\b(Date\.now|performance\.now|Math\.random|set(Timeout|Interval|Immediate)|queueMicrotask|nextTick|random(UUID|Bytes|Int)|timers\/promises|AbortSignal\.timeout)\b/
    const isJudged =
      /^(services|lib\/(actor|decode|speculative|sampling|wire|model))\/|^lib\/transport\/(bus-transport|chunks)|^(sdk|replay)\/src\//
    const isReal = /\/(main|clock)\.ts$|^services\/router\/(grpc-server\.ts|http\/)/ // doors stand on real sockets
    const strays = [...lib, ...services, ...sdk, ...replay].filter(
      ({ path, text }) => isJudged.test(path) && !isReal.test(path) && direct.test(text),
    )
    assert.deepEqual(
      strays.map(({ path }) => path),
      [],
    )
  })

  it('a service’s main.ts has at most 40 lines', () => {
    const mains = services.filter(({ path }) => path.endsWith('/main.ts'))
    assert.equal(mains.length, 4)
    for (const { path, text } of mains) assert.ok(text.split('\n').length <= 41, path)
  })

  it('no file is longer than 300 lines', () => {
    const long = product.filter(({ text }) => text.split('\n').length > 301).map(({ path }) => path)
    assert.deepEqual(long, [])
  })

  it('no default export, no any', () => {
    const strays = product.filter(
      ({ text }) =>
        /^export default\b/m.test(text) ||
        /(:|<|as)\s*any\b(?!thing)/.test(text.replaceAll(/\/\/.*|\/\*[^]*?\*\/|'[^'\n]*'/g, '')),
    )
    assert.deepEqual(
      strays.map(({ path }) => path),
      [],
    )
  })

  it('fewer than three type casts per thousand lines', () => {
    const isHeading = /^\s*(\/?\*|\/\/)|^(import|export) .*\bfrom '|^\s*\w+ as \w+,?$/ // comments and renamed imports
    const lines = product.flatMap(({ text }) => text.split('\n'))
    const casts = lines
      .filter((line) => !isHeading.test(line))
      .flatMap((line) => line.replaceAll(/\/\/.*|'[^']*'|`[^`]*`/g, '').match(/\bas (?!const\b)[\w<{[(]/g) ?? [])
    assert.ok((casts.length * 1000) / lines.length < 3, `${casts.length} casts in ${lines.length} lines`)
  })

  it('every file opens by saying what it decides', () => {
    assert.deepEqual(
      product.filter(({ text }) => !/^(#!.*\n)?(\/\/|\/\*\*) /.test(text)).map(({ path }) => path),
      [],
    )
  })
})
