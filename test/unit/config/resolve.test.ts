import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { toEnvironment } from '../../../lib/config/environment.js'
import { routerOptions, tracesExperts } from '../../../lib/config/options.js'
import { printConfig } from '../../../lib/config/print.js'
import { resolveConfig, type ConfigSources } from '../../../lib/config/resolve.js'
import { SETTING_NAMES } from '../../../lib/config/settings.js'
import { ClusterError } from '../../../lib/errors.js'
import { modelName } from '../../../lib/model/model-name.js'

const machine = { model: '/models/demo', cores: 2 }
const resolveWith = (sources: Partial<ConfigSources>) => resolveConfig({ env: {}, machine, ...sources })

const failureOf = (run: () => unknown): ClusterError => {
  try {
    run()
  } catch (error) {
    if (error instanceof ClusterError) return error
    throw error
  }
  return assert.fail('want a ClusterError, got none')
}

describe('resolveConfig', () => {
  let folder = ''
  const file = (name: string, content: string): string => {
    const path = join(folder, name)
    writeFileSync(path, content)
    return path
  }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-config-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('lets experts be recorded where records go, and where they may tell as much', () => {
    const at = (flags: Readonly<Record<string, unknown>>) => tracesExperts(resolveWith({ flags }).config)
    const on = { traceExperts: 'on', traceDir: '/traces' }
    assert.deepEqual([at({}), at(on), at({ ...on, traceContent: 'text' })], [false, true, true])
    const refused = [{ traceExperts: 'on' }, { ...on, traceContent: 'hash' }]
    for (const flags of refused) assert.equal(failureOf(() => at(flags)).details.reason, 'BAD_CONFIG')
  })

  it('needs nothing but the machine', () => {
    const { config, origins } = resolveWith({})
    assert.deepEqual(
      [
        config.model,
        config.weights,
        config.threads,
        config.experts,
        config.http,
        config.grpc,
        config.draft,
        config.transport,
      ],
      ['/models/demo', 'int8', 2, 2, 8000, 50_051, ['auto'], 'auto'],
    )
    assert.equal(origins.experts, 'default')
  })

  it('takes a flag before the environment, the environment before the file, the file before the default', () => {
    const path = file('order.yaml', 'experts: 5\nrouters: 5\nattention: 5\n')
    const { config, origins } = resolveWith({
      flags: { experts: '3' },
      env: { BANYAN_EXPERTS: '4', BANYAN_ROUTERS: '4' },
      file: path,
    })
    assert.deepEqual([config.experts, config.routers, config.attention, config.drafters], [3, 4, 5, 1])
    assert.deepEqual(
      [origins.experts, origins.routers, origins.attention, origins.drafters],
      ['--experts', 'BANYAN_ROUTERS', path, 'default'],
    )
  })

  it('takes a GGUF file as the model from flag, environment and file alike, and hands it to every process', () => {
    const at = '/models/some model.gguf'
    const path = file('gguf.yaml', `model: ${at}\n`)
    for (const sources of [{ flags: { model: at } }, { env: { BANYAN_MODEL: at } }, { file: path }]) {
      const { config } = resolveWith(sources)
      assert.equal(config.model, at)
      assert.equal(resolveWith({ env: toEnvironment(config) }).config.model, at)
      assert.equal(routerOptions(config).model.path, at)
      assert.equal(modelName(config.model), 'some model')
    }
  })

  it('reports all problems at once, each with key, found and wanted', () => {
    const path = file('bad.yaml', 'http: many\nexpert: 3\n')
    const error = failureOf(() =>
      resolveWith({ flags: { experts: 'zero' }, env: { NATS_URL: 'localhost' }, file: path }),
    )
    assert.equal(error.code, 'invalid_argument')
    for (const part of [
      'experts: want a whole number from 1 to 256, found "zero" (--experts)',
      'nats: want',
      '"localhost" (NATS_URL)',
      'http: want',
      '"many"',
      'expert: no such setting',
    ]) {
      assert.ok(error.message.includes(part), `${part} in ${error.message}`)
    }
  })

  it('never shows a bad key', () => {
    const error = failureOf(() => resolveWith({ flags: { apiKey: ['top secret'] } }))
    assert.ok(!error.message.includes('top secret'), error.message)
  })

  it('says what is wrong with the file itself', () => {
    assert.equal(failureOf(() => resolveWith({ file: join(folder, 'absent.yaml') })).code, 'not_found')
    assert.match(
      failureOf(() => resolveWith({ file: file('list.yaml', '- a\n') })).message,
      /want keys with values, found a list/,
    )
    assert.match(failureOf(() => resolveWith({ file: file('broken.yaml', 'a: [') })).message, /want YAML/)
  })

  it('reads API keys from a list or from a file', () => {
    const keys = file('keys', '# keys\nalpha\n\nbeta\n')
    assert.deepEqual(resolveWith({ env: { BANYAN_API_KEYS: 'one, two' } }).config.apiKey, ['one', 'two'])
    assert.deepEqual(resolveWith({ env: { BANYAN_API_KEYS: keys } }).config.apiKey, ['alpha', 'beta'])
  })

  it('knows draft sources by name only', () => {
    assert.deepEqual(resolveWith({ flags: { draft: 'off' } }).config.draft, [])
    assert.deepEqual(resolveWith({ flags: { draft: 'prompt-lookup' } }).config.draft, ['prompt-lookup'])
    assert.match(
      failureOf(() => resolveWith({ flags: { draft: 'crystal-ball' } })).message,
      /draft: want auto, off or a list/,
    )
  })

  it('prints what a file can hold again, with secrets masked', () => {
    const resolved = resolveWith({
      flags: { apiKey: ['hush'], nats: 'nats://me:word@host:4222', natsPassword: 'sesame', draft: 'off', experts: '7' },
    })
    const text = printConfig(resolved)
    assert.doesNotMatch(text, /hush|word@|sesame/)
    const again = resolveWith({ file: file('printed.yaml', text) })
    const { apiKey, nats, natsPassword } = resolved.config
    assert.deepEqual({ ...again.config, apiKey, nats, natsPassword }, resolved.config)
  })

  it('hands a configuration on through the environment unchanged', () => {
    const flags = fc.record(
      {
        experts: fc.integer({ min: 1, max: 256 }).map(String),
        threads: fc.integer({ min: 1, max: 64 }).map(String),
        http: fc.integer({ min: 0, max: 65_535 }).map(String),
        weights: fc.constantFrom('f32', 'int8', 'int4'),
        draft: fc.constantFrom('auto', 'off', 'prompt-lookup'),
        nats: fc.constantFrom('nats://a:1', 'nats://a:1,nats://b:2'),
        apiKey: fc.array(fc.stringMatching(/^[A-Za-z0-9._/=-]{1,20}$/), { maxLength: 3 }),
        traceDir: fc.constantFrom('/tmp/traces', 'traces'),
        otelSamplerArg: fc.double({ min: 0, max: 1, noNaN: true }).map(String),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(flags, (given) => {
        const { config } = resolveWith({ flags: given })
        const again = resolveConfig({ env: toEnvironment(config), machine: { cores: 1 } }).config
        for (const name of SETTING_NAMES) assert.deepEqual(again[name], config[name], name)
      }),
    )
  })
})
