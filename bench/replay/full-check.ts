// `npm run replay:check`: 200 mixed requests over 16 streams are recorded on a cluster with trees over NATS, then
// replayed with --check on clusters of other shapes. Exits 1 when an answer differs.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandFile } from '../../lib/package-files.js'
import { BanyanClient, type GenerateRequest } from '../../sdk/src/index.js'
import { COPYING_PROMPTS, PROMPTS } from '../../test/helpers/prompts.js'
import { startUp } from '../up-process.js'

const REQUESTS = 200
const STREAMS = 16
const TEXTS = [...PROMPTS, ...COPYING_PROMPTS]

const SHAPES: readonly (readonly string[])[] = [
  ['--transport', 'local', '--experts', '1', '--draft', 'off', '--concurrency', '16'],
  ['--transport', 'nats', '--experts', '5', '--replicas', '2', '--attention', '2', '--speedup', '2'],
  ['--transport', 'nats', '--experts', '3', '--micro-batches', '2', '--prefix-cache', 'off', '--concurrency', '3'],
]

const requestOf = (i: number): GenerateRequest => ({
  text: TEXTS[i % TEXTS.length] ?? '',
  n: i % 9 === 0 ? 2 : 1,
  sampling: {
    maxTokens: 16 + (i % 7) * 16,
    temperature: [0, 0.7, 1][i % 3] ?? 0,
    ...(i % 4 === 0 && { topP: 0.9, topK: 50 }),
    ...(i % 5 === 0 && { repetitionPenalty: 1.1, presencePenalty: 0.2 }),
    ...(i % 6 === 0 && { stop: [';', '\n\n'] }),
    ...(i % 11 === 0 && { ignoreEos: true, minTokens: 8 }),
  },
})

async function record(folder: string): Promise<void> {
  const up = await startUp(['--transport', 'nats', '--trace-dir', folder, '--experts', '3'])
  const client = new BanyanClient({ address: up.grpc })
  const left = Array.from({ length: REQUESTS }, (_, i) => requestOf(i))
  const stream = async (): Promise<void> => {
    for (let request = left.shift(); request !== undefined; request = left.shift()) await client.complete(request)
  }
  try {
    await Promise.all(Array.from({ length: STREAMS }, stream))
  } finally {
    client.close()
    await up.stop()
  }
}

async function check(folder: string, shape: readonly string[]): Promise<boolean> {
  const main = commandFile()
  const child = spawn(process.execPath, [main, 'replay', folder, '--check', '--json', ...shape], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const pieces: Buffer[] = []
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece))
  await once(child, 'close')
  const text = Buffer.concat(pieces).toString()
  const summary = JSON.parse(text === '' ? '{}' : text) as { check?: Readonly<Record<string, unknown>> } // as documented
  const { compared, differing, failed, isProven } = summary.check ?? {}
  console.log(JSON.stringify({ shape: shape.join(' '), compared, differing, failed, isProven }))
  return child.exitCode === 0 && isProven === true && compared === REQUESTS
}

const folder = mkdtempSync(join(tmpdir(), 'banyan-check-'))
try {
  await record(folder)
  for (const shape of SHAPES) if (!(await check(folder, shape))) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
