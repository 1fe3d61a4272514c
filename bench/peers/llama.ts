// The llama.cpp process: reads commands from stdin, answers on stdout (protocol.ts), ends when stdin does. A process of
// its own, because a native library with threads and an event loop of its own must not share ours.

import { createInterface } from 'node:readline'
import { createEngine, type LlamaEngine } from './llama-engine.js'
import { installedVersions, loadLlama } from './node-llama-cpp.js'
import type { Command, LoadCommand, Loaded, Reply } from './protocol.js'
import { residentMemory } from './resident-memory.js'

let engine: LlamaEngine | undefined

async function load({ modelPath, threads }: LoadCommand): Promise<Loaded> {
  const llama = await loadLlama(threads)
  const before = residentMemory([process.pid])
  const model = await llama.loadModel({ modelPath })
  engine = createEngine(llama, model)
  return { versions: installedVersions(), system: llama.systemInfo, before }
}

async function execute(command: Command): Promise<unknown> {
  if (command.kind === 'load') return load(command)
  if (engine === undefined) throw new Error(`want load before ${command.kind}, found no model`)
  return engine.decode(command)
}

for await (const line of createInterface({ input: process.stdin })) {
  const reply: Reply = await execute(JSON.parse(line) as Command).then(
    (value) => ({ ok: true, value }),
    (error: unknown) => ({ ok: false, error: String(error) }),
  )
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}
process.exit() // the library's threads would hold the process
