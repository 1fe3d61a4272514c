// Sampling between our records, the trace, and the attributes of GenAI spans.

import type { RequestRecord } from '../../../lib/traffic/request-record.js'
import type { TraceSampling } from '../trace.js'

export const samplingOf = ({ n, seed, ...params }: RequestRecord['params']): TraceSampling => {
  const given = Object.entries(params).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(given), seed: BigInt(seed), n }
}

type Params = RequestRecord['params']

/** The server's defaults where the trace names none; the answer's length where it was forced. */
export const paramsOf = (sampling: TraceSampling, outputTokens: number | undefined): Params => {
  const { seed, stop, stopTokenIds, logitBias, ...rest } = sampling
  const isForced = outputTokens !== undefined && sampling.maxTokens === undefined
  return {
    temperature: 1,
    topP: 1,
    topK: 0,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    maxTokens: outputTokens ?? 0,
    minTokens: isForced ? outputTokens : 0,
    ignoreEos: isForced,
    includeStop: false,
    n: 1,
    ...rest,
    seed: (seed ?? 0n).toString(),
    ...(stop !== undefined && { stop: [...stop] }),
    ...(stopTokenIds !== undefined && { stopTokenIds: [...stopTokenIds] }),
    ...(logitBias !== undefined && { logitBias: { ...logitBias } }),
  }
}
