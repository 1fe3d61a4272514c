// What an endpoint tells of itself before and after a run. Every question is optional: what is no Banyan answers few of
// them, and a silent one is not waited for.

import * as z from 'zod'
import { baseOf } from './clients/openai.js'
import { readText, type HttpCaller } from './clients/http-call.js'
import type { ReplayClock } from './clock.js'
import type { TokenRange } from './synthesize.js'

/** Prometheus text of the endpoint, and of a Banyan cluster's expert workers, by URL. */
export type Scrapes = ReadonlyMap<string, string>

export interface ServerInfo {
  readonly model: string | undefined // the first it serves
  readonly version: string | undefined
  readonly fingerprint: string | undefined
  readonly fingerprintParts: Readonly<Record<string, string>>
  readonly maxModelLen: number | undefined // tokens of prompt and answer
  readonly vocabSize: number | undefined
  readonly reservedTokens: readonly TokenRange[] // of the vocabulary, that no ordinary text holds
  readonly metrics: Scrapes
}

export interface AskOptions {
  readonly http: HttpCaller
  readonly clock: ReplayClock
  readonly url: string
  readonly timeoutMs?: number // of a question, where that is less than their own bound
  readonly stop?: AbortSignal // nobody wants the answer any more
}

const MAX_BYTES = 16 * 1024 * 1024
const MAX_TIMEOUT_MS = 5_000

const modelsSchema = z.object({
  data: z
    .array(
      z.object({
        id: z.string(),
        max_model_len: z.number().nullish(),
        vocab_size: z.number().nullish(),
        reserved_tokens: z
          .array(z.tuple([z.number(), z.number()]).transform(([first, last]) => ({ first, last })))
          .nullish(),
      }),
    )
    .min(1),
})
const clusterSchema = z.object({
  processes: z.array(z.object({ role: z.string(), metrics: z.string().nullish() })),
})
const versionSchema = z.object({
  version: z.string().optional(),
  fingerprint: z.string().optional(),
  fingerprint_parts: z.record(z.string(), z.string()).optional(),
})

export async function askServer(options: AskOptions): Promise<ServerInfo> {
  const base = baseOf(options.url)
  const [models, version, cluster, metrics] = await Promise.all(
    ['/v1/models', '/version', '/cluster', '/metrics'].map((path) => ask(options, `${base}${path}`)),
  )
  const processes = clusterSchema.safeParse(parsed(cluster)).data?.processes ?? []
  const workers = processes.flatMap(({ role, metrics }) => (role === 'expert-worker' ? (metrics ?? []) : []))
  const first = modelsSchema.safeParse(parsed(models)).data?.data[0]
  const told = versionSchema.safeParse(parsed(version)).data
  return {
    model: first?.id,
    version: told?.version,
    fingerprint: told?.fingerprint,
    fingerprintParts: told?.fingerprint_parts ?? {},
    maxModelLen: first?.max_model_len ?? undefined,
    vocabSize: first?.vocab_size ?? undefined,
    reservedTokens: first?.reserved_tokens ?? [],
    metrics: seriesOf([[`${base}/metrics`, metrics], ...(await scrape(options, workers))]),
  }
}

type Scraped = readonly [url: string, text: string | undefined]

const scrape = (options: AskOptions, urls: readonly string[]): Promise<readonly Scraped[]> =>
  Promise.all(urls.map(async (url): Promise<Scraped> => [url, await ask(options, url)]))

const seriesOf = (scraped: readonly Scraped[]): Scrapes =>
  new Map(scraped.flatMap(([url, text]) => (text?.startsWith('#') === true ? [[url, text] as const] : [])))

/** The ids of a text in the served tokenizer, as a prompt or bare; undefined where the endpoint does not tell them. */
export async function tokenize(
  options: AskOptions,
  text: string,
  { isBare = false } = {},
): Promise<readonly number[] | undefined> {
  const body = JSON.stringify({ prompt: text, add_special_tokens: !isBare })
  const told = z
    .object({ tokens: z.array(z.number()) })
    .safeParse(parsed(await ask(options, `${baseOf(options.url)}/tokenize`, body)))
  return told.data?.tokens
}

/** The text of ids as the endpoint writes them; undefined where it does not. */
export async function detokenize(options: AskOptions, tokens: readonly number[]): Promise<string | undefined> {
  const body = JSON.stringify({ tokens })
  const told = z
    .object({ prompt: z.string() })
    .safeParse(parsed(await ask(options, `${baseOf(options.url)}/detokenize`, body)))
  return told.data?.prompt
}

/** The body of a 200; undefined for anything else, in time. */
async function ask(options: AskOptions, url: string, body?: string): Promise<string | undefined> {
  const { http, clock, timeoutMs = MAX_TIMEOUT_MS, stop } = options
  const deadline = new AbortController()
  const cancelTimer = clock.after(Math.min(timeoutMs, MAX_TIMEOUT_MS), () => deadline.abort())
  try {
    const method = body === undefined ? 'GET' : 'POST'
    const signal = stop === undefined ? deadline.signal : AbortSignal.any([deadline.signal, stop])
    const reply = await http.send({ method, url, signal, ...(body !== undefined && { body }) })
    const text = await readText(reply, MAX_BYTES)
    return reply.status === 200 ? text : undefined
  } catch {
    return undefined // it does not tell; the run itself shows whether it serves
  } finally {
    cancelTimer()
  }
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined // no JSON: it has no such page
  }
}
