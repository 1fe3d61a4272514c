// A record of a request as tests change it: one prompt token, greedy, no answer yet.

import type { RequestRecord } from '../../lib/traffic/request-record.js'

export const plainRecord = (changes: Partial<RequestRecord> = {}): RequestRecord => ({
  schema: 'banyan.request.v1',
  id: 'r',
  arrivalUnixMs: 1,
  endMs: 2,
  model: 'demo',
  fingerprint: 'bny-0',
  router: 'router-0',
  content: 'hash',
  prompt: { numTokens: 1, cachedTokens: 0, blockTokens: 512, blockHashes: [] },
  params: {
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    maxTokens: 1,
    minTokens: 0,
    ignoreEos: false,
    includeStop: false,
    seed: '1',
    n: 1,
  },
  choices: [],
  outcome: 'finished',
  ...changes,
})
