// `banyan logits`: a prompt once through a cluster, every row's logits in a file, to compare with a reference.

import type { ActorSystem } from '../../lib/actor/actor.js'
import { writeSafetensors } from '../../lib/model/safetensors.js'
import { packI32, readF32 } from '../../lib/wire/tensor.js'
import { loadConfig, printsConfig, type Flags } from '../cluster-flags.js'
import { watchSignals } from '../interruption.js'
import { parseTokens } from '../parse.js'
import { usageError } from '../report-error.js'
import { print, printJson } from '../terminal.js'
import { withCluster } from '../with-cluster.js'

const LOGITS_TIMEOUT_MS = 300_000
const ROUTER = 'router-0'

/** Writes `logits` float32 [tokens, vocab] to `--out`. */
export async function logits(model: string, flags: Flags): Promise<number> {
  const { tokens: list, out } = flags
  if (typeof list !== 'string' || typeof out !== 'string')
    throw usageError('logits: want --tokens 1,2,3 and --out FILE')
  const tokens = parseTokens(list)
  const resolved = loadConfig({ ...flags, model })
  if (printsConfig(flags, resolved)) return 0
  const { signal } = watchSignals(process, () => Date.now())
  const shape = await withCluster(resolved, { signal }, async ({ bus }) =>
    save(out, await askLogits(bus, tokens, signal)),
  )
  if (flags.json === true) printJson({ file: out, tensor: 'logits', dtype: 'float32', shape })
  else print(`${out}: logits float32 [${shape.join(', ')}]`)
  return 0
}

async function askLogits(bus: ActorSystem, tokens: readonly number[], signal: AbortSignal) {
  const message = { kind: 'router.logits', body: { tokens: packI32(tokens) }, replyKind: 'logits.page' } as const
  const { logits: page } = await bus.ask(ROUTER, message, { timeoutMs: LOGITS_TIMEOUT_MS, signal })
  return page
}

function save(file: string, page: Awaited<ReturnType<typeof askLogits>>): readonly number[] {
  writeSafetensors(file, { logits: { shape: page.shape, data: readF32(page, 'logits') } })
  return page.shape
}
