// What the Dockerfile's `runtime` holds serves: its tree, read-only, as a user without rights, Node as process 1.

import assert from 'node:assert/strict'
import { existsSync, chownSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { eventually } from '../helpers/eventually.js'
import { freePorts } from '../helpers/free-ports.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { containment, startContained, USER_ID, type Contained } from './contained.js'
import { createImageTree, sizeOf, type ImageTree } from './image-tree.js'

const MB = 1e6
// Ours beside Node (100 MB) and the bundled model (25 MB): 46 MB are the compute engine, 28 MB OpenTelemetry.
const MOST_BYTES = 150 * MB
const ROLES = ['attention', 'expert-worker', 'drafter', 'router'] as const

describe('the image', function () {
  this.timeout(60_000)
  const how = containment()
  let tree: ImageTree
  let nats: TestNats
  let writable: string
  const running = new Map<string, Contained>()

  before(async () => {
    tree = createImageTree('runtime')
    nats = await startNatsForTest()
    writable = mkdtempSync(join(tmpdir(), 'banyan-writable-'))
    for (const folder of ['.', 'tmp', 'cache']) {
      mkdirSync(join(writable, folder), { recursive: true })
      if (how.isOtherUser) chownSync(join(writable, folder), USER_ID, USER_ID)
    }
  })
  after(async () => {
    for (const service of running.values()) service.kill('SIGKILL')
    await Promise.all([...running.values()].map(({ outcome }) => outcome))
    await nats.stop()
    rmSync(writable, { recursive: true, force: true })
    tree.remove()
  })

  /** The image's environment, without a home; what it says of /cache and /tmp lies in folders of this test. */
  const environment = (more: Readonly<Record<string, string>>): NodeJS.ProcessEnv => {
    const inImage: Record<string, string> = {}
    for (const [name, value] of Object.entries(tree.env)) {
      if (name !== 'HOME') inImage[name] = value.startsWith('/') ? join(writable, value) : value
    }
    return { ...inImage, TMPDIR: join(writable, 'tmp'), NATS_URL: nats.url, ...more }
  }

  const run = (words: readonly string[], env: Readonly<Record<string, string>> = {}): Contained =>
    startContained([...tree.entrypoint, ...words], how, environment(env))

  it('holds all that its files import', () => {
    const app = join(tree.root, 'app')
    assert.deepEqual(missingImports(join(app, 'dist')), [])
  })

  it('is small: no packages for building, no engines for other processors', () => {
    const app = join(tree.root, 'app')
    const sizes = readdirSync(app).map((name) => ({
      name,
      bytes: lstatSync(join(app, name)).isDirectory() ? sizeOf(join(app, name)) : 0,
    }))
    const bytes = sizes.filter(({ name }) => name !== 'models').reduce((sum, { bytes }) => sum + bytes, 0)
    const told = sizes.map(({ name, bytes: size }) => `${name} ${(size / MB).toFixed(1)} MB`).join(', ')
    assert.ok(bytes < MOST_BYTES, told)
    assert.ok(bytes > MOST_BYTES / 2, `a bound that would not notice twice as much: ${told}`)
    const engines = join(app, 'node_modules', 'onnxruntime-node', 'bin', 'napi-v6')
    const kept = readdirSync(engines).flatMap((system) =>
      readdirSync(join(engines, system)).map((arch) => `${system}/${arch}`),
    )
    assert.deepEqual(kept, [`${process.platform}/${process.arch}`])
    assert.ok(!existsSync(join(app, 'node_modules', 'typescript')))
  })

  it('lists its packages in SPDX', () => {
    const { spdxVersion, packages } = JSON.parse(readFileSync(join(tree.root, 'app', 'sbom.spdx.json'), 'utf8')) as {
      spdxVersion: string
      packages: readonly { name: string }[]
    } // as the standard has it
    assert.match(spdxVersion, /^SPDX-2/)
    const names = packages.map(({ name }) => name)
    assert.ok(names.includes('onnxruntime-node') && names.includes('nats'))
    assert.ok(!names.includes('typescript'))
  })

  it('runs the services, which answer as one cluster and leave with 0 when told to', async () => {
    const [http = 0, grpc = 0, ...metrics] = await freePorts(2 + ROLES.length)
    for (const [i, role] of ROLES.entries()) {
      const env = { BANYAN_ID: `${role}-0`, BANYAN_METRICS_PORT: String(metrics[i]), BANYAN_EXPERTS: '1' }
      const doors = role === 'router' ? ['--http', String(http), '--grpc', String(grpc)] : []
      running.set(role, run(['serve', role, ...doors], { ...env, BANYAN_THREADS: '1' }))
    }
    const whoDied = (): string[] =>
      [...running].filter(([, { child }]) => child.exitCode !== null).map(([role]) => role)
    const isReady = (port: number): Promise<boolean> =>
      fetch(`http://127.0.0.1:${port}/ready`).then(
        ({ status }) => status === 200,
        () => false,
      )
    await eventually(async () => {
      for (const role of whoDied()) throw new Error(`${role} ended: ${(await running.get(role)?.outcome)?.stderr}`)
      return (await Promise.all(metrics.map(isReady))).every(Boolean)
    }, 'every service is ready')

    const answer = async (): Promise<unknown> => {
      const response = await fetch(`http://127.0.0.1:${http}/v1/completions`, {
        method: 'POST',
        body: JSON.stringify({
          model: 'demo',
          prompt: 'export interface ',
          max_tokens: 12,
          seed: 7,
          return_token_ids: true,
        }),
      })
      const { choices } = (await response.json()) as { choices: readonly { token_ids: readonly number[] }[] } // documented
      return choices[0]?.token_ids
    }
    const first = await answer()
    assert.equal((first as readonly number[]).length, 12)
    assert.deepEqual(await answer(), first)
    const cluster = (await (await fetch(`http://127.0.0.1:${http}/cluster`)).json()) as {
      processes: readonly { pid: number }[]
    } // documented
    assert.equal(cluster.processes.length, ROLES.length)
    if (how.isProcessOne) assert.ok(cluster.processes.every(({ pid }) => pid === 1))

    for (const service of running.values()) service.kill('SIGTERM')
    const codes = await Promise.all(
      [...running].map(async ([role, { outcome }]) => [role, (await outcome).code] as const),
    )
    assert.deepEqual(
      codes,
      ROLES.map((role) => [role, 0]),
    )
    running.clear()
    assert.ok(existsSync(join(writable, 'cache', 'weights')), 'packed weights are in the cache folder')
    assert.deepEqual(readdirSync(writable).sort(), ['cache', 'tmp'])
  })
})

const IMPORT = /^(?:import|export)\b[^;'"]*?\bfrom '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm

/** Imports of compiled files that lead nowhere. */
function missingImports(dist: string): string[] {
  const files = readdirSync(dist, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.js') && !/^(?:console|banyan)\b/.test(file)) // the page is served, the bundle is run
    .map((file) => join(dist, file))
  assert.ok(files.length > 100)
  return files.flatMap((file) => {
    const names = [...readFileSync(file, 'utf8').matchAll(IMPORT)].map((groups) => groups.slice(1).find(Boolean) ?? '')
    return names.filter((name) => !isThere(file, name)).map((name) => `${file}: ${name}`)
  })
}

function isThere(file: string, name: string): boolean {
  if (name.startsWith('.')) return existsSync(join(dirname(file), name))
  if (name.startsWith('node:')) return true
  const [scope = '', rest = ''] = name.split('/')
  const folders = createRequire(file).resolve.paths(name) ?? []
  return folders.some((folder) => existsSync(join(folder, name.startsWith('@') ? `${scope}/${rest}` : scope)))
}
