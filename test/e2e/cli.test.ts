// The command as a user meets it: what it prints, how it exits, what it leaves behind.

import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSafetensors } from '../../lib/model/safetensors.js'
import { isAlive, runCli, startCli, upCli, type CliCluster, type Outcome } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import { readGguf } from '../helpers/gguf-reader.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { goldenModel } from '../helpers/paths.js'

interface GenerateJson {
  readonly choices: readonly {
    readonly text: string
    readonly tokenIds: readonly number[]
    readonly finishReason: string
  }[]
  readonly usage: Readonly<Record<string, number>>
  readonly fingerprint: string
  readonly stats: Readonly<Record<string, number>>
}

interface StatusJson {
  readonly processes: readonly {
    readonly role: string
    readonly id: string
    readonly pid: number
    readonly state: string
  }[]
}

const PROMPT = ['generate', 'export interface ', '--max-tokens', '12', '--seed', '7', '--temperature', '0.9']
const parse = <T>(text: string): T => JSON.parse(text) as T // a command's own documented output

const living = ({ processes }: StatusJson): StatusJson['processes'] => processes.filter(({ state }) => state !== 'dead')

const statusOf = async (cluster: CliCluster): Promise<StatusJson['processes']> =>
  living(parse<StatusJson>(await (await fetch(`${cluster.ready.http}/cluster`)).text()))

describe('banyan', function () {
  this.timeout(120_000)
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-e2e-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('exports a file for llama.cpp', async () => {
    const out = join(folder, 'model.gguf')
    const { code, stdout } = await runCli(['export', 'gguf', goldenModel('mixtral'), '--out', out, '--json'])
    const { tensors, sizeBytes } = parse<{ tensors: number; sizeBytes: number }>(stdout)
    assert.deepEqual([code, readGguf(out).tensors.size, readFileSync(out).length], [0, tensors, sizeBytes])
  })

  describe('what goes wrong', () => {
    const cases: readonly (readonly [string, readonly string[], number, RegExp])[] = [
      ['an unknown command', ['grow'], 2, /^banyan: invalid_argument: grow: no such command/],
      ['an unknown flag', ['up', '--tall'], 2, /^banyan: invalid_argument: unknown option '--tall'/],
      ['bad settings, all of them', ['--experts', '0', '--http', 'x'], 2, /experts: want.*http: want/],
      ['no prompt', ['generate'], 2, /exactly one of PROMPT/],
      ['a prompt twice', ['generate', 'a', '--tokens', '1'], 2, /exactly one of PROMPT/],
      ['a device that is not here', ['up', '--device', 'cuda:9'], 1, /^banyan: failed_precondition: .*cuda/m],
      ['nothing to deploy', ['deploy'], 2, /^banyan: invalid_argument: deploy: want plan, found nothing/],
      ['a plan for no nodes', ['deploy', 'plan', goldenModel('mixtral')], 2, /deploy plan: want --nodes N/],
      ['a plan for no model', ['deploy', 'plan', '/nowhere', '--nodes', '2'], 1, /^banyan: not_found: .*\/nowhere/],
      [
        'a plan with GPUs that no node has',
        ['deploy', 'plan', goldenModel('mixtral'), '--nodes', '2', '--device', 'cuda'],
        2,
        /--device cuda: want nodes with GPUs/,
      ],
      [
        'a plan that does not fit',
        ['deploy', 'plan', goldenModel('mixtral'), '--nodes', '1', '--replicas', '2', '--out', '/nowhere/plan'],
        1,
        /^banyan: failed_precondition: .*want 2 nodes/,
      ],
      [
        'no cluster',
        ['status', '--url', 'http://127.0.0.1:9', '--json'],
        1,
        /^banyan: unavailable: http:\/\/127.0.0.1:9/,
      ],
      ['an export to nowhere', ['export', 'gguf', goldenModel('mixtral')], 2, /export gguf: want --out FILE/],
      [
        'a width that no file has',
        ['export', 'gguf', goldenModel('mixtral'), '--out', 'x', '--weights', 'int2'],
        2,
        /int2/,
      ],
      ['no such model', ['inspect', '/nowhere', '--json'], 1, /^banyan: not_found: .*\/nowhere/],
    ]
    let outcomes: readonly Outcome[] = [] // all at once: starting a process is most of the time
    before(async () => {
      outcomes = await Promise.all(cases.map(([, words]) => runCli(words)))
    })
    for (const [i, [what, , code, message]] of cases.entries()) {
      it(`${what}: one typed line and exit ${code}`, () => {
        const outcome = outcomes[i] ?? assert.fail('it did not run')
        assert.equal(outcome.code, code, outcome.stderr)
        assert.match(outcome.stderr, message)
        assert.equal(outcome.stdout, '')
        assert.doesNotMatch(outcome.stderr, /\n {4}at /)
      })
    }

    it('a model that is not there is refused before anything starts', async () => {
      const outcome = await runCli(['up', '--model', '/nowhere', '--transport', 'nats', '--http', '0', '--grpc', '0'])
      assert.equal(outcome.code, 1)
      assert.match(outcome.stderr, /^banyan: not_found: .*\/nowhere/m)
    })

    it('a NaN in a tensor reaches the terminal through whichever process found it', async () => {
      const cases = [
        ['model.norm.weight', 'nats'],
        ['model.layers.1.mlp.down_proj.weight', 'local'],
      ] as const
      const outcomes = cases.map(([name, transport], i) => {
        const model = join(folder, `nan-${i}`)
        cpSync(goldenModel('llama-dense'), model, { recursive: true })
        spoil(join(model, 'model.safetensors'), name)
        return runCli(['generate', '--tokens', '1', '--model', model, '--transport', transport])
      })
      for (const [i, { code, stderr }] of (await Promise.all(outcomes)).entries()) {
        assert.equal(code, 1)
        const error = `${join(folder, `nan-${i}`)}/model.safetensors: tensor ${cases[i]?.[0]}: want finite values, got 1 of`
        assert.match(stderr, new RegExp(`^banyan: invalid_argument: [a-z-]+-\\d: ${error}`, 'm'))
      }
    })

    it('NATS asked for and none to be had is a failure with instructions, never the local transport', async () => {
      const outcome = await runCli(['up', '--transport', 'nats'], {
        env: { BANYAN_NATS_SERVER: '/nowhere/nats-server' },
      })
      assert.equal(outcome.code, 1)
      assert.match(outcome.stderr, /^banyan: .*nats-server/)
    })
  })

  it('--print-config shows every setting with its origin and no secret', async () => {
    const words = ['up', '--print-config', '--json', '--experts', '3', '--api-key', 'hush']
    const { stdout } = await runCli(words, { env: { BANYAN_WEIGHTS: 'f32' } })
    const printed = parse<Record<string, unknown>>(stdout)
    assert.deepEqual(
      [printed.experts, printed.weights, printed.drafters, printed['api-key']],
      [
        { value: 3, origin: '--experts' },
        { value: 'f32', origin: 'BANYAN_WEIGHTS' },
        { value: 1, origin: 'default' },
        { value: ['****'], origin: '--api-key' },
      ],
    )
  })

  it('inspect and doctor print exactly one JSON value', async () => {
    const inspected = parse<Record<string, unknown>>(
      (await runCli(['inspect', goldenModel('qwen3-moe'), '--json'])).stdout,
    )
    assert.deepEqual([inspected.family, inspected.missing, inspected.hasWeights], ['qwen3_moe', [], true])
    const configured = await runCli(['inspect', join(goldenModel('qwen3-moe'), 'config.json'), '--json'])
    const { hasWeights, fingerprint, weightBytes } = parse<Record<string, unknown>>(configured.stdout)
    assert.deepEqual([hasWeights, fingerprint, weightBytes], [false, null, inspected.weightBytes])
    assert.match(configured.stderr, /no weights here, only a configuration/)
    const examined = parse<{ kernels: readonly { exactness: string }[]; node: string }>(
      (await runCli(['doctor', '--json'])).stdout,
    )
    assert.equal(examined.node, process.version)
    assert.ok(examined.kernels.length > 0)
  })

  describe('generate', () => {
    let local: GenerateJson
    before(async () => {
      const outcome = await runCli([...PROMPT, '--json', '--transport', 'local'])
      assert.equal(outcome.code, 0, outcome.stderr)
      local = parse<GenerateJson>(outcome.stdout)
    })

    it('prints the documented JSON', () => {
      assert.equal(local.choices[0]?.tokenIds.length, 12)
      assert.deepEqual(Object.keys(local), ['choices', 'usage', 'fingerprint', 'stats'])
      assert.deepEqual(Object.keys(local.usage).sort(), ['cachedTokens', 'completionTokens', 'promptTokens'])
      const times = ['tokensPerSecond', 'tpotMs', 'ttftMs']
      const drafts = [
        'accepted',
        'acceptanceLength',
        'draftMs',
        'draftSteps',
        'drafted',
        'meanPrice',
        'offered',
        'steps',
      ]
      assert.deepEqual(Object.keys(local.stats).sort(), [...times, ...drafts].sort())
    })

    it('gives the same tokens from processes over NATS', async () => {
      const outcome = await runCli([...PROMPT, '--json', '--transport', 'nats'])
      assert.deepEqual(parse<GenerateJson>(outcome.stdout).choices, local.choices)
    })

    it('reads the prompt from standard input, and streams plain text', async () => {
      const [, prompt = ''] = PROMPT
      const outcome = await runCli(['generate', '-', ...PROMPT.slice(2), '--transport', 'local'], { input: prompt })
      assert.equal(outcome.stdout, `${local.choices[0]?.text}\n`)
    })

    it('is interrupted with 130 and leaves no process behind', async () => {
      const running = startCli(['generate', 'a', '--max-tokens', '1900', '--ignore-eos', '--transport', 'local'])
      await new Promise((resolve) => running.child.stdout?.once('data', resolve))
      process.kill(-running.pid, 'SIGINT')
      assert.equal((await running.outcome).code, 130)
      await eventually(() => !isAlive(-running.pid), 'the process group is gone', 10_000)
    })
  })

  it('logits writes every row of a prompt, the last one as generate sees it', async () => {
    const out = join(folder, 'logits.safetensors')
    const model = goldenModel('qwen3-moe')
    const golden = parse<{ cases: readonly { prompt: readonly number[]; greedy: readonly number[] }[] }>(
      readFileSync(join(model, 'golden.json'), 'utf8'),
    ).cases[0]
    const prompt = golden?.prompt ?? []
    const words = [
      'logits',
      model,
      '--tokens',
      prompt.join(','),
      '--out',
      out,
      '--weights',
      'f32',
      '--transport',
      'local',
      '--json',
    ]
    const outcome = await runCli(words)
    assert.equal(outcome.code, 0, outcome.stderr)
    const { shape } = parse<{ shape: readonly [number, number] }>(outcome.stdout)
    assert.equal(shape[0], prompt.length)
    const file = openSafetensors(out)
    const last = file.tensors.get('logits')?.readRows(prompt.length - 1, 1) ?? assert.fail()
    file.close()
    assert.equal(last.indexOf(Math.max(...last)), golden?.greedy[0])
  })

  describe('serve', () => {
    let nats: TestNats
    before(async () => {
      nats = await startNatsForTest()
    })
    after(() => nats.stop())

    for (const [signal, code] of [
      ['SIGTERM', 0],
      ['SIGINT', 130],
    ] as const) {
      it(`runs one service until ${signal}, then exits with ${code}`, async () => {
        const running = startCli(['serve', 'drafter', '--nats', nats.url])
        await new Promise((resolve) => running.child.stderr?.once('data', resolve)) // its first line: it serves
        running.child.kill(signal)
        const outcome = await running.outcome
        assert.equal(outcome.code, code, outcome.stderr)
      })
    }
  })

  describe('up --transport local', () => {
    it('serves HTTP and gRPC with the same tokens, and exits with 0 after SIGTERM', async () => {
      const cluster = await upCli(['--transport', 'local'])
      const overHttp = parse<GenerateJson>((await runCli([...PROMPT, '--json', '--url', cluster.ready.http])).stdout)
      const overGrpc = parse<GenerateJson>((await runCli([...PROMPT, '--json', '--url', cluster.ready.grpc])).stdout)
      assert.deepEqual(overHttp.choices, overGrpc.choices)
      assert.equal(overHttp.fingerprint, overGrpc.fingerprint)
      assert.deepEqual([cluster.ready.nats, cluster.ready.pid], [null, cluster.pid])
      const { code, stdout } = await cluster.end()
      assert.equal(code, 0)
      assert.ok(stdout.includes(cluster.ready.http) && stdout.includes(`curl -N ${cluster.ready.http}`), stdout)
    })
  })

  describe('folders that cannot be written', () => {
    const cases: readonly (readonly string[])[] = [
      ['--transport', 'local', '--journal'],
      ['--transport', 'nats', '--journal'],
      ['--transport', 'local', '--trace-dir'],
    ]
    for (const words of cases) {
      it(`are refused before anything starts: ${words.join(' ')}`, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'banyan-folder-test-'))
        writeFileSync(join(folder, 'file'), '')
        const below = join(folder, 'file', 'folder')
        const { code, stdout, stderr } = await runCli(['up', '--http', '0', '--grpc', '0', ...words, below])
        assert.deepEqual([code, stdout], [1, ''])
        assert.match(stderr, /banyan: failed_precondition: (journal|trace-dir) .*: want a folder to write in/)
        rmSync(folder, { recursive: true })
      })
    }
  })

  describe('up --ready-file', () => {
    it('refuses a file that it cannot write before anything starts', async () => {
      const file = join(tmpdir(), 'banyan-no-such-folder', 'ready.json')
      const { code, stdout, stderr } = await runCli(['up', '--transport', 'local', '--ready-file', file])
      assert.deepEqual([code, stdout], [1, ''])
      assert.match(stderr, /^banyan: failed_precondition: ready-file .*no such file/)
    })

    it('takes away what a killed cluster left, before it can be found', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'banyan-ready-test-'))
      const file = join(folder, 'ready.json')
      writeFileSync(file, '{"http":"http://127.0.0.1:1"}')
      const { code } = await runCli(['up', '--model', join(folder, 'none'), '--ready-file', file])
      assert.deepEqual([code, existsSync(file)], [1, false])
      rmSync(folder, { recursive: true })
    })
  })

  describe('up --journal', () => {
    for (const [transport, kept] of [
      ['local', 'journal.log'],
      ['nats', 'jetstream'],
    ] as const) {
      it(`keeps requests in a folder of its own (${transport})`, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'banyan-journal-test-'))
        const words = ['--transport', transport, '--journal', folder]
        const cluster = await upCli(words)
        assert.ok(existsSync(join(folder, kept)))
        const second = await runCli(['up', '--http', '0', '--grpc', '0', ...words])
        assert.equal(second.code, 1)
        assert.match(second.stderr, /in use by process/)
        assert.equal((await cluster.end()).code, 0)
        assert.ok(!existsSync(join(folder, 'journal.lock')))
        rmSync(folder, { recursive: true })
      })
    }
  })

  describe('up --transport nats', () => {
    it('runs every service as its own process, replaces a killed one, and leaves nothing after Ctrl-C', async () => {
      const cluster = await upCli(['--transport', 'nats', '--routers', '2'])
      const before = living(parse<StatusJson>((await runCli(['status', '--url', cluster.ready.http, '--json'])).stdout))
      assert.deepEqual(before.map(({ id }) => id).sort(), [
        'attention-0',
        'drafter-0',
        'expert-worker-0',
        'expert-worker-1',
        'router-0',
        'router-1',
      ])
      assert.equal(new Set([cluster.pid, ...before.map(({ pid }) => pid)]).size, 7)
      assert.equal(cluster.ready.routers.length, 2)

      const victim = before.find(({ id }) => id === 'expert-worker-1')?.pid ?? 0
      process.kill(victim, 'SIGKILL')
      const isReplaced = async (): Promise<boolean> =>
        (await statusOf(cluster)).some(
          ({ id, pid, state }) => id === 'expert-worker-1' && pid !== victim && state === 'ready',
        )
      await eventually(isReplaced, 'a new expert worker is ready', 10_000)

      const { length } =
        parse<GenerateJson>((await runCli([...PROMPT, '--json', '--url', cluster.ready.http])).stdout).choices[0]
          ?.tokenIds ?? []
      assert.equal(length, 12)

      const all = (await statusOf(cluster)).map(({ pid }) => pid)
      process.kill(-cluster.pid, 'SIGINT')
      process.kill(-cluster.pid, 'SIGINT')
      process.kill(cluster.pid, 'SIGTERM')
      assert.equal((await cluster.outcome).code, 130)
      assert.deepEqual(all.filter(isAlive), [])
      await cluster.end()
    })

    it('leaves no orphan and no records even when it is killed itself', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'banyan-cli-'))
      const cluster = await upCli(['--transport', 'nats'], { env: { TMPDIR: folder } })
      const { host } = new URL(cluster.ready.nats ?? '')
      const pids = (await statusOf(cluster)).map(({ pid }) => pid)
      process.kill(cluster.pid, 'SIGKILL')
      await eventually(() => pids.every((pid) => !isAlive(pid)), 'every service is gone', 10_000)
      const isServerGone = async (): Promise<boolean> => (await fetch(`http://${host}`).catch(refused)) === 'refused'
      await eventually(isServerGone, 'the NATS server is gone', 10_000)
      const records = (): string[] => readdirSync(folder).filter((name) => name.startsWith('banyan-jetstream-'))
      await eventually(() => records().length === 0, 'its records are gone', 10_000)
      rmSync(folder, { recursive: true })
      await cluster.end()
    })
  })
})

/** Puts a NaN at the end of a tensor. */
function spoil(path: string, name: string): void {
  const bytes = readFileSync(path)
  const headerBytes = Number(bytes.readBigUInt64LE())
  const header = parse<Record<string, { data_offsets: [number, number] }>>(bytes.toString('utf8', 8, 8 + headerBytes))
  const [, end] = header[name]?.data_offsets ?? assert.fail(`no tensor ${name}`)
  bytes.writeFloatLE(NaN, 8 + headerBytes + end - 4)
  writeFileSync(path, bytes)
}

/** A port that nobody listens on, as against one that speaks another protocol. */
function refused(error: unknown): 'refused' | 'other' {
  const { cause } = error as Error // fetch rejects with a TypeError that carries the socket's error
  return String((cause as { code?: unknown } | undefined)?.code).includes('ECONNREFUSED') ? 'refused' : 'other'
}
