// Runs a replay against an endpoint and tells what came of it: the report, its files, the check, and what makes the run
// a failure.

import {
  checkRun,
  counted,
  createPrompts,
  htmlTable,
  isCheckable,
  planReplay,
  printable,
  profileLines,
  replay,
  reportHtml,
  reportText,
  section,
  serverFigures,
  summarise,
  summaryCsv,
  summaryJson,
  systemClock,
  wereOrWas,
  withOutputLengths,
  writeReport,
  DEFAULT_LIMITS,
  type CheckReport,
  type Goals,
  type ReplayRun,
  type ScheduleOptions,
  type ServerFigures,
  type ServerInfo,
  type Summary,
  type TimeLimits,
  type Trace,
  type TraceRequest,
} from '../../replay/src/index.js'
import { VERSION } from '../../lib/config/version.js'
import { notify, print, printJson } from '../terminal.js'
import { describeCheck, describeDifference } from './check-text.js'
import type { Endpoint } from './endpoint.js'
import { createProgressLine } from './progress-line.js'
import type { AllFlags } from './replay-flags.js'
import { spansOfDifference } from './step-spans.js'

export interface ReplayJob {
  readonly path: string
  readonly trace: Trace
  readonly schedule: ScheduleOptions
  readonly goals: Goals | undefined
  readonly limits: Partial<TimeLimits>
  readonly promptForm: 'ids' | 'text'
  readonly maxLatenessMs: number | undefined // undefined: lateness is told, not judged
  readonly flags: AllFlags
}

interface Finished {
  readonly run: ReplayRun
  readonly summary: Summary
  readonly server: ServerFigures | undefined
  readonly check: CheckReport | undefined
}

/** Resolves with the exit code, interruptions aside. */
export async function runReplay(endpoint: Endpoint, job: ReplayJob, signal: AbortSignal): Promise<number> {
  const before = await beforeAbort(endpoint.info(), signal, NOTHING_TOLD)
  const finished = await run(endpoint, before, job, signal)
  const problems = problemsOf(finished, job)
  const checkLines = finished.check === undefined ? [] : await checkText(finished.check, endpoint, job)
  const json = summaryJson(finished.summary, aboutRun(finished, before, { ...job, endpoint, problems }))
  if (job.flags.json === true) printJson(json)
  else
    print(printable([reportText(finished.summary), ...(checkLines.length > 0 ? ['', ...checkLines] : [])].join('\n')))
  if (job.flags.json === true) for (const line of checkLines) notify(line)
  if (job.flags.out !== undefined) {
    await writeReport(job.flags.out, {
      lines: profileLines(finished.run),
      json,
      csv: summaryCsv(finished.summary),
      html: () => html(finished, before, { ...job, endpoint, checkLines, problems }),
    })
    notify(`report in ${job.flags.out}`)
  }
  for (const problem of problems) notify(problem)
  return problems.length > 0 ? 1 : 0
}

const NOTHING_TOLD: ServerInfo = {
  model: undefined,
  version: undefined,
  fingerprint: undefined,
  fingerprintParts: {},
  maxModelLen: undefined,
  vocabSize: undefined,
  reservedTokens: [],
  metrics: new Map(),
}

/** What the work gives, or `instead` as soon as somebody wants to leave: nothing is sent any more, the report is empty. */
async function beforeAbort<T>(work: Promise<T>, signal: AbortSignal, instead: T): Promise<T> {
  const left = new AbortController()
  const aborted = new Promise<T>((resolve) => {
    if (signal.aborted) resolve(instead)
    signal.addEventListener('abort', () => resolve(instead), { signal: left.signal })
  })
  return Promise.race([aborted, work]).finally(() => left.abort())
}

async function run(endpoint: Endpoint, before: ServerInfo, job: ReplayJob, signal: AbortSignal): Promise<Finished> {
  const { flags, goals, limits } = job
  const planned = planReplay(job.trace, job.schedule)
  const chosen = planned.requests.map(({ request }) => request)
  const requests = await withOutputLengths(chosen, endpoint.tokenizer, signal)
  const plan = {
    ...planned,
    requests: planned.requests.map((one, i) => ({ ...one, request: requests[i] ?? one.request })),
  }
  const { promptOf, notices } = await createPrompts(requests, {
    seed: flags.seed ?? 0n,
    vocabSize: before.vocabSize,
    reservedTokens: before.reservedTokens,
    maxTokens: before.maxModelLen,
    tokenizer: endpoint.tokenizer,
    form: job.promptForm,
    signal,
  })
  const isBegun = !signal.aborted
  for (const notice of notices) notify(notice)
  // A made prompt is another one: nothing says how its answer would end.
  const endsByItself = (request: TraceRequest): boolean =>
    isCheckable(request) &&
    (flags.check === true ||
      (request.recorded?.isWhole === true && request.recorded.fingerprint === before.fingerprint))
  const progress = createProgressLine(() => performance.now())
  const result = await replay(plan, {
    client: endpoint.client,
    clock: systemClock,
    limits: { ...DEFAULT_LIMITS, ...limits },
    ...(flags.maxInFlight !== undefined && { maxInFlight: flags.maxInFlight }),
    signal,
    endsByItself,
    keepsOutput: flags.check === true,
    promptOf,
    model: modelOf(job, before),
    onProgress: (now) => progress.show(now),
  }).finally(() => progress.end())
  // It may be gone: the report is of what was done.
  const after = isBegun ? await endpoint.info().catch(() => undefined) : undefined
  const served = { fingerprint: before.fingerprint, parts: before.fingerprintParts }
  return {
    run: result,
    summary: summarise(result, { goals, endsByItself }),
    server: serverFigures(before.metrics, after?.metrics ?? new Map()),
    check: flags.check === true ? checkRun(result.answers, job.trace, served) : undefined,
  }
}

/** What `--model` says of an endpoint that runs already, else what it serves, else what the trace says. */
function modelOf({ flags, trace }: ReplayJob, { model }: ServerInfo): string | undefined {
  const isGiven = flags.url !== undefined || flags.grpc !== undefined
  if (isGiven && typeof flags.model === 'string') return flags.model
  return model ?? trace.requests.find((request) => request.model !== undefined)?.model
}

function problemsOf({ run: { refusals = [] }, summary, check }: Finished, { maxLatenessMs }: ReplayJob): string[] {
  const { figures, lateness, wasCancelled } = summary
  const givenUp = figures.in_flight_limit_count?.avg ?? 0
  const isLate = lateness !== undefined && maxLatenessMs !== undefined && lateness.p99 > maxLatenessMs
  const isUnproven =
    check?.mode === 'exact' && !check.isProven && !(wasCancelled && check.differing + check.failed + check.untold === 0)
  return [
    ...(isLate
      ? [
          `lateness: want a p99 of at most ${maxLatenessMs} ms, found ${lateness.p99.toFixed(1)} ms: this generator could not keep its schedule, so the figures are not the endpoint's`,
        ]
      : []),
    ...(givenUp > 0
      ? [
          `in flight: ${counted(givenUp, 'request')} ${wereOrWas(givenUp)} due while as many as --max-in-flight were running, and ${wereOrWas(givenUp)} given up: the load was not open loop`,
        ]
      : []),
    ...(figures.request_count?.avg === 0 && !wasCancelled ? ['no request got a whole answer'] : []),
    ...(isUnproven
      ? [
          `check: not every answer is the recorded one: ${check.differing} differ, ${check.failed} got none, ${check.untold} came without token ids`,
        ]
      : []),
    ...(check === undefined
      ? []
      : refusals.map((refusal) => `check: not every request was sent as recorded: ${refusal}`)),
  ]
}

async function checkText(check: CheckReport, { tokenizer }: Endpoint, { path, trace }: ReplayJob): Promise<string[]> {
  const [first] = check.differences
  if (first === undefined) return describeCheck(check)
  const textOf = (tokens: readonly number[]): Promise<string | undefined> =>
    tokenizer?.detokenize(tokens).catch(() => undefined) ?? Promise.resolve(undefined)
  const spans = await spansOfDifference(path, trace, first).catch((error: unknown) => [
    `  spans: ${error instanceof Error ? error.message : String(error)}`,
  ])
  return [...describeCheck(check), ...(await describeDifference(first, textOf)), ...spans]
}

interface About extends ReplayJob {
  readonly endpoint: Endpoint
  readonly problems: readonly string[]
}

function aboutRun({ server, check }: Finished, info: ServerInfo, about: About): Record<string, unknown> {
  const { trace, schedule, endpoint, problems, path, maxLatenessMs } = about
  const { acceptance, expertRows = [] } = server ?? {}
  return {
    banyan_version: VERSION,
    replay: {
      trace: path,
      format: trace.format,
      pace: schedule.pace,
      sessions: schedule.sessions !== undefined,
      max_lateness_ms: maxLatenessMs ?? null,
    },
    endpoint: {
      url: endpoint.name,
      model: info.model ?? null,
      version: info.version ?? null,
      fingerprint: info.fingerprint ?? null,
      fingerprint_parts: info.fingerprintParts,
    },
    skipped_lines: trace.skipped.length,
    problems,
    ...(check !== undefined && { check }),
    ...(acceptance !== undefined && { acceptance }),
    ...(expertRows.length > 0 && { expert_rows: expertRows }),
  }
}

function html(
  { run: result, summary, server, check }: Finished,
  info: ServerInfo,
  { path, trace, endpoint, checkLines, problems }: About & { readonly checkLines: readonly string[] },
): string {
  const lines = [...problems, ...(check === undefined ? [] : checkLines)]
  return reportHtml(result, summary, {
    title: `Replay of ${path}`,
    subtitle: [
      `${trace.format}, ${counted(summary.numPlanned, 'request')}, against ${endpoint.name}${info.model === undefined ? '' : ` (${info.model})`}`,
      `${new Date(summary.startUnixMs).toISOString()} to ${new Date(summary.endUnixMs).toISOString()}${summary.wasCancelled ? ', interrupted' : ''}`,
      ...(info.fingerprint === undefined
        ? []
        : [`fingerprint ${info.fingerprint}, version ${info.version ?? 'not told'}`]),
    ],
    server,
    extra:
      lines.length === 0
        ? undefined
        : section(check === undefined ? 'Problems' : 'Check', htmlTable([['found'], ...lines.map((line) => [line])])),
  })
}
