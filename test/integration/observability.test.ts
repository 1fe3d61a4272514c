// What a scraper finds in a running cluster, and whether dashboard and rules ask for just that: every series that they name
// exists, with its labels and, but for failures that did not happen, with data.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import * as z from 'zod'
import { runCli, upCli, type CliCluster } from '../helpers/cli.js'
import { eventually } from '../helpers/eventually.js'
import { goldenModel, repositoryRoot } from '../helpers/paths.js'
import { readSamples, type Sample } from '../helpers/samples.js'
import { matches, readQuery } from '../observability/promql.js'

const folder = join(repositoryRoot, 'deploy/observability')

const dashboardSchema = z.object({
  templating: z.object({ list: z.array(z.object({ name: z.string(), definition: z.string().optional() })) }),
  panels: z.array(
    z.object({
      title: z.string(),
      type: z.string(),
      targets: z.array(z.object({ expr: z.string(), legendFormat: z.string() })).default([]),
    }),
  ),
})
const rulesSchema = z.object({
  groups: z.array(
    z.object({
      rules: z.array(
        z.union([
          z.strictObject({ record: z.string(), expr: z.string() }),
          z.strictObject({
            alert: z.string().regex(/^Banyan[A-Za-z]+$/),
            expr: z.string(),
            for: z.string(),
            labels: z.strictObject({ severity: z.enum(['info', 'warning', 'critical']) }),
            annotations: z.strictObject({ summary: z.string(), description: z.string(), runbook: z.string() }),
          }),
        ]),
      ),
    }),
  ),
})
const targetsSchema = z.array(
  z.object({
    targets: z.tuple([z.string()]),
    labels: z.object({ __scheme__: z.enum(['http', 'https']), __metrics_path__: z.string() }),
  }),
)

const statusSchema = z.object({ processes: z.array(z.object({ id: z.string(), metrics: z.string().optional() })) })

const fetchStatus = async (url: string) => statusSchema.parse(await (await fetch(`${url}/cluster`)).json())

/** Panels that are rightly at 0 where nothing is wrong and nothing runs. */
const QUIET = new Set([
  'Running and waiting',
  'KV in use',
  'Waiting, by class',
  'Preemptions',
  'Late calls',
  'Longest stall',
  'Held by drafters',
])

describe('observability', function () {
  this.timeout(60_000)
  let cluster: CliCluster
  let samples: Sample[] = []

  const complete = async (body: object, signal?: AbortSignal): Promise<Response> =>
    fetch(`${cluster.ready.http}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal && { signal }),
    })

  /** Reads to the end. */
  const completed = async (body: object, status = 200): Promise<void> => {
    const response = await complete(body)
    assert.equal(response.status, status, await response.text())
  }

  /** A client that leaves in the middle of its stream. */
  const cancelled = async (): Promise<void> => {
    const abort = new AbortController()
    const response = await complete(
      { prompt: [9, 8, 7], max_tokens: 400, stream: true, ignore_eos: true },
      abort.signal,
    )
    const reader = response.body?.getReader() ?? assert.fail('want a stream')
    await reader.read()
    abort.abort()
  }

  const scrape = async (): Promise<Sample[]> => {
    const status = await runCli(['status', '--json', '--url', cluster.ready.http])
    const { stdout } = spawnSync(process.execPath, [join(folder, 'prometheus/targets.mjs')], { input: status.stdout })
    const targets = targetsSchema.parse(JSON.parse(stdout.toString()))
    assert.equal(targets.length, 5, 'a router, an attention worker, two expert workers and a drafter')
    const all = await Promise.all(
      targets.map(async ({ targets: [instance], labels }) => {
        const response = await fetch(`${labels.__scheme__}://${instance}${labels.__metrics_path__}`)
        const found = [{ name: 'up', labels: {}, value: 1 }, ...readSamples(await response.text())]
        return found.map((sample) => ({ ...sample, labels: { ...sample.labels, job: 'banyan', instance } }))
      }),
    )
    return all.flat()
  }

  const valueOf = (all: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number =>
    all
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([label, value]) => sample.labels[label] === value))
      .reduce((sum, { value }) => sum + value, 0)

  before(async () => {
    cluster = await upCli([
      ...['--model', goldenModel('qwen3-moe'), '--weights', 'f32', '--transport', 'nats', '--threads', '1'],
      ...['--draft-sharing', 'all', '--draft-price', '0.01'], // the second time, drafts are what came the first time
    ])
    const prompt = Array.from({ length: 40 }, (_, i) => (7 * i) % 50)
    const greedy = { prompt, max_tokens: 48, temperature: 0, ignore_eos: true }
    await completed(greedy)
    await completed(greedy)
    await Promise.all([completed({ ...greedy, temperature: 0.8, seed: 3, n: 2 }), cancelled()])
    await completed({ ...greedy, max_tokens: -1 }, 400)
    await completed({ ...greedy, model: 'another' }, 404)
    await eventually(async () => {
      samples = await scrape()
      return valueOf(samples, 'vllm:request_success_total', { finished_reason: 'abort' }) === 1
    }, 'the cancelled request is counted')
  })
  after(() => cluster.end())

  it('counts what the clients did', () => {
    assert.equal(valueOf(samples, 'vllm:request_success_total', { finished_reason: 'length' }), 4)
    assert.equal(valueOf(samples, 'banyan:requests_refused_total', { reason: 'MODEL_NOT_FOUND' }), 1)
    assert.equal(valueOf(samples, 'banyan:requests_refused_total'), 2)
    assert.equal(valueOf(samples, 'vllm:request_generation_tokens_sum'), 4 * 48)
    assert.equal(valueOf(samples, 'vllm:request_queue_time_seconds_count'), 4)
    assert.ok(valueOf(samples, 'vllm:spec_decode_num_accepted_tokens_total') > 40, 'the second run is drafted')
    assert.ok(valueOf(samples, 'vllm:prefix_cache_hits_total') >= 32)
    assert.equal(valueOf(samples, 'banyan:open_requests'), 0)
  })

  it('says in every process who it is, and shares each step’s time out', () => {
    const roles = samples.filter(({ name }) => name === 'banyan:process_info').map(({ labels }) => labels.role)
    assert.deepEqual(roles.sort(), ['attention', 'drafter', 'expert-worker', 'expert-worker', 'router'])
    const parts = valueOf(samples, 'banyan:step_part_seconds_total')
    const whole = valueOf(samples, 'banyan:step_seconds_sum')
    assert.ok(Math.abs(parts - whole) < 0.02 * whole, `parts ${parts} s, steps ${whole} s`)
  })

  it('has registries of their own for services that share a process', async () => {
    const local = await upCli(['--model', goldenModel('qwen3-moe'), '--weights', 'f32', '--transport', 'local'])
    try {
      const { processes } = await fetchStatus(local.ready.http)
      const of = async (id: string): Promise<string> => {
        const { metrics } = processes.find((process) => process.id === id) ?? assert.fail(`want ${id}`)
        return (await fetch(metrics ?? assert.fail(`${id}: want a URL`))).text()
      }
      assert.equal(new Set(processes.map(({ metrics }) => metrics)).size, 5)
      assert.match(await of('expert-worker-1'), /^banyan:expert_shards_held\S* 4$/m)
      assert.doesNotMatch(await of('attention-0'), /^banyan:expert_shards_held/m)
      assert.match(await of('router-0'), /^vllm:num_requests_running/m)
    } finally {
      await local.end()
    }
  })

  it('opens no port where told so', async () => {
    const quiet = await upCli([
      ...['--model', goldenModel('qwen3-moe'), '--weights', 'f32', '--transport', 'local', '--metrics-port', 'off'],
    ])
    try {
      const { processes } = await fetchStatus(quiet.ready.http)
      const shown = processes.flatMap(({ metrics }) => (metrics === undefined ? [] : [metrics]))
      assert.deepEqual(shown, [`${quiet.ready.http}/metrics`], 'the router’s door alone')
    } finally {
      await quiet.end()
    }
  })

  /** The series that an expression reads; fails where it names one that is not there. */
  const seriesOf = (expression: string, where: string): Sample[] => {
    const { selectors, groupedBy } = readQuery(
      expression.replaceAll('$__rate_interval', '5m').replaceAll('$model', '.*'),
    )
    assert.ok(selectors.length > 0, `${where}: ${expression} reads nothing`)
    const found = selectors.flatMap(({ metric, matchers }) => {
      for (const { label } of matchers) {
        const has = samples.some(({ name, labels }) => name === metric && label in labels)
        assert.ok(has, `${where}: ${metric} has no label ${label}`)
      }
      const series = samples.filter(({ name, labels }) => name === metric && matches(labels, matchers))
      assert.ok(series.length > 0, `${where}: no series for ${metric} with ${JSON.stringify(matchers)}`)
      return series
    })
    for (const label of groupedBy) {
      assert.ok(
        found.some(({ labels }) => label in labels),
        `${where}: nothing that ${expression} reads has the label ${label}`,
      )
    }
    return found
  }

  it('has data for every panel of the dashboard', () => {
    const { panels, templating } = dashboardSchema.parse(
      JSON.parse(readFileSync(join(folder, 'grafana/banyan.json'), 'utf8')),
    )
    for (const { definition } of templating.list) {
      const [, metric, label] = /^label_values\((\S+), (\w+)\)$/.exec(definition ?? '') ?? []
      if (metric !== undefined && label !== undefined) seriesOf(`sum by (${label}) (${metric})`, 'the variable')
    }
    let row = ''
    for (const { title, type, targets } of panels) {
      if (type === 'row') row = title
      else assert.ok(targets.length > 0, `${title}: want a query`)
      const found = targets.flatMap(({ expr, legendFormat }) => {
        const series = seriesOf(expr, title)
        for (const [, label = ''] of legendFormat.matchAll(/{{(\w+)}}/g)) {
          assert.ok(
            series.some(({ labels }) => label in labels),
            `${title}: nothing has the label ${label} of its legend`,
          )
        }
        return series
      })
      const isQuiet = type === 'row' || row === 'Failures' || QUIET.has(title)
      assert.ok(isQuiet || found.some(({ value }) => value !== 0), `${title}: everything is 0`)
    }
    assert.ok(panels.length > 40)
  })

  it('has the series of every rule, and a runbook for every alert', () => {
    const { groups } = rulesSchema.parse(parse(readFileSync(join(folder, 'prometheus/rules.yml'), 'utf8')))
    const readme = readFileSync(join(folder, 'README.md'), 'utf8')
    const headings = [...readme.matchAll(/^#+ (\w+)$/gm)].map(([, heading = '']) => heading.toLowerCase())
    for (const rule of groups.flatMap(({ rules }) => rules)) {
      if ('record' in rule) {
        const [one] = seriesOf(rule.expr, rule.record)
        samples.push({ name: rule.record, labels: one?.labels ?? {}, value: 0 }) // alerts may read it
      } else {
        const series = seriesOf(rule.expr, rule.alert)
        const { summary, description, runbook } = rule.annotations
        for (const [, label = ''] of `${summary} ${description}`.matchAll(/\$labels\.(\w+)/g)) {
          assert.ok(
            series.some(({ labels }) => label in labels),
            `${rule.alert}: nothing has the label ${label}`,
          )
        }
        assert.equal(runbook, `deploy/observability/README.md#${rule.alert.toLowerCase()}`)
        assert.ok(headings.includes(rule.alert.toLowerCase()), `${rule.alert}: want a heading in the runbook`)
      }
    }
  })
})
