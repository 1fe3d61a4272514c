// The gRPC door, through the SDK that users have. Its events are already what the command works with.

import { BanyanClient, BanyanError, type GenerateRequest } from '../../sdk/src/index.js'
import { ClusterError, isErrorCode } from '../../lib/errors.js'
import type { ClientTls } from '../client-tls.js'
import type { GenerationDoor, GenerationEvent, GenerationRequest } from './generation.js'

export function createGrpcDoor(options: {
  readonly address: string
  readonly apiKey?: string | undefined
  readonly tls?: ClientTls | undefined
}): GenerationDoor {
  const { address, apiKey, tls } = options
  const files = tls && {
    ...(tls.ca && { rootCertificate: tls.ca }),
    ...(tls.cert && { certificate: tls.cert }),
    ...(tls.key && { privateKey: tls.key }),
  }
  const client = new BanyanClient({ address, apiKey, tls: files })
  return {
    generate: (request, signal) => translated(client.generate(toSdk(request), { signal })),
    close: () => client.close(),
  }
}

function toSdk({ input, sampling, n, returnTrees = false }: GenerationRequest): GenerateRequest {
  const rest = { sampling, n, returnTrees }
  if (input.kind === 'tokens') return { ...rest, tokens: input.tokens }
  return input.kind === 'text'
    ? { ...rest, text: input.text }
    : { ...rest, chat: [{ role: 'user', content: input.text }] }
}

/** The SDK has an error class of its own, with the same codes. */
async function* translated(events: AsyncIterable<GenerationEvent>): AsyncGenerator<GenerationEvent> {
  try {
    yield* events
  } catch (error) {
    if (!(error instanceof BanyanError)) throw error
    throw new ClusterError(isErrorCode(error.code) ? error.code : 'internal', error.message, { cause: error })
  }
}
