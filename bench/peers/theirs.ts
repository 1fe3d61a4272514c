// Their side: the llama.cpp process (llama.ts) behind the same calls as ours.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Contender } from './contender.js'
import type { Command, Decoded, LlamaSetting, Loaded, Replies, Reply } from './protocol.js'
import { residentMemory } from './resident-memory.js'

export interface TheirOptions {
  readonly modelPath: string // GGUF file
  readonly threads: number
}

export interface Theirs extends Contender {
  readonly loaded: Loaded
  /** With a setting other than the default. */
  decodeWith(prompts: Prompts, numTokens: number, setting: LlamaSetting): Promise<Decoded>
}

type Prompts = readonly (readonly number[])[]

/** What can be faster for a row: flash attention off or on, a large batch for long prompts, one thread for little work. */
export function candidates(
  of: { readonly promptTokens: number; readonly streams: number },
  threads: number,
): LlamaSetting[] {
  const batchSizes = of.promptTokens > 512 ? [512, 2048] : [512]
  const threadCounts = of.promptTokens <= 32 && of.streams <= 4 && threads > 1 ? [threads, 1] : [threads]
  return batchSizes.flatMap((batchSize) =>
    threadCounts.flatMap((count) =>
      [true, false].map((flashAttention) => ({ flashAttention, batchSize, threads: count })),
    ),
  )
}

const defaultSetting = (threads: number): LlamaSetting => ({ flashAttention: true, batchSize: 512, threads })

/**
 * node-llama-cpp runs each llama_decode on any of libuv's threads, and llama.cpp starts its helpers anew there. With one
 * such thread they stay on cores of their own; with libuv's usual four they meet on one core, and a step with two threads
 * took up to ten times as long on the machine where this was written.
 */
const ENVIRONMENT = { UV_THREADPOOL_SIZE: '1' }

export async function startTheirs(options: TheirOptions): Promise<Theirs> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./llama.js', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...ENVIRONMENT },
  })
  const exited = once(child, 'exit')
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const call = async <K extends Command['kind']>(command: Extract<Command, { kind: K }>): Promise<Replies[K]> => {
    child.stdin.write(`${JSON.stringify(command)}\n`)
    const answer = await answers.next()
    if (answer.done === true) throw new Error(`llama.cpp process: want an answer to ${command.kind}, found it ended`)
    const reply = JSON.parse(answer.value) as Reply // llama.ts writes nothing else
    if (!reply.ok) throw new Error(`llama.cpp: ${reply.error}`)
    return reply.value as Replies[K] // llama.ts answers each kind with its own form
  }
  const stop = async (): Promise<void> => {
    child.stdin.end()
    await exited
  }
  const loaded = await call({ kind: 'load', ...options }).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  const decodeWith = (prompts: Prompts, numTokens: number, setting: LlamaSetting): Promise<Decoded> =>
    call({ kind: 'decode', prompts, numTokens, setting })
  return {
    loaded,
    decodeWith,
    decode: (prompts, numTokens) => decodeWith(prompts, numTokens, defaultSetting(options.threads)),
    memory: () => residentMemory([child.pid ?? 0]),
    stop,
  }
}
