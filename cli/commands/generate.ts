// `banyan generate`: one completion, through a cluster that runs or one that lives for the call.

import { text as readText } from 'node:stream/consumers'
import pc from 'picocolors'
import { parseApiKey } from '../../lib/config/api-keys.js'
import { createGrpcDoor } from '../generation/grpc-door.js'
import { createHttpDoor } from '../generation/http-door.js'
import {
  collectGeneration,
  type GenerationChunk,
  type GenerationDoor,
  type GenerationRequest,
  type GenerationResult,
} from '../generation/generation.js'
import { createTreeView, type TreeView } from '../generation/tree-view.js'
import { clientTls, fetchWith, type ClientTls } from '../client-tls.js'
import { loadConfig, printsConfig, type Flags } from '../cluster-flags.js'
import { watchSignals } from '../interruption.js'
import { parseTokens } from '../parse.js'
import { usageError } from '../report-error.js'
import { print, printJson } from '../terminal.js'
import { withCluster } from '../with-cluster.js'
import { apiKeyOf } from './status.js'

/** The flags of `generate` that shape the request, as commander parsed them. */
export interface GenerateFlags {
  readonly url?: string
  readonly tokens?: string
  readonly chat?: boolean
  readonly json?: boolean
  readonly showTrees?: boolean
  readonly n?: number
  readonly maxTokens?: number
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly minP?: number
  readonly seed?: bigint
  readonly stop?: readonly string[]
  readonly ignoreEos?: boolean
}

export async function generate(prompt: string | undefined, flags: GenerateFlags & Flags): Promise<number> {
  const resolved = flags.url === undefined ? loadConfig(flags) : undefined
  if (resolved !== undefined && printsConfig(flags, resolved)) return 0
  checkInput(prompt, flags)
  const request = await toRequest(prompt, flags)
  const { signal } = watchSignals(process, () => Date.now())
  const run = (door: GenerationDoor): Promise<number> =>
    runThrough(door, request, { signal, isJson: flags.json === true })
  if (resolved === undefined) return run(doorTo(flags.url ?? '', apiKeyOf(flags), clientTls(flags)))
  const [firstKey] = resolved.config.apiKey
  const apiKey = firstKey === undefined ? undefined : parseApiKey(firstKey).key
  return withCluster(resolved, { signal, isQuiet: flags.json === true }, ({ routers: [{ grpc }] }) =>
    run(createGrpcDoor({ address: grpc, apiKey })),
  )
}

/** A URL is the HTTP door, host:port the gRPC one. */
function doorTo(url: string, apiKey: string | undefined, tls: ClientTls | undefined): GenerationDoor {
  if (/^https?:\/\//.test(url))
    return createHttpDoor({ url, apiKey, now: () => performance.now(), fetch: fetchWith(tls) })
  return createGrpcDoor({ address: url, apiKey, tls })
}

function checkInput(prompt: string | undefined, { tokens, chat }: GenerateFlags): void {
  if ((prompt === undefined) === (tokens === undefined)) {
    const found = prompt === undefined ? 'none' : 'a prompt and --tokens'
    throw usageError(`generate: want exactly one of PROMPT, - (standard input) and --tokens, found ${found}`)
  }
  if (chat === true && tokens !== undefined) throw usageError('generate: want a text with --chat, found --tokens')
}

async function toRequest(prompt: string | undefined, flags: GenerateFlags): Promise<GenerationRequest> {
  const {
    maxTokens,
    temperature,
    topP,
    topK,
    minP,
    seed,
    stop,
    ignoreEos,
    tokens,
    chat,
    n = 1,
    showTrees = false,
  } = flags
  const given = Object.entries({ maxTokens, temperature, topP, topK, minP, seed, stop, ignoreEos }).filter(
    ([, value]) => value !== undefined,
  )
  const sampling = Object.fromEntries(given) as GenerationRequest['sampling'] // the same fields, without the absent ones
  const rest = { sampling, n, returnTrees: showTrees }
  if (tokens !== undefined) return { input: { kind: 'tokens', tokens: parseTokens(tokens) }, ...rest }
  const text = prompt === '-' ? await readText(process.stdin) : (prompt ?? '')
  return { input: { kind: chat === true ? 'chat' : 'text', text }, ...rest }
}

async function runThrough(
  door: GenerationDoor,
  request: GenerationRequest,
  { signal, isJson }: { readonly signal: AbortSignal; readonly isJson: boolean },
): Promise<number> {
  const withTrees = request.returnTrees === true
  const isStreamed = !isJson && !withTrees && request.n === 1
  const trees = withTrees && !isJson ? viewTrees(request) : undefined
  try {
    const onChunk = (chunk: GenerationChunk): void => {
      if (isStreamed) process.stdout.write(chunk.text)
      trees?.show(chunk)
    }
    const result = await collectGeneration(door.generate(request, signal), onChunk, { withTrees })
    trees?.end()
    if (isJson) printJson(result)
    else print(isStreamed ? remainder(result) : `${withTrees ? '\n' : ''}${allTexts(result)}`)
    return 0
  } finally {
    door.close()
  }
}

/** After a streamed text its last line break; a model without tokenizer has ids only. */
const remainder = ({ choices: [first] }: GenerationResult): string =>
  first?.text === '' ? first.tokenIds.join(',') : ''

/** Several choices under a headline each. */
function allTexts({ choices }: GenerationResult): string {
  const texts = choices.map(({ text, tokenIds }) => (text === '' ? tokenIds.join(',') : text))
  return texts.length === 1 ? texts.join('') : texts.map((text, i) => `--- choice ${i}\n${text}`).join('\n')
}

const DEFAULT_WIDTH = 100 // where stdout is no terminal

const viewTrees = ({ n }: GenerationRequest): TreeView =>
  createTreeView({
    color: pc.isColorSupported,
    width: process.stdout.columns ?? DEFAULT_WIDTH,
    numChoices: n,
    print,
  })
