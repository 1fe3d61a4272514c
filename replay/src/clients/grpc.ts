// Banyan's gRPC door, through the SDK. A broken stream is resumed as every client of it does; a refusal is not tried
// again, so that the report counts it.

import {
  BanyanClient,
  BanyanError,
  type ClientOptions,
  type GenerateEvent,
  type GenerateRequest,
} from '../../../sdk/src/index.js'
import { RequestFailure } from '../errors.js'
import type { TraceSampling } from '../trace.js'
import type { AnswerEvent, Call, ReplayClient } from './client.js'

export type GrpcOptions = Omit<ClientOptions, 'maxAttempts'>

export function createGrpcClient(options: GrpcOptions): ReplayClient {
  const client = new BanyanClient({ ...options, maxAttempts: 1 })
  return {
    prepare: (call) => {
      const request = toRequest(call)
      return (signal) => answer(client.generate(request, { signal }))
    },
    close: () => client.close(),
  }
}

function toRequest({ id, prompt, sampling, model }: Call): GenerateRequest {
  const rest = {
    requestId: id,
    ...(model !== undefined && { model }),
    ...(sampling.n !== undefined && { n: sampling.n }),
    sampling: samplingOf(sampling),
  }
  if (prompt.kind === 'tokens') return { ...rest, tokens: prompt.tokens }
  return prompt.kind === 'text' ? { ...rest, text: prompt.text } : { ...rest, chat: prompt.messages }
}

const FLOATS = ['temperature', 'topP', 'minP', 'repetitionPenalty', 'presencePenalty', 'frequencyPenalty'] as const
const MAX_FLOAT_DIGITS = 9

/** A float32 whose shortest decimal is not the value would ask for something else: that is refused, not rounded. */
function samplingOf({ n: _, logprobs: _asked, ...sampling }: TraceSampling): NonNullable<GenerateRequest['sampling']> {
  for (const name of FLOATS) {
    const value = sampling[name]
    if (value !== undefined && !travels(value))
      throw new RequestFailure('no_prompt', `${name} ${value}: gRPC has 32 bits for it; replay this trace over HTTP`)
  }
  return sampling
}

function travels(value: number): boolean {
  const carried = Math.fround(value)
  for (let digits = 1; digits < MAX_FLOAT_DIGITS; digits++) {
    const candidate = Number(carried.toPrecision(digits))
    if (Math.fround(candidate) === carried) return candidate === value
  }
  return carried === value
}

async function* answer(events: AsyncIterable<GenerateEvent>): AsyncGenerator<AnswerEvent> {
  let completionTokens = 0
  try {
    for await (const event of events) {
      if (event.type === 'accepted') {
        const { promptTokens, cachedTokens, fingerprint } = event
        yield { type: 'accepted', promptTokens, cachedTokens }
        yield { type: 'fingerprint', fingerprint }
      } else if (event.type === 'chunk') {
        const { choice, text, tokenIds } = event
        if (text !== '' || tokenIds.length > 0) yield { type: 'output', choice, text, tokenIds }
      } else {
        const { choice, finishReason, usage, stats } = event
        completionTokens += usage.completionTokens
        yield { type: 'finished', choice, reason: finishReason, stats }
        yield { type: 'usage', promptTokens: usage.promptTokens, cachedTokens: usage.cachedTokens, completionTokens }
      }
    }
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    throw new RequestFailure(`grpc_${error.code}`, error.message, { cause: error })
  }
}
